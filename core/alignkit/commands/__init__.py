"""The command line, one file per command; `alignkit.cli` puts them together."""
