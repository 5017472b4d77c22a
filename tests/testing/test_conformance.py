"""The conformance suite: every objective that comes along conforms, and each way to be wrong is found for its
own reason.
"""

import pytest
import torch
from torch.nn.functional import logsigmoid

from alignkit import (
    Batch,
    Demonstrations,
    Field,
    Labelled,
    Loss,
    Objective,
    OnlineObjective,
    Preferences,
    Prompts,
    Rollouts,
    UserError,
)
from alignkit.commands.new_method import NewMethod
from alignkit.registry import Registry
from alignkit.testing import check_objective

OBJECTIVES = Registry().objectives.items
OPTIONS = [
    ("sft", {}, {"weight"}),
    ("bradley-terry", {"margin": True, "centering": 0.1}, {"margin", "weight"}),
    ("bradley-terry", {"votes": True}, {"votes"}),
    ("dpo", {"beta": 0.5, "label_smoothing": 0.2}, {"weight"}),
    ("unlikelihood", {"alpha": 0.5}, {"weight"}),
    ("reinforce", {"level": "token", "kl_estimator": "k3", "normalize_advantages": True}, ()),
    ("reinforce", {"baseline": "moving-average", "kl_coef": 0, "clip": 0.2, "epochs": 2}, ()),
    ("ppo", {"samples_per_prompt": 3, "kl_target": 1.0, "entropy_coef": 0.1, "whiten_rewards": True}, ()),
    ("raft", {"keep": 3, "over": "batch", "above": 0.0}, ()),
]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_registered_objective_conforms(name):
    check_objective(OBJECTIVES[name]())


@pytest.mark.parametrize(("name", "options", "columns"), OPTIONS)
def test_objectives_conform_with_other_options(name, options, columns):
    check_objective(OBJECTIVES[name](**options), columns=columns)


def test_the_objective_that_new_plugin_writes_conforms():
    check_objective(NewMethod(beta=0.5), columns={"weight"})


class Sound(Objective):
    """Unpaired: raises what is labelled good, lowers the rest."""

    name = "sound"
    data = Labelled
    reads = {"reference"}
    entropy = True
    beta: float = Field(0.1, gt=0)

    def loss(self, batch: Batch) -> Loss:
        ratio = ((batch.logps - batch.reference_logps + 0.1 * batch.entropy) * batch.mask).sum(-1)
        return Loss(-logsigmoid(self.beta * ratio * (2 * batch.label - 1)), metrics={"rewards": ratio})


class SoundOnline(OnlineObjective):
    """REINFORCE with the running mean as baseline."""

    name = "sound-online"
    data = Prompts

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        self.state["mean"] = 0.5 * self.state.get("mean", 0.0) + 0.5 * float(rollouts.rewards.mean())
        return rollouts.with_(advantages=rollouts.rewards - self.state["mean"])

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.advantages * (batch.logps * batch.mask).sum(-1))


def test_a_sound_unpaired_objective_conforms():
    check_objective(Sound())


def test_a_sound_online_objective_conforms_and_keeps_its_state():
    objective = SoundOnline()
    objective.state["mean"] = 3.0
    check_objective(objective)
    assert objective.state == {"mean": 3.0}


def test_what_has_no_weight_may_be_anything():
    check_objective(
        offline(lambda b: Loss(-b.logps, b.mask.float(), {"share": torch.where(b.mask, b.logps, torch.nan)}))
    )


def summed(batch):
    return (batch.logps * batch.mask).sum(-1)  # (N,)


def offline(loss, base=Objective, **declarations):
    """A class with this loss, on labelled completions where the declarations say nothing else."""
    body = {
        "name": "broken",
        "data": Labelled,
        "__module__": __name__,
        "loss": lambda self, batch: loss(batch),
        **declarations,
    }
    return type("Broken", (base,), body)()


def online(prepare, loss=lambda batch: Loss(-batch.advantages * summed(batch)), **declarations):
    return offline(
        loss, OnlineObjective, data=Prompts, prepare=lambda self, rollouts: prepare(rollouts), **declarations
    )


def advantages(rollouts, **more):
    return rollouts.with_(advantages=rollouts.rewards, **more)


LOSSES = {
    "not a loss": (lambda b: summed(b).mean(), r"must return Loss\(terms"),
    "terms that are no tensor": (lambda b: Loss(1.0), "terms as a tensor"),
    "a weight of another shape": (lambda b: Loss(-b.logps, torch.ones(len(b))), "the same"),
    "a negative weight": (lambda b: Loss(-b.logps, -1.0 * b.mask), "negative"),
    "terms that are not finite": (lambda b: Loss(summed(b).log()), "terms have a number that is not finite"),
    "a metric that is a number": (lambda b: Loss(-summed(b), metrics={"length": 3.0}), "'length' is a float"),
    "a metric that is not finite": (
        lambda b: Loss(-summed(b), metrics={"ratio": summed(b).log()}),
        "'ratio' has a number that is not finite",
    ),
    "no gradient": (
        lambda b: Loss(-summed(b).detach()),
        "trains 'policy', but no gradient reaches batch.logps",
    ),
    "gradient at padding": (
        lambda b: Loss(b.logps + 0.1 * b.mask, b.mask + 0.1),
        "gradient reaches batch.logps at padding",
    ),
    "a gradient that is not finite": (
        lambda b: Loss((b.logps * ~b.mask).sum(-1).sqrt() + summed(b)),
        "gradient of batch.logps is not finite",
    ),
    "padding that counts": (
        lambda b: Loss(-b.logps * b.mask),
        "Σ weight is .* with more padding .*batch.mask",
    ),
    "a mean over padded length": (
        lambda b: Loss(-(b.logps * b.mask).mean(-1)),
        "Σ weight·terms is .* with more padding",
    ),
    "a metric over padded length": (
        lambda b: Loss(-summed(b), metrics={"m": (b.logps * b.mask).mean(-1)}),
        "'m' is .* with more padding",
    ),
    "the order of completions": (
        lambda b: Loss(-summed(b) * torch.arange(1, len(b) + 1)),
        "Σ weight·terms is .* in another order .*batch.group",
    ),
    "the number of a prompt": (lambda b: Loss(-summed(b) * (b.group == 0)), "in another order"),
    "a mean over the batch": (lambda b: Loss(-summed(b).mean()), "in micro-batches"),
    "the whole batch's mean subtracted": (
        lambda b: Loss((summed(b) - summed(b).mean()).square()),
        "Σ weight·terms .* in micro-batches",
    ),
    "a gradient of the whole batch": (
        lambda b: Loss((summed(b) - summed(b).detach()) * len(b)),
        "the gradient of batch.logps is another in micro-batches",
    ),
    "a metric averaged already": (
        lambda b: Loss(-summed(b), metrics={"m": summed(b).mean()}),
        "'m' is .* in micro-batches",
    ),
    "chance": (lambda b: Loss(-summed(b) * torch.rand(len(b))), "computed again"),
    "a signal that is not declared": (
        lambda b: Loss(-summed(b) * b.values.sum(-1)),
        'in `loss`, batch.values .*Declare "value"',
    ),
    "a column that is not there": (
        lambda b: Loss(-summed(b) * b.margin),
        r"no column 'margin'.*check_objective\(…, columns=",
    ),
    "a mistake of its own": (
        lambda b: Loss(-summed(b) @ torch.ones(1000)),
        "`loss` failed with RuntimeError",
    ),
}


@pytest.mark.parametrize("wrong", LOSSES)
def test_a_wrong_loss_is_told_by_its_own_reason(wrong):
    loss, words = LOSSES[wrong]
    with pytest.raises(AssertionError, match=words):
        check_objective(offline(loss))


DECLARATIONS = {
    "no data": ({"data": None}, "declares no data"),
    "an unknown role": ({"reads": {"referense"}}, "Did you mean 'reference'"),
    "an unknown role by an option": (
        {"reads": property(lambda self: {"referense"})},
        "unknown role 'referense'",
    ),
    "nothing to train": ({"trains": set()}, "must name policy, reward or value"),
    "the reference trained": ({"trains": {"reference"}}, "must name policy, reward or value"),
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


def test_columns_of_the_data_are_refused_for_rollouts():
    with pytest.raises(AssertionError, match="no columns of the data, such as 'margin'"):
        check_objective(SoundOnline(), columns={"margin"})


PREPARES = {
    "not rollouts": (lambda r: r.rewards, "must return rollouts, found Tensor"),
    "a tensor of another shape": (lambda r: advantages(r, mean=r.rewards.mean()), "gave mean the shape"),
    "a tensor that is not finite": (
        lambda r: advantages(r, ratio=r.rewards.log()),
        "gave a ratio that is not finite",
    ),
    "an undeclared signal": (
        lambda r: advantages(r, kl=r.token_kl()),
        'in `prepare`, batch.reference_logps .*Declare "reference"',
    ),
    "a gradient": (
        lambda r: advantages(r, free=r.rewards.clone().requires_grad_()),
        "`prepare` gave free a gradient",
    ),
    "padding that counts": (lambda r: r.with_(advantages=r.rewards / r.mask.shape[1]), "with more padding"),
    "the order of samples": (lambda r: r.with_(advantages=r.rewards.cumsum(0)), "in another order"),
    "a mistake of its own": (lambda r: advantages(r, more=1 / 0), "`prepare` failed with ZeroDivisionError"),
}


@pytest.mark.parametrize("wrong", PREPARES)
def test_a_wrong_prepare_is_told_by_its_own_reason(wrong):
    prepare, words = PREPARES[wrong]
    with pytest.raises((AssertionError, UserError), match=words):
        check_objective(online(prepare))


def test_rollouts_methods_are_not_there_in_loss_as_in_the_engine():
    with pytest.raises(AssertionError, match="other_mean"):
        check_objective(online(advantages, lambda b: Loss(-b.other_mean(b.rewards) * summed(b))))


def test_state_that_no_checkpoint_can_carry_is_named():
    class Remembering(SoundOnline):
        def prepare(self, rollouts: Rollouts) -> Rollouts:
            self.state["mean"] = rollouts.rewards.mean()
            return advantages(rollouts)

    with pytest.raises(AssertionError, match=r"state\['mean'\] is a Tensor"):
        check_objective(Remembering())


def test_an_option_that_changes_when_written_down_is_named():
    class Doubling(Sound):
        def model_post_init(self, context):
            self.beta = 2 * self.beta

    with pytest.raises(AssertionError, match=r"option 'beta' is 0.2, and 0.4"):
        check_objective(Doubling())


def test_an_option_that_json_cannot_hold_is_named():
    class Odd(Sound):
        beta: object = Field(default_factory=object)  # type: ignore[assignment]

    with pytest.raises(AssertionError, match="options cannot be written down"):
        check_objective(Odd())


def test_of_two_trained_roles_both_need_gradient():
    with pytest.raises(AssertionError, match="trains 'value', but no gradient"):
        check_objective(online(advantages, trains={"policy", "value"}))


def test_on_demonstrations_every_prompt_has_one_completion():
    sizes = []

    def loss(batch):
        sizes.extend(torch.bincount(batch.group).tolist())
        return Loss(-summed(batch))

    check_objective(offline(loss, data=Demonstrations))
    assert set(sizes) == {1}
