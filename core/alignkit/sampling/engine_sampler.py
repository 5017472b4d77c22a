"""Registers alignkit's own sampler, through the entry point and the hook that plugins use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from alignkit.errors import UserError
from alignkit.hookspecs import hookimpl
from alignkit.progress import Progress
from alignkit.sampler import Drawn, Sampler, Sampling, Weights

if TYPE_CHECKING:
    from alignkit.sampling.merged import MergedModel


class EngineSampler(Sampler):
    """Samples with the rollout engine of `alignkit.sampling.engine`, from the model that trains.

    With the weights `auto` it samples from a merged model where the free memory has room for two of them. The
    merged model is kept as long as the sampler, and its weights are set anew at each `sample`. An unquantized
    base without an adapter needs no merging, so it is sampled from directly.
    """

    name = "engine"

    def __init__(self, roles: Any, weights: Weights = "auto") -> None:
        super().__init__(roles, weights)
        self._merged: MergedModel | None = None
        # Decided once: other weights midway would change the rounding of the samples.
        self._can_merge: bool | None = None

    def sample(
        self,
        role: str,
        prompts: list[list[int]],
        settings: Sampling,
        *,
        numbers: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> list[list[Drawn]]:
        """Return completion k of prompt i at [i][k]; see `alignkit.sampling.engine.sample`."""
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
        """Return the text in which stop strings are looked for, with special tokens written out."""
        return str(
            self.roles.base.tokenizer.decode(
                ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def _model(self, role: str) -> AbstractContextManager[Any]:
        """Give the model to sample from: the merged model, or the base with the role's adapter active."""
        if not self._merges(role):
            return self.roles.active(role)
        from alignkit.sampling.merged import MergedModel

        if self._merged is None:
            self._merged = MergedModel(self.roles)
        return nullcontext(self._merged.load(role))

    def _merges(self, role: str) -> bool:
        """Return whether to sample from the merged model.

        Raises UserError where the weights `merged` are asked for and cannot be made.
        """
        from alignkit.models.memory import bytes_free
        from alignkit.sampling.merged import bytes_needed, fits, is_quantized, mergeable

        base = self.roles.base
        bare = self.roles.roles[role].adapter is None
        if self.weights == "quantized" or (bare and not is_quantized(base)):
            return False
        if self._can_merge is None:
            self._can_merge = mergeable(base) and fits(base, base.device)
        if self._can_merge or self.weights == "auto":
            return self._can_merge
        if not mergeable(base):
            raise UserError(
                "the adapters of this base's experts cannot be merged into a copy of the base",
                hint="Sample with the weights `quantized`.",
            )
        need, found = bytes_needed(base) / 2**30, bytes_free(base.device) / 2**30
        raise UserError(
            f"no room for merged weights on {base.device}: {need:.1f} GiB are needed (twice the copy of the "
            f"base), {found:.1f} GiB are free",
            hint="Sample with the weights `quantized`, or free memory.",
        )


@hookimpl
def register_samplers(register: Callable[..., None]) -> None:
    """Register the sampler `engine`."""
    register(EngineSampler)
