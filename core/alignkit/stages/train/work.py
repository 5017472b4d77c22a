"""Does `train`: fits the roles of the stage's objectives and saves their adapters."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from alignkit.data.chosen import choose_completions
from alignkit.data.held_out import split_held_out
from alignkit.data.loading import Dataset
from alignkit.evaluation.preferences import LENGTH_ONLY, length_only_accuracy
from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.stages.context import RunContext
from alignkit.stages.quantization_cost import tell_quantization_cost
from alignkit.stages.train.plan import HELD_OUT_ENTRY, PlannedTerm, PlannedTrain
from alignkit.stages.train.previews import make_previews
from alignkit.stages.train.roles import make_roles, save_trained
from alignkit.stages.train.sources import StageSources
from alignkit.stages.train.tracking import tracking
from alignkit.training.observing import Observing
from alignkit.training.rollouts import RolloutSource
from alignkit.training.sources import Source
from alignkit.training.terms import TrainingTerm
from alignkit.training.trainer import Trainer


def work_on_train(stage: PlannedTrain, context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Train the roles of the stage's objectives and save their adapters."""
    data = [_load(term, stage, context) for term in stage.objectives]
    _write_reports(stage, [dataset for dataset, _ in data], folder)
    tell_quantization_cost(context, folder, data[0][0].groups)
    project, on_cpu = f"{context.run.path.name}-{stage.name}", context.base.device.type == "cpu"
    with (
        tracking(stage.settings, project, context.run.path, cpu=on_cpu) as track,
        make_roles(stage, context) as roles,
    ):
        sources = StageSources(stage, context, folder, roles)
        terms = [
            TrainingTerm(
                stage.objectives[number].objective,
                stage.objectives[number].weight,
                sources.of(number, dataset),
                sources.held_out(number, held_out),
                _baselines(held_out) if number == 0 else {},
            )
            for number, (dataset, held_out) in enumerate(data)
        ]
        trainer = Trainer(
            roles,
            terms,
            stage.settings,
            folder=folder,
            display=context.display,
            seed=context.seed,
            optimizer=stage.optimizer,
            observing=Observing(stage.observers, stage.line),
            previews=make_previews(stage, context, folder, roles, *data[0]),
            track=track,
        )
        held_out_metrics = trainer.run()
        save_trained(roles, folder)
        stopped = trainer.observing.stopped
        done = trainer.steps if stopped is None else stopped.step
        _write_measured(terms[0].source, data[0], done, folder)
    if stopped is None:
        return {"steps": done, **held_out_metrics}
    return {"steps": stopped.step, "stopped": asdict(stopped), **held_out_metrics}


def _load(term: PlannedTerm, stage: PlannedTrain, context: RunContext) -> tuple[Dataset, Dataset | None]:
    """Read an objective's training data and its held-out data.

    A share of the prompts is split off; other held-out data is read by itself. A method that learns from its
    own samples has none: `evaluate` measures it.
    """
    wanted, kind = stage.settings, term.objective.data
    room = wanted.sampling.max_tokens if term.online else 0
    prompts = stage.prompts
    dataset = context.data.load(term.on, kind, wanted.max_length, room, prompts)
    if term.online:
        return dataset, None
    if stage.held_out is not None:
        where = f"stages.{stage.name}.held_out"
        return dataset, context.data.load_entry(
            stage.held_out, kind, wanted.max_length, prompts=prompts, name=HELD_OUT_ENTRY, where=where
        )
    if isinstance(wanted.held_out, str):
        return dataset, context.data.load(wanted.held_out, kind, wanted.max_length, prompts=prompts)
    if isinstance(wanted.held_out, float):
        return split_held_out(dataset, wanted.held_out, stage.split_by)
    return dataset, None


def _write_reports(stage: PlannedTrain, data: list[Dataset], folder: StageFolder) -> None:
    """Write what became of the rows of each objective's data."""
    reports = {
        term.on: dataset.report.to_dict() for term, dataset in zip(stage.objectives, data, strict=True)
    }
    write_text(folder.data_report, json.dumps(reports, indent=2) + "\n")


def _write_measured(
    source: Source, data: tuple[Dataset, Dataset | None], done: int, folder: StageFolder
) -> None:
    """Keep a few completions for later comparisons: held out, or the newest samples of an online method."""
    dataset, held_out = data
    groups = source.samples(done - 1) if isinstance(source, RolloutSource) else (held_out or dataset).groups
    write_text(folder.measured, json.dumps(choose_completions(groups).to_dict()) + "\n")


def _baselines(held_out: Dataset | None) -> dict[str, float]:
    """Return what length alone would get on ranked held-out data."""
    accuracy = None if held_out is None else length_only_accuracy(held_out.groups)
    return {} if accuracy is None else {LENGTH_ONLY: accuracy}
