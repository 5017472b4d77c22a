"""HH-RLHF transcripts become conversations; the dirt of the published files is found."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

import alignkit_hh_rlhf as hh
from alignkit import BadExample, Example
from alignkit.data.checking import adapt
from alignkit.objective import Preferences

TEST_SPLIT = Path(__file__).resolve().parents[2] / "../shared/data/hh_harmless_test/test.jsonl.gz"
OPENING = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Human: why?\n\nor not"


def row(chosen="\n\nAssistant: yes", rejected="\n\nAssistant: no\n", opening=OPENING):
    return {"chosen": opening + chosen, "rejected": opening + rejected}


def test_the_last_turns_are_the_completions_and_the_others_the_prompt():
    said = [("user", "Hi"), ("assistant", "Hello!"), ("user", "Human: why?\n\nor not")]
    prompt = [{"role": role, "content": content} for role, content in said]
    yes, no = ([{"role": "assistant", "content": content}] for content in ("yes", "no"))
    assert hh.parse(row()) == Example(prompt, (yes, no), {"rank": (0.0, 1.0)})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(rejected="\n\nAssistant: a\n\nHuman: b\n\nAssistant: c"), "the prompts of the pair differ"),
        (row(chosen="\n\nAssistant: a\n\nHuman: b"), "does not end in an assistant's turn"),
    ],
)
def test_unusable_pairs_say_why(bad, reason):
    with pytest.raises(BadExample, match=reason):
        hh.parse(bad)


def test_only_transcripts_are_recognized():
    assert hh.matches(row())
    assert not hh.matches({"chosen": "a", "rejected": "b"})
    assert not hh.matches({"chosen": [], "rejected": []})
    assert not hh.matches({**row(), "prompt": "p"})
    assert not hh.matches({"prompt": "p"})


def test_the_format_registers():
    registered = {}
    hh.register_formats(lambda name, matches, parse: registered.update({name: (matches, parse)}))
    assert registered == {"hh-rlhf": (hh.matches, hh.parse)}


@pytest.mark.skipif(not TEST_SPLIT.is_file(), reason="the HH-RLHF test split is not in ../shared/data")
def test_the_dirt_of_the_published_test_split_is_found():
    reasons = Counter()
    with gzip.open(TEST_SPLIT, "rt", encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            assert hh.matches(pair)
            try:
                adapt(hh.parse(pair), Preferences)
                reasons["usable"] += 1
            except BadExample as reason:
                reasons[str(reason)] += 1
    assert reasons == {"usable": 2303, "empty completion": 4, "the prompts of the pair differ": 5}
