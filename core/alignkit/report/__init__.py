"""Writes one page that shows a run: its pipeline, its evaluations, its training and its samples."""
