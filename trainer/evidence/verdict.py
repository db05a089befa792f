"""One sentence about two arms: which is better, or that they cannot be told apart, and why.

The rule: an arm is called better or worse where the p value, adjusted by Holm over all arms of the study, is at most
1 - confidence; otherwise it abstains. Its errors are those of the test, simulated in `trainer/evidence/same_arms.py`;
`decide_ranks` of `trainer/evidence/replay.py` is the rule for ranks at another scale.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Decision = Literal["better", "worse"]

#: Tokens in times: up to the first they are told in percent; the second is further than any slope can be followed.
_TWICE, _BEYOND = 2, 1000


def decide(p_adjusted: float | None, effect: float | None, confidence: float) -> Decision | None:
    """What may be said of an arm whose effect is above 0 when it is better; None: nothing."""
    if p_adjusted is None or effect is None or effect == 0 or p_adjusted > 1 - confidence:
        return None
    return "better" if effect > 0 else "worse"


def number(value: float, digits: int = 3) -> str:
    """A number as people write it: three significant digits, thousands with commas."""
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def more_tokens(percent: float) -> str:
    """`4.1 % more tokens`, or where that is more than twice as many, `45 times the tokens`."""
    times = 1 + percent / 100
    if times <= _TWICE:
        return f"{number(percent)} % more tokens"
    return f"{number(times)} times the tokens" if times <= _BEYOND else f"over {_BEYOND:,} times the tokens"


def p_text(p: float) -> str:
    """`p = 0.021`, and `p = 0.001` for 0.000998 (it is a bound of what was resampled)."""
    return f"p = {p:.2g}" if p >= 0.01 else f"p = {p:.1g}"  # noqa: PLR2004 - one digit below


def span(interval: Mapping[str, float | None], confidence: float) -> str:
    """`(95 % interval 1.2 to 1.5)`, with `unbounded` where an end is not known."""
    low, high = interval["low"], interval["high"]
    if low is None and high is None:
        return f"({confidence:.0%} interval unbounded)".replace("%", " %")
    words = (
        f"above {number(low)}"
        if high is None and low is not None
        else f"below {number(high)}"
        if low is None and high is not None
        else f"{number(low or 0.0)} to {number(high or 0.0)}"
    )
    return f"({confidence * 100:g} % interval {words})"


def sentence(names: tuple[str, str], found: Mapping[str, Any], confidence: float) -> str:
    """The verdict on (arm, baseline).

    found: decided, p_holm, multiplier (with value, low, high, target_bits_per_byte, extrapolated, reason), delta (the
    difference at the largest budget) and tokens (of that budget).
    """
    arm, baseline = names
    p, multiplier = found["p_holm"], found["multiplier"]
    if p is None:
        return f"{arm} and {baseline} cannot be compared: {found['reason']}."
    effect = _effect(found, confidence)
    if found["decided"] is None:
        return f"{arm} and {baseline} are not distinguishable ({p_text(p)}): {effect}."
    far = " This is an extrapolation: the two were never observed at one loss." if multiplier["extrapolated"] else ""
    return f"{arm} is {found['decided']} than {baseline} ({p_text(p)}): {effect}.{far}"


def _effect(found: Mapping[str, Any], confidence: float) -> str:
    multiplier, delta = found["multiplier"], found["delta"]
    if multiplier["value"] is None:
        return (
            f"after {number(found['tokens'])} tokens the loss differs by {delta['value']:+.4f} bits per byte "
            f"{span(delta, confidence)}, and tokens saved are unknown because {multiplier['reason']}"
        )
    if found["decided"] is None:
        return f"the token multiplier is {number(multiplier['value'])} {span(multiplier, confidence)}"
    at = f"{multiplier['target_bits_per_byte']:.3f} bits per byte"
    return (
        f"it reaches {at} with {number(1 / multiplier['value'])} times the tokens, "
        f"a multiplier of {number(multiplier['value'])} {span(multiplier, confidence)}"
    )


def study_sentence(baseline: str, arms: Sequence[Mapping[str, Any]]) -> str:
    """The verdict on the whole study: what was told apart from the baseline, best first, and what was not."""
    if not arms:
        return f"Nothing was compared with {baseline}."
    tested = [a for a in arms if a["p_holm"] is not None]
    if not tested:
        return f"Nothing can be said: {arms[0]['sentence']}"
    worth = {a["name"]: a["multiplier"]["value"] for a in arms}
    better = sorted((a["name"] for a in tested if a["decided"] == "better"), key=lambda n: -(worth[n] or 0))
    worse = [a["name"] for a in tested if a["decided"] == "worse"]
    rest = [a["name"] for a in tested if a["decided"] is None]
    words = [f"{n} (worth {number(worth[n])} times the tokens)" if worth[n] else n for n in better]
    parts = [f"better than {baseline}: {', '.join(words)}"] if words else []
    parts += [f"worse: {', '.join(worse)}"] if worse else []
    parts += [f"not distinguishable from {baseline}: {', '.join(rest)}"] if rest else []
    parts += (
        [f"not compared: {', '.join(a['name'] for a in arms if a not in tested)}"] if len(tested) < len(arms) else []
    )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."
