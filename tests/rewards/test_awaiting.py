"""Awaiting the answers of several rewards together."""

import asyncio

import pytest

from alignkit.rewards.awaiting import await_all


async def answer(value):
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


def test_answers_and_exceptions_come_in_order():
    reason = ValueError("no")
    assert await_all([answer(1), answer(reason), answer(3)]) == [1, reason, 3]
    assert await_all([]) == []


def test_they_run_at_the_same_time():
    """Each waits for the other, so that one after the other would never end."""

    async def meet(own, other):
        own.set()
        await asyncio.wait_for(other.wait(), timeout=10)
        return "met"

    one, two = asyncio.Event(), asyncio.Event()
    assert await_all([meet(one, two), meet(two, one)]) == ["met", "met"]


@pytest.mark.parametrize("running", [False, True])
def test_a_loop_that_runs_already_does_not_hinder(running):
    async def notebook():
        return await_all([answer(1)])

    assert (asyncio.run(notebook()) if running else await_all([answer(1)])) == [1]
