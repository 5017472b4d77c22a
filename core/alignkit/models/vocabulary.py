"""Evaluates functions of the roles' distributions over the vocabulary, without the logits of all tokens.

A function gives one number for each token, of the distributions at that token alone. So the forward pass
computes, chunk of tokens by chunk, each number and its gradient for the hidden state from which it comes; the
backward pass only scales that gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from alignkit.errors import UserError, raised_at
from alignkit.models.logps import CHUNK_BYTES, OTHER_CHUNK_BYTES, Head
from alignkit.objective import roles_of_function, roles_of_functions

Functions = Mapping[str, Callable[..., Tensor]]


def over_vocabulary(functions: Functions, hidden: Mapping[str, Tensor], head: Head) -> dict[str, Tensor]:
    """Return each function's numbers, (M,) fp32, by its name.

    hidden: (M, H) of each role that a function names. A function takes the log-probabilities (C, V), fp32, of
    its roles for C tokens and returns (C,). Gradients flow to the hidden states. Raises UserError where a
    function fails or returns another shape.
    """
    names = sorted(roles_of_functions(functions))
    values = _OverVocabulary.apply(functions, names, head, *(hidden[name] for name in names))
    return dict(zip(functions, values, strict=True))  # type: ignore[arg-type]


class _OverVocabulary(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, functions: Functions, names: Sequence[str], head: Head, *hidden: Tensor
    ) -> tuple[Tensor, ...]:
        needed = [bool(needs) for needs in ctx.needs_input_grad[3:]]
        count = len(hidden[0])
        values = [torch.empty(count, device=hidden[0].device) for _ in functions]
        directions = {
            (number, place): torch.zeros_like(hidden[place])
            for number in range(len(functions))
            for place, needs in enumerate(needed)
            if needs
        }
        budget = CHUNK_BYTES.get(hidden[0].device.type, OTHER_CHUNK_BYTES)
        rows = max(1, budget // (4 * len(names) * head.weight.shape[0]))
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            with torch.set_grad_enabled(any(needed)):
                inputs = [
                    one[part].detach().requires_grad_(needs)
                    for one, needs in zip(hidden, needed, strict=True)
                ]
                logps = {name: _log_softmax(one, head) for name, one in zip(names, inputs, strict=True)}
                for number, (name, function) in enumerate(functions.items()):
                    found = _call(name, function, logps)
                    values[number][part] = found.detach()
                    _write_directions(directions, number, part, found, inputs)
            del logps, inputs  # so that two chunks' distributions never lie beside one another
        ctx.directions, ctx.roles = directions, len(hidden)
        return tuple(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        found: list[Tensor | None] = [None] * ctx.roles
        for (number, place), direction in ctx.directions.items():
            scaled = direction * grads[number][:, None].to(direction.dtype)
            before = found[place]
            found[place] = scaled if before is None else before + scaled
        return None, None, None, *found


def _write_directions(
    directions: dict[tuple[int, int], Tensor], number: int, part: slice, value: Tensor, inputs: list[Tensor]
) -> None:
    """Write d value / d hidden of a chunk, for each role whose hidden states need it."""
    places = [place for place, one in enumerate(inputs) if one.requires_grad]
    if not places or not value.requires_grad:
        return
    wanted = [inputs[place] for place in places]
    grads = torch.autograd.grad(value.sum(), wanted, retain_graph=True, allow_unused=True)
    for place, grad in zip(places, grads, strict=True):
        if grad is not None:
            directions[number, place][part] = grad


def _log_softmax(hidden: Tensor, head: Head) -> Tensor:
    """Return the log-probabilities (C, V), fp32, of hidden states (C, H)."""
    logits = linear(hidden.to(head.weight.dtype), head.weight, head.bias).float() * head.scale
    if head.cap:
        logits = head.cap * torch.tanh(logits / head.cap)
    return logits.log_softmax(-1)


def _call(name: str, function: Callable[..., Tensor], logps: Mapping[str, Tensor]) -> Tensor:
    roles = roles_of_function(function)
    try:
        found = function(**{role: logps[role] for role in roles})
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the function {name!r} of `over_vocabulary` failed: {type(error).__name__}: {error}",
            where=raised_at(error, function),
            hint="It takes log-probabilities (C, V) of the roles that its parameters name.",
        ) from error
    expected = next(iter(logps.values())).shape[:1]
    if not isinstance(found, Tensor) or found.shape != expected:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UserError(
            f"the function {name!r} of `over_vocabulary` returned {shape} for {tuple(expected)} tokens",
            hint="It takes log-probabilities (C, V) and returns one number for each token, (C,).",
        )
    return found.float()
