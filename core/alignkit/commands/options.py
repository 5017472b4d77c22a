"""Arguments that several commands take, and the silence that they want of other libraries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file with a plugin; may be repeated.")]
StageArgument = Annotated[Path, typer.Argument(help="A finished stage: the folder RUN/STAGE.")]


def quiet_libraries() -> None:
    """Keep other libraries' warnings and bars out of the display."""
    import logging
    import warnings

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
