"""The verb `train`: its plan, and the work."""
