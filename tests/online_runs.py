"""A recipe of every verb and of online methods on a tiny model, and plugin files for it."""

from pathlib import Path

from tiny_runs import write_recipe

REWARD = """from alignkit import hookimpl


def {name}(prompts, completions, **columns):
    return [float(len(completion{more})) for completion in completions]


@hookimpl
def register_rewards(register):
    register({name})
"""
ODD = """from alignkit import hookimpl


def odd(prompts, completions, **columns):
    return {answer}


@hookimpl
def register_rewards(register):
    register(odd)
"""
PPO = """  judge: {train: bradley-terry, on: pairs, steps: 3}
  ppo:
    train:
      ppo: {samples_per_prompt: 2, epochs: 2, minibatches: 2, kl_target: 1}
      sft: {weight: 0.1, on: pairs}
    on: pairs
    reward: judge
    watch: letters
    steps: 8
"""
ALL = (
    PPO
    + """  reinforce:
    train: reinforce
    on: pairs
    reward: {judge: {standardize: true}, letters: {weight: 0.1}}
    steps: 1
  rounds:
    repeat: 2
    first: {policy: base}
    stages:
      policy: {train: raft, on: pairs, start: policy, reward: judge, steps: 1}
  drawn: {sample: policy, on: pairs, per_prompt: 3, max_tokens: 5}
  ranked: {label: drawn, by: [judge, {spaces: {weight: -1}}]}
  tuned: {train: dpo, on: ranked, start: policy, steps: 1}
  judged: {evaluate: judge, on: pairs}
  compared:
    evaluate: [base, policy, {policy: {best_of: 3, by: [judge, letters]}}, ppo, reinforce]
    on: shorter
    by: [letters, judge]
    against: ppo
    per_prompt: 2
    max_tokens: 5
"""
)
STAGES = [
    "judge",
    "ppo",
    "reinforce",
    "policy-1",
    "policy-2",
    "drawn",
    "ranked",
    "tuned",
    "judged",
    "compared",
]
TARGETS = ["base", "policy-2", "policy-2 best of 3", "ppo", "reinforce"]
MEASURES = ["distinct-2", "kl", "length", "repetition-4", "unfinished"]


def recipe_of(folder: Path, base: Path, stages: str) -> Path:
    return write_recipe(
        folder,
        base,
        stages,
        "training.sampling.max_tokens=6",
        "training.steps=null",
        f"data.shorter={{path: {base / 'pairs.jsonl'}, skip: 30}}",
    )


def plugins(folder: Path, **bodies: str) -> list[str]:
    """Plugin files with a reward each, as the command line takes them."""
    arguments = []
    for name, text in bodies.items():
        (folder / f"{name}.py").write_text(text)
        arguments += ["--plugin", str(folder / f"{name}.py")]
    return arguments


BOTH = {
    "letters": REWARD.format(name="letters", more=""),
    "spaces": REWARD.format(name="spaces", more=".split()"),
}
