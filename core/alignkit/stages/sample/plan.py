"""Plans `sample`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alignkit.recipe import Recipe, Sample
from alignkit.registry import Registry
from alignkit.stages.planned import PlannedStage, Used
from alignkit.stages.requirements import require_drawable, require_policy


@dataclass(frozen=True)
class PlannedSample(PlannedStage[Sample]):
    """A stage that writes completions of a policy."""

    verb: ClassVar[str] = "sample"

    @property
    def line(self) -> str:
        """Say what the stage does, in one line."""
        wanted = self.settings
        return (
            f"sample {wanted.per_prompt} completions per prompt of {wanted.on} from {wanted.sample}, "
            f"at most {wanted.max_tokens} tokens each"
        )

    def uses(self, registry: Registry) -> list[Used]:
        """Return the sampler."""
        return [(registry.samplers, self.settings.sampler)]


def plan_sample(
    name: str, settings: Sample, recipe: Recipe, registry: Registry, beside: Path
) -> PlannedSample:
    """Check that the stage's policy writes completions, and that they can be drawn."""
    where = f"stages.{name}"
    require_drawable(settings, settings.max_length, registry, where)
    require_policy(recipe, settings.sample, registry, f"{where}.sample")
    return PlannedSample(name, settings, tuple(recipe.needs(settings)))
