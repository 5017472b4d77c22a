"""Draws completions of prompts: the engine's sampler, and the lookup of samplers that plugins bring."""
