"""Names the places of a run on disk: the folder of each stage, and the files that a stage leaves in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignkit.recipe import BASE

MANIFEST = "manifest.json"
ADAPTER = "adapter"
SAMPLES, RANKED = "samples.jsonl", "ranked.jsonl"
REPORT_PAGE, REPORT_PICTURES, SUPERSEDED = "report.html", "report", "superseded"
CHECKPOINTS, SIGNALS, ROLLOUTS = "checkpoints", "signals", "rollouts"
UNHASHED = (CHECKPOINTS, SIGNALS, ROLLOUTS)
"""What a stage keeps for itself: to go on where it was killed, and for people to read."""


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage, RUN/STAGE. A file is there once the stage, by what it does, has written it."""

    path: Path

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.path.name

    @property
    def manifest(self) -> Path:
        """What the stage was made of, and the SHA-256 of each file; see `manifest.py`."""
        return self.path / MANIFEST

    @property
    def summary(self) -> Path:
        """The stage's final numbers."""
        return self.path / "summary.json"

    @property
    def adapter(self) -> Path:
        """The policy's adapter in PEFT's format, or that of the only role that was trained."""
        return self.path / ADAPTER

    def adapter_beside(self, role: str) -> Path:
        """Where the adapter of a role lies that was trained beside the policy."""
        return self.path / f"{ADAPTER}-{role}"

    @property
    def metrics(self) -> Path:
        """The numbers of every training step; see `metrics.py`."""
        return self.path / "metrics.jsonl"

    @property
    def data_report(self) -> Path:
        """What became of each row of a training stage's data."""
        return self.path / "data.json"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of a training stage; see `checkpoint.py`."""
        return self.path / CHECKPOINTS

    def signals(self, name: str) -> Path:
        """The signals of frozen roles over the data called `name`, computed once."""
        return self.path / SIGNALS / name

    def rollouts(self, objective: str) -> Path:
        """The samples that an online objective learned from."""
        return self.path / ROLLOUTS / objective

    @property
    def samples(self) -> Path:
        """Completions of a sample stage, or those that an evaluation measured, one line per prompt."""
        return self.path / SAMPLES

    @property
    def ranked(self) -> Path:
        """Completions with ranks and rewards, one line per prompt."""
        return self.path / RANKED

    @property
    def evaluation(self) -> Path:
        """The measures of each target of an evaluation, with their intervals."""
        return self.path / "evaluation.json"

    def target(self, number: int) -> Path:
        """What an evaluation keeps of its target number `number`, so that it can go on where it was
        killed.
        """
        return self.path / "targets" / f"{number}.json"

    @property
    def data(self) -> Path | None:
        """The rows that later stages may read, None where the stage wrote none."""
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
        """Where results lie whose stage was done again."""
        return self.path / SUPERSEDED

    @property
    def report_page(self) -> Path:
        """The page that shows the run."""
        return self.path / REPORT_PAGE

    @property
    def report_pictures(self) -> Path:
        """The page's pictures as files."""
        return self.path / REPORT_PICTURES
