"""Recipes: what is read, what is refused, and with which words."""

from pathlib import Path

import pytest

from alignkit.errors import UserError
from alignkit.recipe import RewardTerm, Target, Train, load_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan

GOOD = """
name: demo
model: {base: smollm2-135m}
data:
  comparisons: {path: pairs.jsonl}
training: {learning_rate: 1e-5, batch_size: 4}
stages:
  dpo: {train: {dpo: {beta: 0.2}}, on: comparisons, start: sft}
  sft: {train: sft, on: comparisons, steps: 3}
"""


def load(tmp_path: Path, text: str, *overrides: str):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return load_recipe(file, list(overrides))


def test_stages_come_in_the_order_of_their_needs_with_shared_settings(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert list(recipe.stages) == ["sft", "dpo"]
    dpo = recipe.stages["dpo"]
    assert isinstance(dpo, Train)
    assert dpo.learning_rate == 1e-5
    assert dpo.train[0].options == {"beta": 0.2}
    assert recipe.stages["sft"].steps == 3
    assert dpo.steps is None


def test_mixtures_have_a_weight_and_data_of_their_own(tmp_path):
    text = GOOD.replace("{dpo: {beta: 0.2}}", "{dpo: {beta: 0.2}, sft: {weight: 0.1, on: comparisons}}")
    terms = load(tmp_path, text).stages["dpo"].train
    assert [(t.objective, t.weight, t.on) for t in terms] == [("dpo", 1.0, None), ("sft", 0.1, "comparisons")]


def test_the_command_line_overrides_values(tmp_path):
    recipe = load(
        tmp_path,
        GOOD,
        "data.comparisons.path=other.jsonl",
        "training.steps=7",
        "stages.dpo.train.dpo.beta=0.5",
        "stages.dpo.held_out=0.1",
    )
    assert recipe.data["comparisons"].path == "other.jsonl"
    assert recipe.stages["dpo"].steps == 7
    assert recipe.stages["sft"].steps == 3, "a stage's own setting wins"
    assert recipe.stages["dpo"].train[0].options == {"beta": 0.5}
    assert recipe.stages["dpo"].held_out == 0.1


def test_an_override_reaches_into_short_forms(tmp_path):
    text = GOOD.replace("comparisons: {path: pairs.jsonl}", "comparisons: pairs.jsonl")
    recipe = load(tmp_path, text, "stages.sft.train.sft.weight=0.5", "data.comparisons.limit=3")
    assert recipe.stages["sft"].train[0].weight == 0.5
    assert recipe.data["comparisons"].model_dump(include={"path", "limit"}) == {
        "path": "pairs.jsonl",
        "limit": 3,
    }


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (
            ("learning_rate: 1e-5", "learning_rat: 1e-5"),
            "training.learning_rat",
            "Did you mean 'learning_rate'",
        ),
        (("steps: 3", "stepz: 3"), "stages.sft.stepz", "Did you mean 'steps'"),
        (("{base: smollm2-135m}", "{bas: smollm2-135m}"), "model.bas", "Did you mean 'base'"),
        (
            ("{base: smollm2-135m}", "{lora: {rank: 4}}"),
            "model.lora.rank",
            "Known: alpha, dropout, r, target",
        ),
        (("path: pairs.jsonl", "pth: pairs.jsonl"), "data.comparisons.pth", "Did you mean 'path'"),
        (("batch_size: 4", "batch_size: four"), "training.batch_size", "found 'four'"),
        (
            ("learning_rate: 1e-5", "learning_rate: .inf"),
            "training.learning_rate",
            "finite number, found inf",
        ),
        (("batch_size: 4", "batch_size: 0"), "training.batch_size", "greater than or equal to 1, found 0"),
        (("on: comparisons, steps", "on: comparison, steps"), "stages.sft", "Did you mean 'comparisons'"),
        (("on: comparisons, steps: 3", "on: comparisons, start: dpo"), "stages", "wait for each other"),
        (("  sft: {train", "  ../sft: {train"), "stages.../sft", "no valid name"),
        (("  sft: {train: sft", "  sft: {trian: sft"), "stages.sft", "exactly one of the verbs"),
        (("stages:", "stagez:"), "stagez", "Did you mean 'stages'"),
        (("name: demo", "name: demo\nname: again"), "recipe.yaml:3", "duplicate key"),
        (
            ("name: demo", "name: !!python/object:os.system x"),
            "recipe.yaml:2",
            "could not determine a constructor",
        ),
        (("name: demo", "name: [demo"), "recipe.yaml", ""),
        (("train: sft, ", "train: [sft], "), "stages.sft", "train takes an objective's name"),
    ],
)
def test_a_mistake_names_its_place_and_the_mend(tmp_path, change, where, words):
    assert change[0] in GOOD
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD.replace(*change, 1))
    assert where in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("override", ["training.steps", "=3", "name.x=3", "training.steps=[1"])
def test_a_bad_override_is_refused(tmp_path, override):
    with pytest.raises(UserError):
        load(tmp_path, GOOD, override)


# --- online methods and evaluation, looked up in the registry

ONLINE = """
name: online
data: {pairs: some/pairs, prompts: some/prompts}
training: {batch_size: 4, sampling: {max_tokens: 32, temperature: 0.7}}
stages:
  sft:   {train: sft, on: pairs, start: base}
  judge: {train: bradley-terry, on: pairs, start: sft}
  drawn: {sample: sft, on: prompts}
  ppo:   {train: ppo, on: prompts, start: sft, reward: judge, watch: length, sampling: {temperature: 1}}
  table: {evaluate: [sft, ppo], on: prompts, by: judge}
"""


@pytest.fixture(scope="module")
def registry():
    return Registry()


def plan(tmp_path, registry, text):
    return make_plan(load(tmp_path, text), registry, tmp_path)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("judge", [RewardTerm(reward="judge")]),
        ("{judge: {weight: 2, standardize: true}}", [RewardTerm(reward="judge", weight=2, standardize=True)]),
        (
            "{length: {unit: words, weight: -0.5}}",
            [RewardTerm(reward="length", options={"unit": "words"}, weight=-0.5)],
        ),
        ("{judge: , length: {}}", [RewardTerm(reward="judge"), RewardTerm(reward="length")]),
        (
            "[judge, {length: {weight: 3}}]",
            [RewardTerm(reward="judge"), RewardTerm(reward="length", weight=3)],
        ),
        ("[judge, length]", [RewardTerm(reward="judge"), RewardTerm(reward="length")]),
    ],
)
def test_rewards_are_a_name_a_mapping_or_a_list(tmp_path, registry, written, read):
    found = plan(
        tmp_path,
        registry,
        ONLINE.replace("reward: judge", f"reward: {written}").replace("watch: length, ", ""),
    )
    stage = found.stages["ppo"].stage
    assert stage.reward == tuple(read)
    made = found.stages["ppo"].rewards
    assert [(r.name, r.weight, r.standardize) for r in made] == [
        (term.reward, term.weight, term.standardize) for term in read
    ]
    assert [r.call is None for r in made] == [term.reward == "judge" for term in read]
    assert all(
        getattr(r.call, "unit", "words") == term.options.get("unit", "words")
        for r, term in zip(made, read, strict=True)
    )


def test_a_reward_stage_comes_before_what_it_rewards_and_the_base_is_no_stage(tmp_path):
    recipe = load(
        tmp_path, ONLINE.replace("  judge:", "  zero: {train: raft, on: prompts, reward: judge}\n  judge:")
    )
    assert list(recipe.stages).index("zero") > list(recipe.stages).index("judge")
    assert recipe.stages["sft"].start is None
    assert recipe.needs(recipe.stages["ppo"]) == ["prompts", "sft", "judge"]
    assert recipe.needs(recipe.stages["table"]) == ["prompts", "sft", "ppo", "judge"]


def test_a_stages_sampling_is_laid_over_the_shared_one(tmp_path):
    recipe = load(tmp_path, ONLINE)
    assert recipe.stages["ppo"].sampling.model_dump(include={"max_tokens", "temperature", "top_p"}) == {
        "max_tokens": 32,
        "temperature": 1.0,
        "top_p": 1.0,
    }
    assert recipe.stages["sft"].sampling.temperature == 0.7


def test_targets_may_be_the_best_of_several_samples(tmp_path, registry):
    text = ONLINE.replace(
        "[sft, ppo]", "{base: , ppo: {best_of: 4, by: [judge, {length: {unit: characters}}]}, sft: {}}"
    )
    planned = plan(tmp_path, registry, text).stages["table"]
    length = RewardTerm(reward="length", options={"unit": "characters"})
    best = Target(stage="ppo", best_of=4, by=(RewardTerm(reward="judge"), length))
    assert planned.stage.evaluate == (Target(stage="base"), best, Target(stage="sft"))
    assert [target.name for target in planned.stage.evaluate] == ["base", "ppo best of 4", "sft"]
    assert [[reward.name for reward in rewards] for rewards in planned.best] == [[], ["judge", "length"], []]


def test_a_measures_name_chooses_it_and_without_one_all_are_taken(tmp_path, registry):
    assert plan(tmp_path, registry, ONLINE).stages["table"].measures == tuple(sorted(registry.measures.items))
    planned = plan(tmp_path, registry, ONLINE.replace("by: judge}", "by: [judge, kl, length]}")).stages[
        "table"
    ]
    assert planned.measures == ("kl", "length")
    assert [reward.name for reward in planned.rewards] == ["judge"]


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (("[sft, ppo]", "{ppo: {best_of: 4}}"), "stages.table.evaluate.ppo", "best_of needs `by`"),
        (("[sft, ppo]", "{ppo: {bestof: 4}}"), "stages.table.evaluate.ppo.bestof", "Did you mean 'best_of'"),
        (
            ("[sft, ppo]", "{ppo: {best_of: 0}}"),
            "stages.table.evaluate.ppo.best_of",
            "greater than or equal to 1",
        ),
        (("[sft, ppo]", "[]"), "stages.table.evaluate", "at least 1"),
        (("[sft, ppo]", "[ppo, ppo]"), "stages.table.evaluate", "'ppo' twice"),
        (
            ("[sft, ppo]", "[{ppo: {best_of: 2, by: judge}}, {ppo: {best_of: 2, by: length}}]"),
            "stages.table.evaluate",
            "of 2' twice",
        ),
        (
            ("[sft, ppo]", "[sft, judge]"),
            "stages.table.evaluate",
            "'judge' is a reward model, and others of these are not",
        ),
        (
            ("[sft, ppo]", "[base, judge]"),
            "stages.table.evaluate",
            "'judge' is a reward model, and others of these are not",
        ),
        (("[sft, ppo]", "[judge]"), "stages.table.by", "judged by the data's ranks"),
        (
            ("[sft, ppo], on: prompts, by: judge", "{judge: {best_of: 2, by: length}}, on: pairs"),
            "stages.table.evaluate",
            "writes none",
        ),
        (
            ("[sft, ppo]", "[sft, drawn]"),
            "stages.table.evaluate",
            "'drawn' is a sample stage; a train stage is needed here",
        ),
        (
            ("[sft, ppo]", "[sft, pairs]"),
            "stages.table.evaluate",
            "'pairs' is data; a train stage is needed here",
        ),
        (("[sft, ppo]", "[sft, pppo]"), "stages.table", "Did you mean 'ppo'"),
        (("by: judge}", "by: judge, against: judge}"), "stages.table.against", "is a reward model"),
        (("by: judge}", "by: judeg}"), "stages.table.by", "Did you mean 'judge'"),
        (("by: judge}", "by: [judge, {length: {unit: words}}]}"), "stages.table.by.length", "a measure here"),
        (("by: judge}", "by: [judge, {kl: {weight: 2}}]}"), "stages.table.by.kl", "takes no options"),
        (
            ("sample: sft", "sample: judge"),
            "stages.drawn.sample",
            "'judge' is a reward model; it scores completions and writes none",
        ),
        (("sample: sft", "sample: pairs"), "stages.drawn.sample", "'pairs' is data"),
        (("reward: judge", "reward: lenght"), "stages.ppo.reward", "Did you mean 'length'"),
        (("reward: judge", "reward: jugde"), "stages.ppo.reward", "Did you mean 'judge'"),
        (("reward: judge", "reward: sft"), "stages.ppo.reward", "'sft' trains no reward model"),
        (("reward: judge", "reward: drawn"), "stages.ppo.reward", "'drawn' trains no reward model"),
        (("reward: judge", "reward: {judge: {beta: 2}}"), "stages.ppo.reward.judge", "takes no options"),
        (
            ("reward: judge", "reward: {length: {units: words}}"),
            "stages.ppo.reward.length.units",
            "Did you mean 'unit'",
        ),
        (
            ("reward: judge", "reward: {length: {weight: heavy}}"),
            "stages.ppo.reward.length.weight",
            "found 'heavy'",
        ),
        (
            ("reward: judge", "reward: [judge, {length: {weight: heavy}}]"),
            "stages.ppo.reward.length.weight",
            "found 'heavy'",
        ),
        (
            ("[sft, ppo]", "[sft, {ppo: {best_of: 2, by: {judge: {weight: x}}}}]"),
            "stages.table.evaluate.ppo.by.judge.weight",
            "found 'x'",
        ),
        (
            ("train: ppo", "train: {ppo: {}, sft: {weight: 0}}"),
            "stages.ppo.train.sft.weight",
            "greater than 0, found 0",
        ),
        (
            ("reward: judge", "reward: {judge: 2}"),
            "stages.ppo.reward",
            "the options of judge must be a mapping, found 2",
        ),
        (("reward: judge", "reward: 2"), "stages.ppo.reward", "give the name of a reward"),
        (("reward: judge, ", ""), "stages.ppo", "learns from rewards, and the stage names none"),
        (("reward: judge", "reward: []"), "stages.ppo", "learns from rewards, and the stage names none"),
        (("watch: length", "watch: lengthy"), "stages.ppo.watch", "Did you mean 'length'"),
        (
            ("reward: judge", "reward: [length, {length: {unit: characters}}]"),
            "stages.ppo.reward",
            "'length' twice",
        ),
        (("reward: judge", "reward: {length: {unit: characters}}"), "stages.ppo.watch", "'length' twice"),
        (("on: pairs, start: base", "on: pairs, reward: length"), "stages.sft.reward", "nothing to reward"),
        (("on: pairs, start: base", "on: pairs, watch: length"), "stages.sft.watch", "nothing to reward"),
        (
            ("train: ppo", "train: {ppo: {minibatches: 5}}"),
            "stages.ppo.train.ppo.minibatches",
            "raise batch_size or lower minibatches",
        ),
        (
            ("sampling: {temperature: 1}", "sampling: {temprature: 1}"),
            "stages.ppo.sampling.temprature",
            "Did you mean 'temperature'",
        ),
        (
            ("sampling: {temperature: 1}", "sampling: {sampler: enigne}"),
            "stages.ppo.sampling.sampler",
            "Did you mean 'engine'",
        ),
        (("on: prompts}", "on: prompts, sampler: enigne}"), "stages.drawn.sampler", "Did you mean 'engine'"),
        (
            ("  sft:   {", "  length: {train: bradley-terry, on: pairs}\n  sft:   {"),
            "stages.ppo.watch",
            "and a registered reward",
        ),
        (
            ("  sft:   {", "  base: {train: sft, on: pairs}\n  sft:   {"),
            "stages.base",
            "both a stage and the base",
        ),
        (
            ("  drawn: {sample: sft, on: prompts}", "  drawn: {label: pairs, by: []}"),
            "stages.drawn.by",
            "at least 1",
        ),
        (
            ("  drawn: {sample: sft, on: prompts}", "  drawn: {label: sft, by: length}"),
            "stages.drawn.label",
            "a sample stage is needed",
        ),
        (
            ("  sft:   {", "  report: {train: sft, on: pairs}\n  sft:   {"),
            "stages.report",
            "the folder of the report's pictures",
        ),
        (
            ("  sft:   {", "  superseded: {train: sft, on: pairs}\n  sft:   {"),
            "stages.superseded",
            "folder of superseded results",
        ),
        (
            ("on: prompts, start: sft, reward", "on: prompts, start: judge, reward"),
            "stages.ppo.start",
            "'judge' is a reward model",
        ),
        (
            ("sampling: {temperature: 1}", "sampling: {temperature: 0}"),
            "stages.ppo.sampling.temperature",
            "the same, and none is better",
        ),
        (
            ("sampling: {temperature: 1}", "sampling: {temperature: 1e-46}"),
            "stages.ppo.sampling.temperature",
            "at least 0.01, found 1e-46",
        ),
        (
            ("sampling: {temperature: 1}", "sampling: {temperature: .inf}"),
            "stages.ppo.sampling.temperature",
            "found inf",
        ),
        (
            ("sampling: {temperature: 1}", "sampling: {stop: ['']}"),
            "stages.ppo.sampling.stop.0",
            "at least 1 character",
        ),
        (
            ("sampling: {temperature: 1}", "sampling: {min_tokens: 33}"),
            "stages.ppo.sampling",
            "min_tokens 33 is more than max_tokens 32",
        ),
        (
            ("sampling: {temperature: 1}", "max_length: 32"),
            "stages.ppo.sampling.max_tokens",
            "leaves no room for a prompt within",
        ),
        (
            ("on: prompts}", "on: prompts, max_tokens: 1024}"),
            "stages.drawn.max_tokens",
            "leaves no room for a prompt",
        ),
        (
            ("by: judge}", "by: judge, max_tokens: 2000}"),
            "stages.table.max_tokens",
            "leaves no room for a prompt",
        ),
        (
            ("[sft, ppo]", "[{ppo: {best_of: 2, by: judge}}], temperature: 0"),
            "stages.table.temperature",
            "there is no best of them",
        ),
        (
            ("watch: length", "watch: {length: {weight: 2}}"),
            "stages.ppo.watch.length",
            "only measured takes no weight",
        ),
        (("by: judge}", "by: {judge: {standardize: true}}}"), "stages.table.by.judge", "is not standardised"),
    ],
)
def test_a_mistake_of_an_online_recipe_names_its_place_and_the_mend(tmp_path, registry, change, where, words):
    assert change[0] in ONLINE
    with pytest.raises(UserError) as caught:
        plan(tmp_path, registry, ONLINE.replace(*change, 1))
    assert caught.value.where == where
    assert words in str(caught.value)


ODD = """
from alignkit import Demonstrations, Loss, OnlineObjective, Objective, Prompts, hookimpl

class Idle(Objective):
    name, data, trains = "idle", Demonstrations, frozenset()
    def loss(self, batch): return Loss(batch.mask.sum(-1).float())

class Critic(OnlineObjective):
    name, data, trains = "critic", Prompts, frozenset({"value"})
    def loss(self, batch): return Loss(batch.values.sum(-1))

@hookimpl
def register_objectives(register):
    register(Idle)
    register(Critic)
"""


@pytest.mark.parametrize(
    ("stage", "objective", "words"),
    [("sft", "idle", "trains no role"), ("ppo", "critic", "neither trains nor reads the policy")],
)
def test_an_objective_without_the_roles_that_it_needs_is_refused(tmp_path, stage, objective, words):
    (tmp_path / "odd.py").write_text(ODD)
    with pytest.raises(UserError, match=words) as caught:
        plan(
            tmp_path,
            Registry([tmp_path / "odd.py"]),
            ONLINE.replace(f"train: {stage}", f"train: {objective}"),
        )
    assert caught.value.where == f"stages.{stage}.train.{objective}"


def test_a_reward_named_as_a_measure_that_is_taken_is_refused(tmp_path, registry):
    with pytest.raises(UserError, match="'kl' twice"):
        plan(tmp_path, registry, ONLINE.replace("judge", "kl"))


def test_the_plan_says_what_each_stage_does(tmp_path, registry):
    lines = plan(
        tmp_path, registry, ONLINE.replace("[sft, ppo]", "[sft, {ppo: {best_of: 4, by: judge}}]")
    ).lines()
    assert [line.split()[0] for line in lines] == ["sft", "judge", "drawn", "ppo", "table"]
    assert "train ppo for judge on prompts, starting from sft" in lines[3]
    assert lines[3].endswith("trains policy, value")
    assert lines[4].endswith("evaluate sft, ppo best of 4 on prompts by judge, against base")


def test_a_sampler_that_cannot_be_used_here_is_told_before_anything_is_trained(
    tmp_path, registry, monkeypatch
):
    monkeypatch.setattr(
        registry.samplers.get("vllm"), "missing", classmethod(lambda cls: "the package vllm is not installed")
    )
    with pytest.raises(
        UserError, match="'vllm' cannot be used here: the package vllm is not installed"
    ) as caught:
        plan(tmp_path, registry, ONLINE.replace("sampling: {temperature: 1}", "sampling: {sampler: vllm}"))
    assert caught.value.where == "stages.ppo.sampling.sampler"
