"""alignkit's own sampler, registered through the hook that plugins use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from alignkit.errors import UserError
from alignkit.hookspecs import hookimpl
from alignkit.sampler import Drawn, Progress, Sampler, Sampling, Weights

if TYPE_CHECKING:
    from alignkit.sampling.merged import MergedCopy


class EngineSampler(Sampler):
    """The rollout engine of `alignkit.sampling.engine`, on the model that trains.

    weights auto: a merged copy where it fits into the free memory twice, kept for the sampler's life and made
    anew at each `sample`. Where merging would change nothing, an unquantized base without an adapter, the
    base itself.
    """

    name = "engine"

    def __init__(self, roles: Any, weights: Weights = "auto") -> None:
        super().__init__(roles, weights)
        self._copy: MergedCopy | None = None
        # found out once: a sampler that changed its weights midway would change its samples' rounding
        self._fits: bool | None = None

    def sample(
        self,
        role: str,
        prompts: list[list[int]],
        settings: Sampling,
        *,
        numbers: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> list[list[Drawn]]:
        """Completion k of prompt i at [i][k]; see `alignkit.sampling.engine.sample` for what decides it."""
        from alignkit.sampling.engine import sample

        base = self.roles.base
        with self._model(role) as model:
            return sample(
                model,
                prompts,
                settings,
                eos=self.ends,
                pad=base.pad,
                text=self._text,
                numbers=numbers,
                progress=progress,
            )

    def _text(self, ids: list[int]) -> str:
        """The text in which stop strings are looked for, special tokens spelled out."""
        return str(
            self.roles.base.tokenizer.decode(
                ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def _model(self, role: str) -> AbstractContextManager[Any]:
        """The model to sample from: the copy with the role's adapter merged in, or the base with the adapter
        active.
        """
        copy = self._merged(role)
        return self.roles.active(role) if copy is None else nullcontext(copy.load(role))

    def _merged(self, role: str) -> MergedCopy | None:
        """The copy where it is to be used."""
        from alignkit.sampling.merged import MARGIN, MergedCopy, fits, free, is_quantized, mergeable

        base = self.roles.base
        if self.weights == "quantized" or (self.roles.roles[role].adapter is None and not is_quantized(base)):
            return None
        if self._fits is None:
            self._fits = mergeable(base) and fits(base, base.device)
        if not self._fits and self.weights == "merged" and not mergeable(base):
            raise UserError(
                "the adapters of this base's experts cannot be merged into a copy",
                hint="Sample with quantized weights.",
            )
        if not self._fits and self.weights == "merged":
            need, found = MARGIN * MergedCopy.bytes(base) / 2**30, free(base.device) / 2**30
            raise UserError(
                f"no room for merged weights on {base.device}: {need:.1f} GiB are needed (the copy twice), "
                f"{found:.1f} GiB are free",
                hint="Sample with quantized weights, or free memory.",
            )
        if self._fits and self._copy is None:
            self._copy = MergedCopy(self.roles)
        return self._copy


@hookimpl
def register_samplers(register: Callable[..., None]) -> None:
    """Register `engine`."""
    register(EngineSampler)
