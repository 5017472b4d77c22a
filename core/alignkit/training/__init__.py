"""The one training loop, its sources (fixed data, rollouts), and the optimizer step."""
