"""Objectives for the tests of the conformance suite: two that are right, and classes from a loss alone."""

from torch.nn.functional import logsigmoid

from alignkit import Batch, Field, Labelled, Loss, Objective, OnlineObjective, Prompts, Rollouts


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
