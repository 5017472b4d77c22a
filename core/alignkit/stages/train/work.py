"""`train`: fits the roles of the stage's objectives and saves their adapters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignkit import recipe
from alignkit.data.loading import Dataset
from alignkit.models.roles import Roles
from alignkit.rewards.scoring import Scorer, Scores
from alignkit.run.files import write_text
from alignkit.sampler import Drawn, Sampler, Sampling
from alignkit.sampling.lookup import make_sampler
from alignkit.stages.plan import PlannedStage
from alignkit.stages.train.tracking import tracking
from alignkit.stages.workshop import Workshop
from alignkit.training.trainer import Trainer, TrainingTerm


def run_train(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Train the roles of the stage's objectives and save their adapters."""
    stage = planned.stage
    assert isinstance(stage, recipe.Train)
    data = [shop.split(term, planned, stage) for term in planned.terms]
    reports = {
        term.on: dataset.report.to_dict() for term, (dataset, _) in zip(planned.terms, data, strict=True)
    }
    write_text(folder / "data.json", json.dumps(reports, indent=2) + "\n")
    project = f"{shop.plan.recipe.name}-{planned.name}"
    with (
        tracking(stage, project, shop.folder, cpu=shop.accelerator.device.type == "cpu") as track,
        make_roles(planned, shop, stage) as roles,
    ):
        draw = None
        if any(term.online for term in planned.terms):
            scorer = Scorer(planned.rewards, roles, shop.folder, 2 * stage.micro_batch_tokens, planned.watch)
            draw = (
                make_sampler(shop.registry, stage.sampling.sampler, roles, stage.sampling.weights),
                scorer,
            )
        terms = [
            TrainingTerm(
                term.objective,
                term.weight,
                dataset.groups,
                held_out.groups if held_out is not None else (),
                PolicyDraw(dataset, *draw, shop, shop.sampling(stage.sampling, 1))
                if term.online and draw
                else None,
            )
            for term, (dataset, held_out) in zip(planned.terms, data, strict=True)
        ]
        trainer = Trainer(
            roles, terms, stage, seed=shop.seed, folder=folder, display=shop.display, track=track
        )
        held_out_metrics = trainer.run()
        for name, place in adapter_folders(roles).items():
            roles.save(name, folder / place)
    return {"steps": trainer.steps, **held_out_metrics}


@dataclass(frozen=True)
class PolicyDraw:
    """Draws completions of a data set's prompts from the policy and scores them: what rollouts need of a
    stage.
    """

    dataset: Dataset
    sampler: Sampler
    scorer: Scorer
    shop: Workshop
    settings: Sampling

    def sample(self, prompts: Sequence[int], step: int, per_prompt: int) -> list[list[Drawn]]:
        """Completions of each prompt, a function of (seed, step, prompt)."""
        settings = replace(self.settings, per_prompt=per_prompt, step=step)
        return self.sampler.sample(
            "policy",
            [self.dataset.groups[prompt].prompt for prompt in prompts],
            settings,
            numbers=list(prompts),
        )

    def score(self, prompts: Sequence[int], drawn: list[list[Drawn]]) -> Scores:
        """The rewards of the completions."""
        return self.scorer(*self._written(prompts, drawn))

    def lines(self, prompts: Sequence[int], drawn: list[list[Drawn]]) -> list[dict[str, Any]]:
        """The samples as text."""
        examples, _ = self._written(prompts, drawn)
        return [{"prompt": example.prompt, "completions": list(example.completions)} for example in examples]

    def _written(self, prompts: Sequence[int], drawn: list[list[Drawn]]) -> Any:
        examples, groups = self.dataset.examples, self.dataset.groups
        return self.shop.written(
            [examples[prompt] for prompt in prompts], [groups[prompt] for prompt in prompts], drawn
        )


def make_roles(planned: PlannedStage, shop: Workshop, stage: recipe.Train) -> Roles:
    """The roles that the objectives train and read. Trained ones, and the reference, begin as the `start`
    stage's adapter.

    A value model begins as the reward model where the stage has one: what it predicts is that model's score.
    A reward model that is read is that one. Dropout is off where a method learns from its own samples: the
    ratio of a token's probability to that at sampling would be noise.
    """
    online = any(term.online for term in planned.terms)
    if online and shop.plan.recipe.model.lora.dropout:
        shop.display.note("dropout is off in this stage, which compares probabilities with those at sampling")
    trained = set().union(*(term.objective.trains for term in planned.terms))
    read = set().union(*(term.objective.reads for term in planned.terms)) - trained
    reward_model = next((reward.name for reward in planned.rewards if reward.call is None), None)
    roles = shop.roles(dropout=not online)
    for name in [*sorted(trained), *sorted(read)]:
        judges = name == "value" or (name == "reward" and name in read)
        start = reward_model if judges and reward_model else stage.start
        roles.add(name, trainable=name in trained, start=shop.adapter(start))
    return roles


def adapter_folders(roles: Roles) -> dict[str, str]:
    """Where each trained role is saved: `adapter` for the policy, or the only role; `adapter-ROLE` for others
    beside it.
    """
    trained = sorted(name for name, role in roles.roles.items() if role.trainable)
    main = "policy" if "policy" in trained else trained[0]
    return {name: "adapter" if name == main else f"adapter-{name}" for name in trained}
