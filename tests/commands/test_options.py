"""The silence that commands want of other libraries."""

import inspect
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


def test_bitsandbytes_notice_of_an_optional_kernel_is_left_out_and_its_other_warnings_are_not(monkeypatch):
    """The record is that of bitsandbytes 0.50, on a processor that multiplies bfloat16."""
    from alignkit.commands.options import BITSANDBYTES, quiet_libraries

    logger, seen = logging.getLogger(BITSANDBYTES), []
    monkeypatch.setattr(logger, "filters", [])
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    notice = "Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please make sure you already"
    try:
        logger.warning(notice, "No module named 'kernels'")
        assert len(seen) == 1
        quiet_libraries()
        logger.warning(notice, "No module named 'kernels'")
        logger.warning("another warning")
    finally:
        logger.removeHandler(handler)
    assert [record.msg for record in seen[1:]] == ["another warning"]


def test_bitsandbytes_logs_under_the_name_that_is_filtered():
    import bitsandbytes.backends.cpu.ops as ops

    from alignkit.commands.options import BITSANDBYTES

    assert ops.logger.name == BITSANDBYTES
    assert "Failed to load CPU gemm_4bit_forward from kernels-community" in inspect.getsource(ops)
