"""A card as its page reads it: the fields that have their shape, and under `other` what has not, so that nothing is lost.

A card is written by a learner, which may be of another distribution: every field may be absent, or odd.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

#: Numbers that can be drawn.
Number = Annotated[float, Field(ge=-1e300, le=1e300, allow_inf_nan=False, strict=False)]


class Metric(BaseModel):
    """A measured number and its interval."""

    name: str
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    unit: str = "1"
    better: Literal["higher", "lower"] | None = None

    @property
    def drawable(self) -> bool:
        """Whether a place on an axis tells something: a number with an interval, or with a better direction."""
        return self.value is not None and (self.better is not None or None not in (self.low, self.high))


class Series(BaseModel):
    """Points of a line: x, y, and where it is known the interval of y.

    `through`, where it is given, are the places of the line; the points are then dots beside it.
    """

    name: str
    through: list[tuple[Number, Number]] | None = None
    points: list[tuple[Number, Number | None, Number | None, Number | None]]


class Curve(BaseModel):
    """Lines over one x. On the diagonal of a reliability curve what is said is what happens.

    `level` is a value of y that a line is drawn at; `log_x` and `log_y` ask for logarithmic axes;
    where x is `counted` its numbers are written as 300 k and 1 M.
    """

    title: str = ""
    x: str = "x"
    y: str = "y"
    series: list[Series] = Field(min_length=1)
    reliability: bool = False
    level: Number | None = None
    log_x: bool = False
    log_y: bool = False
    counted: bool = False
    palette: list[str] = Field(
        default_factory=list
    )  # all series of the drawings beside it, where one has one colour on all


class Shown(BaseModel):
    """A document that the learner likes or hates; more of it than these fields is shown beside it."""

    model_config = ConfigDict(extra="allow")

    text: str | None = None
    score: Number | None = None
    where: str | None = None


_SHAPES: dict[str, TypeAdapter[Any]] = {
    "what": TypeAdapter(str),
    "warnings": TypeAdapter(list[str]),
    "metrics": TypeAdapter(list[Metric]),
    "curves": TypeAdapter(list[Curve]),
    "likes": TypeAdapter(list[Shown]),
    "hates": TypeAdapter(list[Shown]),
    "data": TypeAdapter(dict[str, Any]),
    "settings": TypeAdapter(dict[str, Any]),
    "cost": TypeAdapter(dict[str, Any]),
}
_EMPTY: dict[str, Any] = {"what": "", "data": {}, "settings": {}, "cost": {}}


def read(card: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a card, empty where it is absent or has another shape; `other` has what is not among them."""
    found: dict[str, Any] = {name: _EMPTY.get(name, []) for name in _SHAPES}
    other: dict[str, Any] = {}
    for name, given in card.items():
        shape = _SHAPES.get(name)
        if shape is None:
            other[name] = given
            continue
        try:
            found[name] = shape.validate_python(_prepared(name, given))
        except ValidationError:
            other[name] = given
    return {**found, "other": other}


def _prepared(name: str, given: Any) -> Any:
    """Curves with points of four numbers, and marked where they are of reliability."""
    if name != "curves" or not isinstance(given, list):
        return given
    return [_curve(one) if isinstance(one, Mapping) else one for one in given]


def _curve(one: Mapping[str, Any]) -> dict[str, Any]:
    series = one.get("series")
    if isinstance(series, list):
        series = [{**s, "points": [_point(p) for p in s["points"]]} if _has_points(s) else s for s in series]
    named = str(one.get("title", "")).lower().startswith("reliability")
    return {"reliability": named, **one, "series": series}


def _has_points(series: Any) -> bool:
    return isinstance(series, Mapping) and isinstance(series.get("points"), list)


def _point(point: Any) -> Any:
    return [*point, None, None][:4] if isinstance(point, list) and len(point) in (2, 4) else point
