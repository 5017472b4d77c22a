"""Shows a run: a live bar with its newest numbers in a terminal, plain lines elsewhere."""

from alignkit.display.terminal import TerminalDisplay

__all__ = ["TerminalDisplay"]
