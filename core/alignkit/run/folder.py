"""Names the places of a run on disk: the folder of each stage, and the files that a stage leaves in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignkit.recipe import BASE

MANIFEST = "manifest.json"
ADAPTER = "adapter"
SAMPLES, RANKED = "samples.jsonl", "ranked.jsonl"
REPORT_PAGE, REPORT_FILES, SUPERSEDED = "report.html", "report", "superseded"
RECIPE = "recipe.json"
CHECKPOINTS, SIGNALS, ROLLOUTS = "checkpoints", "signals", "rollouts"
UNHASHED = (CHECKPOINTS, SIGNALS, ROLLOUTS)
"""Folders that only a killed stage or a reader needs; a manifest has no hashes of them."""


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage, RUN/STAGE. Which files it holds depends on the stage's verb."""

    path: Path

    @property
    def name(self) -> str:
        """Return the stage's name."""
        return self.path.name

    @property
    def manifest(self) -> Path:
        """Return the file that says what the stage was made of; see `manifest.py`."""
        return self.path / MANIFEST

    @property
    def summary(self) -> Path:
        """Return the file of the stage's final numbers."""
        return self.path / "summary.json"

    @property
    def adapter(self) -> Path:
        """Return the folder of the policy's adapter, or of the only role's, in PEFT's format."""
        return self.path / ADAPTER

    def adapter_beside(self, role: str) -> Path:
        """Return the folder of the adapter of a role that was trained beside the policy."""
        return self.path / f"{ADAPTER}-{role}"

    @property
    def metrics(self) -> Path:
        """Return the file of the numbers of every training step; see `metrics.py`."""
        return self.path / "metrics.jsonl"

    @property
    def previews(self) -> Path:
        """Return the file of what the policy answered to a few prompts while it was trained."""
        return self.path / "previews.jsonl"

    @property
    def data_report(self) -> Path:
        """Return the file that says what became of each row of a training stage's data."""
        return self.path / "data.json"

    @property
    def quantization(self) -> Path:
        """Return the file of what quantization costs on the stage's data."""
        return self.path / "quantization.json"

    @property
    def measured(self) -> Path:
        """Return the file of the few completions on which `export` compares the merged model."""
        return self.path / "measured.json"

    @property
    def merged(self) -> Path:
        """Return the folder in which an evaluation keeps merged models while it works."""
        return self.path / "merged"

    @property
    def checkpoints(self) -> Path:
        """Return the folder of a training stage's checkpoints; see `checkpoint.py`."""
        return self.path / CHECKPOINTS

    def signals(self, name: str) -> Path:
        """Return the folder of the signals of frozen roles over the data called `name`."""
        return self.path / SIGNALS / name

    def rollouts(self, objective: str) -> Path:
        """Return the folder of the samples that an online objective learned from."""
        return self.path / ROLLOUTS / objective

    @property
    def samples(self) -> Path:
        """Return the file of a sample stage's completions, or of those that an evaluation measured."""
        return self.path / SAMPLES

    @property
    def ranked(self) -> Path:
        """Return the file of completions with ranks and rewards."""
        return self.path / RANKED

    @property
    def evaluation(self) -> Path:
        """Return the file of the measures of each target of an evaluation."""
        return self.path / "evaluation.json"

    def target(self, number: int) -> Path:
        """Return what an evaluation keeps of target `number`, to continue from after it was killed."""
        return self.path / "targets" / f"{number}.json"

    @property
    def data(self) -> Path | None:
        """Return the file of the rows that later stages may read; None where the stage wrote none."""
        return next((file for file in (self.ranked, self.samples) if file.is_file()), None)


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, with one folder for each stage."""

    path: Path

    def stage(self, name: str) -> StageFolder:
        """Return the folder of a stage, whether it is there or not."""
        return StageFolder(self.path / name)

    def start(self, stage: str | None) -> Path | None:
        """Return the adapter that a role starts from: the stage's, or None for the base as it is."""
        return None if stage in (None, BASE) else self.stage(stage).adapter

    @property
    def superseded(self) -> Path:
        """Return the folder of results whose stage was done again."""
        return self.path / SUPERSEDED

    @property
    def quantization_costs(self) -> Path:
        """Return the file of the costs of quantization that were measured in this run."""
        return self.path / "quantization-costs.json"

    @property
    def report_page(self) -> Path:
        """Return the page that shows the run."""
        return self.path / REPORT_PAGE

    @property
    def report_files(self) -> Path:
        """Return the folder of the page's pictures and numbers."""
        return self.path / REPORT_FILES

    @property
    def recipe(self) -> Path:
        """Return the file of the recipe that is run; see `kept_recipe.py`."""
        return self.path / RECIPE
