"""The silence that commands want of other libraries."""

import logging
import subprocess
import sys

SCRIPT = """
import logging, warnings
from alignkit.commands.options import quiet_libraries
quiet_libraries()
warnings.warn("a warning")
logging.getLogger("some.library").warning("a warning of a logger")
logging.getLogger("some.library").error("an error of a logger")
"""


def said(*options: str) -> str:
    command = [sys.executable, *options, "-c", SCRIPT]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_warnings_are_not_printed_and_errors_are():
    assert said() == "an error of a logger\n"


def test_pythons_own_option_brings_warnings_back():
    assert "UserWarning: a warning" in said("-W", "default")


def test_handlers_that_are_there_stay_alone():
    assert len(logging.root.handlers) >= 1, "pytest's"
    from alignkit.commands.options import quiet_libraries

    before = list(logging.root.handlers)
    quiet_libraries()
    assert logging.root.handlers == before
