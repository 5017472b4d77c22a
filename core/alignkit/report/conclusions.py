"""Says below a picture what may be concluded from its numbers, and what not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from alignkit.evaluation.preferences import ACCURACY, LENGTH_ONLY
from alignkit.evaluation.statistics import Interval
from alignkit.report.numerals import number_label
from alignkit.report.records import Evaluation, StageRecord
from alignkit.report.series import mean_records, series
from alignkit.training.metrics import HELD_OUT, LOSS

FEWEST_STEPS = 10
"""Steps from which a trend is told: its first and its last fifth have at least two each."""


def apart(a: Interval, b: Interval) -> bool:
    """Tell whether two intervals do not overlap. A number without an interval is apart from nothing."""
    ends = (a.low, a.high, b.low, b.high)
    return all(map(math.isfinite, ends)) and (a.low > b.high or b.low > a.high)


def best(values: Mapping[str, Interval]) -> str | None:
    """Return whose mean is the highest, where its interval overlaps no other's; else None."""
    finite = {name: value for name, value in values.items() if math.isfinite(value.mean)}
    if len(finite) < 2:
        return None
    top = max(finite, key=lambda name: finite[name].mean)
    return top if all(apart(finite[top], other) for name, other in finite.items() if name != top) else None


def of_frontier(evaluation: Evaluation) -> tuple[str, ...]:
    """Say of each reward who is above the reference, who leads, and for how much the numbers speak."""
    found = []
    for reward in evaluation.rewards:
        values = _values(evaluation, reward)
        label = str(evaluation.metric(reward))
        found += [f"By {label}, {text}." for text in (_against(evaluation, values), _lead(values)) if text]
    return (*found, _reach(evaluation)) if found else ()


def _values(evaluation: Evaluation, name: str) -> dict[str, Interval]:
    return {
        target: values[name]
        for target, values in evaluation.targets.items()
        if name in values and math.isfinite(values[name].mean)
    }


def _against(evaluation: Evaluation, values: Mapping[str, Interval]) -> str:
    """Say who is above and below the reference with intervals apart, and whose interval overlaps with it."""
    reference = values.get(evaluation.against or "")
    if reference is None:
        return ""
    others = {name: value for name, value in values.items() if name != evaluation.against}
    above = [
        name for name, value in others.items() if apart(value, reference) and value.mean > reference.mean
    ]
    below = [
        name for name, value in others.items() if apart(value, reference) and value.mean < reference.mean
    ]
    same = [name for name in others if name not in above + below]
    parts = [
        f"{listed(names)} {_is(names)} {side} {evaluation.against}, intervals apart"
        for names, side in ((above, "above"), (below, "below"))
        if names
    ]
    if same:
        their = "their intervals overlap" if len(same) > 1 else "its interval overlaps"
        parts.append(f"of {listed(same)} nothing can be said: {their} with that of {evaluation.against}")
    return "; ".join(parts)


def _lead(values: Mapping[str, Interval]) -> str:
    """Say who has the highest mean, and whether that tells who is better."""
    if len(values) < 2:
        return ""
    top = max(values, key=lambda name: values[name].mean)
    if best(values) == top:
        return f"{top} is the best, its interval apart from all others"
    close = [name for name in values if name != top and not apart(values[name], values[top])]
    return f"the intervals of {listed([top, *close])} overlap: these runs do not tell which of them is better"


def _reach(evaluation: Evaluation) -> str:
    """Say how many prompts and how many trainings the intervals speak for."""
    most = max(
        (value.count for values in evaluation.targets.values() for value in values.values()), default=0
    )
    prompts = f"The intervals are over {evaluation.prompts or most} prompts"
    seeds = {len(each) for each in evaluation.each.values()}
    if not seeds:
        return f"{prompts}, one training run each: they say nothing about other seeds."
    number = str(min(seeds)) if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    single = [
        name for name in evaluation.targets if name not in evaluation.each and name != evaluation.against
    ]
    rest = f" {listed(single)} ran once: there they say nothing about other seeds." if single else ""
    return f"{prompts} and {number} seeds.{rest}"


def of_reliability(evaluation: Evaluation) -> tuple[str, ...]:
    """Say of each reward model whether it ranks better than length alone."""
    said = []
    for name, values in evaluation.targets.items():
        accuracy, length = values.get(ACCURACY), values.get(LENGTH_ONLY)
        if accuracy is None or length is None or not math.isfinite(accuracy.mean + length.mean):
            continue
        told = (
            "better than preferring the longer completion, intervals apart"
            if apart(accuracy, length) and accuracy.mean > length.mean
            else "which is not told apart from preferring the longer completion: the intervals overlap"
            if not apart(accuracy, length)
            else "worse than preferring the longer completion"
        )
        said.append(
            f"{name} orders {accuracy.mean:.0%} of the pairs as they were ranked ({accuracy.low:.0%} to "
            f"{accuracy.high:.0%}, {accuracy.count} prompts), {told}."
        )
    return tuple(said)


def of_training(stages: Sequence[StageRecord], names: Sequence[str]) -> tuple[str, ...]:
    """Say whether the first metric moved more than its noise, and what held-out data says."""
    if not names:
        return ()
    records = mean_records([stage.metrics for stage in stages])
    first = stages[0]
    values = series(records, names[0]).values
    said = [_trend(first.title(names[0]), values)] if values else []
    said += [text for name in names if (text := _held_out(first, name, records))]
    seeds = (
        "One training run: another seed may end elsewhere."
        if len(stages) == 1
        else f"Lines of {len(stages)} seeds: where they part, the difference is chance."
    )
    return (*said, seeds)


def of_two_rewards(gold: str, optimized: Sequence[float], watched: Sequence[float]) -> tuple[str, ...]:
    """Say how the watched reward moved, and whether that is over-optimization.

    It is where, after the best fifth of the watched reward, this reward fell and the optimized one rose.
    """
    said = (_trend(gold, watched),)
    if len(optimized) != len(watched) or len(watched) < FEWEST_STEPS:
        return said
    size = len(watched) // 5
    means = [fmean(watched[place : place + size]) for place in range(len(watched) - size + 1)]
    top = means.index(max(means))
    after = [(values[top : top + size], values[-size:]) for values in (optimized, watched)]
    rose, fell = (_moved(*ends) for ends in after)
    if rose > 0 > fell:
        return (
            *said,
            f"The policy exploits the reward: after about step {top + size // 2 + 1}, {gold} fell to "
            f"{number_label(fmean(watched[-size:]))} while the optimized reward went on rising.",
        )
    if fell < 0:
        return (
            *said,
            f"After about step {top + size // 2 + 1}, {gold} fell, without a gain of the optimized reward.",
        )
    return (*said, f"No fall of {gold} can be told: no sign of over-optimization so far.")


def _moved(begin: Sequence[float], end: Sequence[float]) -> int:
    """Return 1 where values rose, −1 where they fell, 0 where that is less than twice the standard errors."""
    gap = fmean(end) - fmean(begin)
    return 0 if abs(gap) <= 2 * (_error(begin) + _error(end)) else 1 if gap > 0 else -1


def _trend(title: str, values: Sequence[float]) -> str:
    """Compare the first fifth of the steps with the last, by twice the standard errors of their means."""
    if len(values) < FEWEST_STEPS:
        return f"{len(values)} steps are too few to tell a trend of {title} from noise."
    size = len(values) // 5
    begin, end = values[:size], values[-size:]
    moved = f"{title} went from {number_label(fmean(begin))} to {number_label(fmean(end))}"
    means = f"means of the first and the last {size} of {len(values)} steps"
    if _moved(begin, end):
        return f"{moved} ({means}), more than single steps scatter."
    return f"{moved} ({means}), no more than single steps scatter: no trend can be told."


def _error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values))


def _held_out(stage: StageRecord, name: str, records: Sequence[Mapping[str, float]]) -> str:
    """Say of a loss when it was lowest on held-out data, and of an accuracy what length alone would get."""
    held_out, bare = series(records, HELD_OUT + name), stage.split(name)[1]
    baseline = series(records, f"{HELD_OUT}{LENGTH_ONLY}").values
    if not held_out.values:
        return ""
    last = held_out.values[-1]
    if bare.endswith(LOSS) and len(held_out.values) > 1:
        place = held_out.values.index(min(held_out.values))
        if place == len(held_out.values) - 1:
            return f"On held-out data the {stage.title(name)} was lowest at the end, {number_label(last)}."
        return (
            f"On held-out data the {stage.title(name)} was lowest at step {held_out.steps[place]:.0f} "
            f"({number_label(held_out.values[place])}) and ended at {number_label(last)}: "
            "later steps did not lower it."
        )
    if baseline and stage.metric(name).unit == "share of pairs":
        return (
            f"On held-out pairs it ended at {number_label(last)}; "
            f"preferring the longer completion gets {number_label(baseline[-1])}."
        )
    return ""


def listed(names: Sequence[str]) -> str:
    """Return names as words: “a”, “a and b”, “a, b and c”."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
