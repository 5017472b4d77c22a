"""A run on disk: its folder, manifests, checkpoints, lock and metrics."""
