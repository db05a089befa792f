"""What is asked of an n-gram model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.errors import SpecError

MAX_ORDER = 6
#: What lmplz takes for discounts with `--discount_fallback`: for adjusted counts of 1, 2, and 3 or more.
FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True, slots=True)
class Settings:
    """Order, and for each order the raw count up to which its n-grams are left out; the last holds for higher ones."""

    order: int
    prune: tuple[int, ...] = field(default=(0,))

    def __post_init__(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise SpecError(f"an n-gram model cannot have the order {self.order}; choose 1 to {MAX_ORDER}")
        given = self.prune or (0,)
        shown = " ".join(map(str, given))
        if len(given) > self.order:
            raise SpecError(
                f"--prune {shown} names {len(given)} orders, and the model has {self.order}; leave some out"
            )
        if any(a > b for a, b in zip((0, *given), given, strict=False)):
            raise SpecError(
                f"--prune {shown} decreases or is negative, and then longer n-grams would outlive their parts; "
                "give thresholds that stay or grow, such as 0 0 1"
            )
        padded = given + (given[-1],) * (self.order - len(given))
        object.__setattr__(self, "prune", padded)

    @classmethod
    def of(cls, order: int, prune: Sequence[int] | None) -> "Settings":
        """Settings from what a command was given."""
        return cls(order, tuple(prune or ()) or (0,))

    def json(self) -> dict[str, Any]:
        """The settings as data."""
        return {"order": self.order, "prune": list(self.prune)}
