"""Arguments that several commands take, and the silence that commands want of other libraries."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe: a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="key.path=value: replaces one value of the recipe; may be repeated."),
]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A Python file with a plugin; may be repeated.")
]
StageArgument = Annotated[Path, typer.Argument(help="A finished stage: the folder RUN/STAGE.")]

BITSANDBYTES = "bitsandbytes.backends.cpu.ops"
"""The logger of bitsandbytes' code for CPUs."""


def quiet_libraries() -> None:
    """Keep other libraries' warnings out of a command's output: only alignkit and errors print.

    `python -W` brings the warnings back.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if not logging.root.handlers:  # without a handler, Python prints the warnings of every logger
        errors = logging.StreamHandler()
        errors.setLevel(logging.ERROR)
        logging.root.addHandler(errors)
    # torch gives this logger a handler of its own.
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    # Whoever calls this may have a handler that prints warnings.
    logging.getLogger(BITSANDBYTES).addFilter(_is_no_kernel_notice)


def _is_no_kernel_notice(record: logging.LogRecord) -> bool:
    """Tell whether a record is another than bitsandbytes' notice of a missing optional kernel.

    bitsandbytes gives it on processors that multiply bfloat16, when it is imported. Its own kernels do the
    work, and no base here uses the missing one.
    """
    return not str(record.msg).startswith("Failed to load CPU gemm_4bit_forward from kernels-community")
