"""What is measured of a finished policy or reward model."""
