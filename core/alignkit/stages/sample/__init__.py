"""The verb `sample`: its plan, and the work."""
