"""One page that shows a run: its pipeline, its evaluations, its training, its samples."""
