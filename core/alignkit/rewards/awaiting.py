"""Awaits the answers of rewards that are `async` functions, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def await_all(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """Return what each of them gives, or the exception that it raised, in their order.

    They run together in an event loop of their own. Where a loop is running already, as in a notebook, theirs
    runs in another thread.
    """
    if not awaitables:
        return []
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_gathered(awaitables))
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(copy_context().run, asyncio.run, _gathered(awaitables)).result()


async def _gathered(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*awaitables, return_exceptions=True)
