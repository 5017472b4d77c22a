"""The rows of an evaluation: who is compared with whom, seed by seed."""

from alignkit.recipe import Evaluate
from alignkit.stages.evaluate.rows import rows_of, rows_with_reference


def settings(*targets, **more):
    return Evaluate.model_validate({"evaluate": list(targets), "on": "prompts", **more})


def names(row):
    return [(one.name, one.target.stage, one.against) for one in row.contestants]


def test_without_seeds_a_row_has_one_contestant():
    (row,) = rows_of(settings("policy"))
    assert (row.label, row.seeds, names(row)) == ("policy", 1, [("policy", "policy", "base")])


def test_the_reference_comes_first_where_it_is_no_target():
    assert [row.name for row in rows_with_reference(settings("policy"))] == ["base", "policy"]
    assert [row.name for row in rows_with_reference(settings("policy", "base"))] == ["policy", "base"]
    assert rows_with_reference(settings("policy", "base"))[1].contestants[0].is_reference


def test_each_seed_is_compared_with_the_same_seed_of_the_reference():
    policy, start, base = rows_with_reference(
        settings("policy", "start", "base", against="start", seeds={"policy": 2, "start": 2})
    )
    assert names(policy) == [
        ("policy-seed-1", "policy-seed-1", "start-seed-1"),
        ("policy-seed-2", "policy-seed-2", "start-seed-2"),
    ]
    assert (policy.label, policy.seeds) == ("policy (2 seeds)", 2)
    assert all(one.is_reference for one in start.contestants)
    assert (base.label, base.seeds) == ("base", 1)
    assert names(base) == [("base-seed-1", "base", "start-seed-1"), ("base-seed-2", "base", "start-seed-2")]


def test_what_chooses_the_best_may_have_the_seeds():
    (row,) = rows_of(settings({"base": {"best_of": 4, "by": "judge"}}, seeds={"judge": 2}))
    assert row.label == "base best of 4 (2 seeds)"
    assert [one.name for one in row.contestants] == ["base best of 4-seed-1", "base best of 4-seed-2"]
    assert [one.target.by[0].reward for one in row.contestants] == ["judge-seed-1", "judge-seed-2"]
    assert not any(one.is_reference for one in row.contestants)
