"""Declarations that could not work are refused where the stage is planned."""

import pytest

from alignkit import Batch, Loss, Objective, OnlineObjective, Preferences, Prompts, Role, UserError
from alignkit.stages.train.declarations import require_declarations


def made(base=Objective, **declared):
    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.logps)

    body = {"name": "made", "data": Preferences, "__module__": __name__, "loss": loss, **declared}
    return type("Made", (base,), body)()


def function(policy):
    return policy[:, 0]


WRONG = {
    "nothing trained": ({"trains": set()}, "trains no role"),
    "an unknown scope": ({"scope": "steps"}, "scope = 'steps'; expected one of micro-batch, step"),
    "no round": (
        {"base": OnlineObjective, "data": Prompts, "max_rounds": 0},
        "max_rounds = 0; at least one round",
    ),
    "a built-in role of another kind": (
        {"roles": {"policy": "reward"}},
        "declares 'policy' as a reward; it is a language-model",
    ),
    "the sampler's log-probabilities": ({"roles": {"sampler": "language-model"}}, "'sampler_logps', which"),
    "the old log-probabilities": ({"roles": {"old": "language-model"}}, "'old_logps', which rollouts have"),
    "a name with a dot": ({"roles": {"a.b": "reward"}}, "the role 'a.b' has no name"),
    "a head on a policy that is not trained": (
        {
            "trains": {"probe"},
            "reads": {"policy"},
            "roles": {"probe": Role("reward", shares="policy")},
        },
        "trains the role 'probe', which shares the adapter of 'policy', and does not train 'policy'",
    ),
    "a writer on a model that is not trained": (
        {
            "trains": {"policy", "writer"},
            "reads": {"reward"},
            "roles": {"writer": Role("language-model", shares="reward")},
        },
        "trains the role 'writer', which shares the adapter of 'reward', and does not train 'reward'",
    ),
    "a role that shares a shared adapter": (
        {
            "reads": {"x", "y"},
            "roles": {"y": Role("language-model", shares="policy"), "x": Role("language-model", shares="y")},
        },
        "'x' shares the adapter of 'y', which shares one itself",
    ),
    "a head that is only read": (
        {"reads": {"probe"}, "roles": {"probe": Role("reward", shares="policy")}},
        "only reads 'probe', whose head would stay at zero",
    ),
    "a function called as a signal": ({"over_vocabulary": {"logps": function}}, "a function 'logps'"),
    "a function called as a field": ({"over_vocabulary": {"mask": function}}, "a function 'mask'"),
    "a function called as a method": ({"over_vocabulary": {"pairs": function}}, "a function 'pairs'"),
    "a function called as a signal of rollouts": ({"over_vocabulary": {"rewards": function}}, "'rewards'"),
}


@pytest.mark.parametrize(("declared", "told"), WRONG.values(), ids=WRONG)
def test_what_could_not_work_is_refused_with_the_place(declared, told):
    with pytest.raises(UserError, match=told) as caught:
        require_declarations(made(**declared), "stages.last.train.made")
    assert caught.value.where == "stages.last.train.made"


def test_what_works_is_taken():
    shared = {"writer": Role("language-model", shares="reward")}
    require_declarations(made(trains={"reward", "writer"}, roles=shared), "")
    require_declarations(made(roles={"older": "language-model", "reference": "language-model"}), "")
    require_declarations(made(over_vocabulary={"divergence": function}, scope="step"), "")
