"""The verb `evaluate`: its plan, and the work on policies and on reward models."""
