"""SIGTERM is noted, not died of."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from alignkit.training.interruption import sigterm_noted


def test_sigterm_is_told_and_handled_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_noted() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted()
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_nothing_is_noted():
    def enter():
        with sigterm_noted() as interrupted:
            return interrupted()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() is False
