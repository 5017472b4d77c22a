"""What the verbs do: one folder per verb, with its plan and its work."""
