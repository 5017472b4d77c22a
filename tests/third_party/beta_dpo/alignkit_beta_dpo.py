"""Direct preference optimization with a β for each step, and without the pairs that are far from the usual.

Source: Wu et al., 2024, arXiv:2407.08639. With M = β0·[log π/π_ref](y_w) − β0·[log π/π_ref](y_l) of a pair:

- M0 and σ follow the mean and the standard deviation of M over the steps, as M0 ← m·M0 + (1 − m)·mean(M);
- of each step the share ρ of the pairs is kept, drawn without replacement with probabilities that go as the
  density exp(−(M − M0)²/2σ²);
- the loss of the pairs kept is −log σ(β·M/β0), with β = β0·(1 + α·(mean(M) − M0)), which has no gradient.

As in the authors' code (github.com/junkangwu/beta-DPO), the mean in β is that of the pairs kept, M0 and σ
count the present step, and β is at least 1e-3. Deviations: M has the factor β0, which it lacks in that code;
M0 and σ begin as those of the first step, because averages that begin at 0 are too low; σ divides by P, not
P − 1, so that a step of one pair has one. Rankings give all their pairs, each of which counts once in M0.
"""

from alignkit import Average, Batch, Field, Loss, Metric, Objective, Preferences, hookimpl

alignkit_api = "1.0"
MARGINS, BETA, MEAN, DEVIATION = "rewards/margins", "beta-dpo/beta", "beta-dpo/mean", "beta-dpo/deviation"


class DynamicBeta(Objective):
    """DPO with a β for each step (Wu et al., 2024, arXiv:2407.08639)."""

    name = "beta-dpo"
    data = Preferences
    reads = {"reference"}
    scope = "step"
    metrics = {BETA: Metric("β"), MARGINS: Metric("difference of the rewards")}
    beta: float = Field(0.1, gt=0, description="β0, strength of the pull towards the reference")
    alpha: float = Field(0.6, ge=0, description="α, how much β follows the margins of the step")
    keep: float = Field(0.8, gt=0, le=1, description="ρ, share of the pairs that is kept")
    momentum: float = Field(0.9, ge=0, lt=1, description="m, how slowly M0 and σ follow the steps")

    def loss(self, batch: Batch) -> Loss:
        """Return −log σ(β·M/β0) of the pairs kept."""
        from torch.nn.functional import logsigmoid

        rewards = self.beta * ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)  # (N,)
        pairs, chance = batch.pairs(), batch.uniform()
        margin = rewards[pairs.winner] - rewards[pairs.loser]  # (P,)
        known = margin.detach()
        mean, deviation = self.followed(MEAN, known.mean()), self.followed(DEVIATION, known.std(correction=0))
        # The least −log(u) ÷ density is a draw in proportion to the density; here is its logarithm.
        drawn = (chance[pairs.winner] + chance[pairs.loser]).frac().log().neg().log()
        distance = drawn + ((known - mean) / deviation.clamp(min=1e-6)).square() / 2
        kept = distance.argsort()[: max(1, int(self.keep * len(known)))]
        factor = (1 + self.alpha * (known[kept].mean() - mean)).clamp(min=1e-3 / self.beta)
        reported = {MARGINS: known, BETA: self.beta * factor, MEAN: mean, DEVIATION: deviation}
        averages = {name: Average(value) for name, value in reported.items()}
        return Loss(-logsigmoid(factor * margin[kept]), pairs.weight[kept], averages)

    def followed(self, name, now):
        """Return the moving average with what is seen now."""
        return self.momentum * self.state.get(name, now) + (1 - self.momentum) * now

    def end_step(self, metrics):
        """Remember the moving averages."""
        self.state.update({name: metrics[name] for name in (MEAN, DEVIATION)})


@hookimpl
def register_objectives(register):
    """Register the objective `beta-dpo`."""
    register(DynamicBeta)
