"""Each wrong declaration of an objective, and each option that cannot be written down, is named."""

import pytest
from made_objectives import Sound, advantages, offline, online, summed

from alignkit import Field, Loss, Metric, OnlineObjective, Preferences, Prompts, UserError
from alignkit.testing import check_objective

DECLARATIONS = {
    "no data": ({"data": None}, "declares no data"),
    "an unknown role": ({"reads": {"referense"}}, "Did you mean 'reference'"),
    "an unknown role by an option": (
        {"reads": property(lambda self: {"referense"})},
        "unknown role 'referense'",
    ),
    "nothing to train": ({"trains": set()}, "must name one or more of policy, reward, value"),
    "the reference trained": ({"trains": {"reference"}}, "must name one or more of policy, reward, value"),
    "entropy of no policy": ({"trains": {"reward"}, "entropy": True}, "neither `trains` nor `reads`"),
    "prompts without sampling": ({"data": Prompts}, "an OnlineObjective learns from Prompts"),
}


@pytest.mark.parametrize("wrong", DECLARATIONS)
def test_a_wrong_declaration_is_named(wrong):
    declarations, words = DECLARATIONS[wrong]
    with pytest.raises((AssertionError, UserError), match=words):
        check_objective(offline(lambda b: Loss(-summed(b)), **declarations))


def test_an_online_objective_on_preferences_is_refused():
    with pytest.raises(AssertionError, match="learns from Prompts"):
        check_objective(offline(lambda b: Loss(-summed(b)), OnlineObjective, data=Preferences))


def test_an_online_objective_without_a_policy_is_refused():
    with pytest.raises(AssertionError, match="the policy samples"):
        check_objective(online(advantages, trains={"value"}))


def test_rollouts_have_the_columns_of_their_prompts():
    def weighted(batch):
        assert batch.get("nothing") is None
        return Loss(-batch.advantages * batch.difficulty * batch.get("difficulty") * summed(batch))

    objective = online(lambda r: advantages(r, harder=r.difficulty + 1), weighted)
    check_objective(objective, columns={"difficulty"})
    with pytest.raises(UserError, match="adds no 'difficulty'"):
        check_objective(objective)


def test_declared_metrics_are_accepted():
    check_objective(offline(lambda b: Loss(-summed(b)), metrics={"length": Metric("length", "tokens")}))


def test_an_option_that_changes_when_written_down_is_named():
    class Doubling(Sound):
        def model_post_init(self, context):
            self.beta = 2 * self.beta

    with pytest.raises(AssertionError, match=r"option 'beta' is 0.2, but 0.4"):
        check_objective(Doubling())


def test_an_option_that_json_cannot_hold_is_named():
    class Odd(Sound):
        beta: object = Field(default_factory=object)  # type: ignore[assignment]

    with pytest.raises(AssertionError, match="options cannot be written down"):
        check_objective(Odd())
