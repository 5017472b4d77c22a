"""Self-rewarding: the policy judges its own samples, and is trained on what it prefers.

Source: Yuan et al., 2024, arXiv:2401.10020, sec. 2. The policy M_t samples answers, scores each of them as a
judge, and DPO on the best and the worst of each prompt makes M_(t+1). This file is the judge; a recipe does
the rest with the verbs `sample`, `label` and `train: dpo`, and repeats them for the next iteration.

With q(x, y) the question whether y answers x well, the reward of a sample is the judge's log-odds

    r(x, y) = log π_t("good" | q(x, y)) − log π_t("bad" | q(x, y)).

Deviations:

- Yuan et al. let the judge write a verdict with a score from 0 to 5, and take the mean of three of them. The
  log-odds are such an expectation without sampling, and a small model that seldom writes a score has them.
- Their first model is trained to judge as well; here it is the recipe's policy as it is.
- `label` ranks all samples, and DPO learns from every pair of them, not from the best and the worst alone.
  With two samples of each prompt it is the same.

The reward `concise` may be added with a small weight, because judges prefer long answers.
"""

import asyncio

from alignkit import Field, Reward, hookimpl, text_of

alignkit_api = "1.0"

QUESTION = "{question}\n\nAn answer: {answer}\n\nIs this answer good or bad? Reply with one word."


class SelfJudge(Reward):
    """Gives the log-odds with which the policy calls a sample good (Yuan et al., 2024, arXiv:2401.10020)."""

    name = "self-judge"
    uses = {"policy"}
    good: str = Field("good", description="the verdict on a good answer")
    bad: str = Field("bad", description="the verdict on a bad answer")

    def score(self, prompts, completions, engine, **columns):
        """Ask for both verdicts on each completion."""
        asked = [
            [{"role": "user", "content": QUESTION.format(question=text_of(x), answer=text_of(y))}]
            for x, y in zip(prompts, completions, strict=True)
            for _ in range(2)
        ]
        verdicts = [
            [{"role": "assistant", "content": word}] for _ in prompts for word in (self.good, self.bad)
        ]
        logps = [sum(of_tokens) for of_tokens in engine.logps("policy", asked, verdicts)]
        return [good - bad for good, bad in zip(logps[::2], logps[1::2], strict=True)]


class Concise(Reward):
    """Punishes words beyond a number of them. It stands for a reward that waits for another program."""

    name = "concise"
    words: int = Field(4, ge=1, description="number of words that cost nothing")

    async def score(self, prompts, completions, **columns):
        """Count the words of all completions at the same time."""
        return await asyncio.gather(*map(self._score, completions))

    async def _score(self, completion):
        await asyncio.sleep(0)
        return -float(max(len(text_of(completion).split()) - self.words, 0))


@hookimpl
def register_rewards(register):
    """Register the rewards `self-judge` and `concise`."""
    register(SelfJudge)
    register(Concise)
