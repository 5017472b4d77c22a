"""Commands by subject; `alignkit.cli` puts them together."""
