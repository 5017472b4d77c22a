"""The verb `label`: its plan, and the work."""
