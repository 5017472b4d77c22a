"""Rewards: what one is, how it is looked up and called, and how completions are scored."""
