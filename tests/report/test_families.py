"""Stages that differ only in their seed."""

from alignkit.report.families import families, family_of


def test_seeds_of_a_stage_are_one_family_and_other_stages_are_alone():
    names = ["sft", "dpo-seed-1", "dpo-seed-2", "round-2", "dpo-seeded-3"]
    assert families(names) == {
        "sft": ("sft",),
        "dpo": ("dpo-seed-1", "dpo-seed-2"),
        "round-2": ("round-2",),
        "dpo-seeded-3": ("dpo-seeded-3",),
    }


def test_the_name_of_a_run_before_a_stage_stays():
    assert family_of("tour/dpo-seed-12") == "tour/dpo"
