"""What a stage refers to, and what it is called after its names have changed."""

from alignkit.recipe.references import references, renamed

STAGE = {
    "train": {"ppo": {"beta": 1}, "sft": {"on": "pairs"}},
    "on": "prompts",
    "start": "sft",
    "roles": {"reference": "first", "teacher": {"start": "big", "prompt": "hinted"}},
    "reward": {"judge": {"weight": 2, "roles": {"critic": "wise"}}},
    "held_out": {"path": "judge", "split": "sft"},
    "steps": 3,
}


def test_the_names_of_stages_data_and_rewards_are_found():
    assert references(STAGE) == {"pairs", "prompts", "sft", "first", "big", "judge", "wise"}
    assert references("no stage") == set()


def test_they_alone_are_renamed():
    meaning = {
        name: name.upper() for name in ("sft", "judge", "first", "big", "wise", "pairs", "ppo", "hinted")
    }
    assert renamed(STAGE, meaning) == {
        "train": {"ppo": {"beta": 1}, "sft": {"on": "PAIRS"}},
        "on": "prompts",
        "start": "SFT",
        "roles": {"reference": "FIRST", "teacher": {"start": "BIG", "prompt": "hinted"}},
        "reward": {"JUDGE": {"weight": 2, "roles": {"critic": "WISE"}}},
        "held_out": {"path": "judge", "split": "sft"},
        "steps": 3,
    }
