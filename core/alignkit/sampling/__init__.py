"""The rollout engine: completions for prompts, a function of the seed."""
