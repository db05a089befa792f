"""What a policy may say: the entries of `keep` and of rule files, and their validation."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stages.catalog import did_you_mean, explain
from stages.errors import SpecError

T = TypeVar("T", bound="Entry")
Scalar = bool | int | float | str
Test = Literal["ge", "gt", "le", "lt", "eq", "in"]
TESTS: tuple[Test, ...] = ("ge", "gt", "le", "lt", "eq", "in")
SYMBOLS: Mapping[Test, str] = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "eq": "==", "in": "in"}


class Percentile(BaseModel):
    """A threshold that is a nearest-rank percentile of this corpus, written `p70` or `p99.9`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percent: str = Field(pattern=r"^\d{1,3}(\.\d{1,9})?$")

    @field_validator("percent")
    @classmethod
    def _at_most_all(cls, percent: str) -> str:
        if Decimal(percent) > 100:  # noqa: PLR2004  # per cent
            raise ValueError("a percentile lies between p0 and p100")
        return percent

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The percentile that `text` writes, or None where it writes none."""
        try:
            return cls(percent=text.removeprefix("p")) if text.startswith("p") else None
        except ValidationError:
            return None

    @property
    def fraction(self) -> Fraction:
        """The percentile as an exact fraction in [0, 1]."""
        return Fraction(self.percent) / 100

    def __str__(self) -> str:
        return f"p{self.percent}"


class Entry(BaseModel):
    """What every entry of `keep` has: no unknown field passes, nothing changes after parsing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    @classmethod
    def names(cls) -> list[str]:
        """The fields as people write them."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class Rule(Entry):
    """One line: a column, one test, what to do when the value is unknown, and the reason given."""

    column: str
    ge: Any = None
    gt: Any = None
    le: Any = None
    lt: Any = None
    eq: Any = None
    in_: Any = Field(default=None, alias="in")
    on_null: Literal["keep", "drop"]
    reason: str = Field(min_length=1)
    cite: str = ""
    where: dict[str, Any] = Field(default_factory=dict)
    per: str | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        given = self.given()
        if not given:
            raise ValueError(f"has no test; write one of {', '.join(TESTS)}")
        if len(given) > 1:
            raise ValueError(f"has {len(given)} tests ({' and '.join(given)}); write one rule for each")
        test, value = next(iter(given.items()))
        if test == "in":
            _check_list(value, "in")
        else:
            _check_scalar(value, test)
        for column, allowed in self.where.items():
            _check_list(allowed if isinstance(allowed, (list, tuple)) else [allowed], f"where.{column}")
        return self

    def given(self) -> dict[Test, Any]:
        """The tests that the rule states."""
        values: dict[Test, Any] = {t: getattr(self, "in_" if t == "in" else t) for t in TESTS}
        return {t: v for t, v in values.items() if v is not None}

    @property
    def test(self) -> Test:
        """The name of the rule's test."""
        return next(iter(self.given()))

    @property
    def value(self) -> Any:
        """What the test compares with, as written."""
        return next(iter(self.given().values()))


class UseRules(Entry):
    """Every rule of a named, versioned rule file."""

    rules: str
    where: dict[str, Any] = Field(default_factory=dict)
    using: dict[str, str] = Field(default_factory=dict)

    @field_validator("where")
    @classmethod
    def _lists(cls, where: dict[str, Any]) -> dict[str, Any]:
        for column, allowed in where.items():
            _check_list(allowed if isinstance(allowed, (list, tuple)) else [allowed], f"where.{column}")
        return where


class OneOf(Entry):
    """Of each cluster, one document stays: the best of those that every earlier rule keeps."""

    one_of: str
    by: str
    reason: str = Field(min_length=1)
    order: Literal["highest", "lowest"] = "highest"
    cite: str = ""

    @model_validator(mode="after")
    def _order_of_a_column(self) -> Self:
        if self.by in ("first", "longest") and "order" in self.model_fields_set:
            raise ValueError(f"has an order, which `by: {self.by}` does not use; name a column in `by` or leave it out")
        return self


class RuleFile(Entry):
    """A published filter as rules; columns are written KIND.column, and `needs` states stage fields they depend on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*(@[A-Za-z0-9][A-Za-z0-9._-]*)?$")
    about: str = ""
    needs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = Field(min_length=1)

    @property
    def short(self) -> str:
        """The name without its version: the first part of every reason."""
        return self.name.partition("@")[0]


KeepEntry = Rule | UseRules | OneOf


def parse_keep(entries: Sequence[Any], where: str = "keep") -> tuple[KeepEntry, ...]:
    """The entries of a spec's `keep`, in order.

    Raises:
        SpecError: it is no list, an entry is none of the three kinds, or has a wrong field; names the entry.
    """
    if not isinstance(entries, (list, tuple)):
        raise SpecError(f"`{where}` is {entries!r}, not a list; write its entries with `-` before each", where=where)
    return tuple(parse_entry(entry, f"{where}[{index}]") for index, entry in enumerate(entries))


def parse_entry(fields: Any, where: str) -> KeepEntry:
    """One entry: a rule (has `column`), a rule file (has `rules`) or a choice (has `one_of`).

    Raises:
        SpecError: it is none of these, or a field is wrong; with a suggestion for a misspelt one.
    """
    if isinstance(fields, (Rule, UseRules, OneOf)):
        return fields
    kinds: dict[str, type[KeepEntry]] = {"column": Rule, "rules": UseRules, "one_of": OneOf}
    if not isinstance(fields, Mapping):
        raise SpecError(f"{where} is {fields!r}, but an entry of `keep` is a mapping with column, rules or one_of")
    named = [k for k in kinds if k in fields]
    if len(named) != 1:
        found = " and ".join(named) or f"{', '.join(map(repr, fields)) or 'nothing'}"
        message = f"{where} has {found}; an entry has exactly one of column, rules and one_of"
        raise SpecError(message, where=where)
    return validated(kinds[named[0]], fields, where)


def parse_rule_file(fields: Any, where: str) -> RuleFile:
    """The rule file that `fields` describe.

    Raises:
        SpecError: it is not a mapping, or a field of it or of one of its rules is wrong.
    """
    if not isinstance(fields, Mapping) or not isinstance(fields.get("rules"), (list, tuple)):
        raise SpecError(f"{where} is not a rule file; it needs `name` and a list `rules`", where=where)
    rules = [validated(Rule, rule, f"{where} rules[{index}]") for index, rule in enumerate(fields["rules"])]
    return validated(RuleFile, {**fields, "rules": tuple(rules)}, where)


def validated(cls: type[T], fields: Any, where: str) -> T:
    """An entry of class `cls`.

    Raises:
        SpecError: with one sentence that names the place and says what to write.
    """
    if not isinstance(fields, Mapping):
        raise SpecError(f"{where} is {fields!r}, not a mapping", where=where)
    for name in fields:
        if name not in cls.names():
            message = f"{where} has the unknown field {name!r}{did_you_mean(str(name), cls.names())}"
            raise SpecError(message, where=where, field=str(name))
    if cls is Rule and fields.get("on_null") is None:
        message = f"{where} lacks on_null; write `on_null: keep` or `on_null: drop` for documents without a value"
        raise SpecError(message, where=where, field="on_null")
    try:
        return cls.model_validate(dict(fields))
    except ValidationError as error:
        raise SpecError(_sentence(error, cls, where), where=where) from error


def _sentence(error: ValidationError, cls: type, where: str) -> str:
    cause = error.errors()[0].get("ctx", {}).get("error")
    return f"{where} {cause}" if isinstance(cause, ValueError) else explain(error, cls, where)


def _check_scalar(value: Any, name: str) -> None:
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"has {name}: {value!r}, which is not a number, text, true, false or a percentile such as p70")  # noqa: TRY004  # pydantic turns ValueError into its own


def _check_list(values: Any, name: str) -> None:
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError(f"has {name}: {values!r}, which is not a list of values with at least one in it")
    for value in values:
        _check_scalar(value, name)
