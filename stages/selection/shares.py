"""How an amount is shared out to domains: by weights or by temperature, with a cap on repetition."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Share:
    """What a domain gets: a part of the amount, as whole epochs and a rest of one more.

    `weight` is the share that was asked for, among all domains that there are.
    """

    weight: float
    target: int
    epochs: int
    rest: int


def by_temperature(amounts: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Weights p proportional to n^(1/T): 1 leaves the proportions, a higher one evens them out.

    Arivazhagan et al. 2019, arXiv:1907.05019, section 4.1.
    """
    if temperature == 1:
        return {name: float(n) for name, n in amounts.items()}
    most = max(amounts.values(), default=0)
    return {name: (n / most) ** (1 / temperature) if n else 0.0 for name, n in amounts.items()}


def shares(amounts: Mapping[str, int], weights: Mapping[str, float], amount: int, max_epochs: int) -> dict[str, Share]:
    """The shares of an amount by weights, none above `max_epochs` times what the domain has.

    What a domain cannot take is given to the others in proportion to their weights, again and again; each part is
    rounded down to a whole number.
    """
    total = sum(weights.get(name, 0.0) for name in amounts)
    asked = {name: weights.get(name, 0.0) / total if total else 0.0 for name in amounts}
    exact = {name: Fraction(weights[name]) for name in amounts if asked[name]}
    target = _filled({name: amounts[name] * max_epochs for name in exact}, exact, amount)
    found = {}
    for name, has in amounts.items():
        gets = target.get(name, 0)
        epochs = gets // has if has else 0
        found[name] = Share(asked[name], gets, epochs, gets - epochs * has)
    return found


def _filled(caps: Mapping[str, int], asked: Mapping[str, Fraction], amount: int) -> dict[str, int]:
    """Parts of the amount in proportion to what was asked for, up to the caps."""
    found: dict[str, int] = {}
    open_, left = set(caps), amount
    while open_:
        total = sum(asked[n] for n in open_)
        parts = {n: int(left * asked[n] / total) for n in open_}
        full = {n for n in open_ if caps[n] <= parts[n]}
        if not full:
            return found | parts
        found |= {n: caps[n] for n in full}
        left -= sum(caps[n] for n in full)
        open_ -= full
    return found
