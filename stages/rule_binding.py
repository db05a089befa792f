"""Binds a policy to the columns of a run: every name is resolved and every type checked before any work."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from stages.base import Stage
from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.rule_models import KeepEntry, OneOf, Percentile, Rule, RuleFile, Scalar, Test, UseRules

Kind = Literal["number", "text", "truth"]
Where = tuple[tuple[str, tuple[Scalar, ...]], ...]
MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
#: `FIRST` keeps the first document of a cluster in the order of the corpus, `LONGEST` the one with most UTF-8 bytes.
FIRST, LONGEST = "first", "longest"
#: The reason of whatever passes every rule and is not chosen by `select`.
NOT_SELECTED = "not-selected"


@dataclass(frozen=True, slots=True)
class Request:
    """A percentile to resolve: over all non-null values of `column`, or within each value of `per`."""

    column: str
    per: str | None
    percentile: Percentile


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule whose columns are full names and whose value fits its column."""

    index: int  # its row in what `judge` gives
    reason: str
    column: str
    test: Test
    value: Scalar | tuple[Scalar, ...] | Percentile
    on_null: Literal["keep", "drop"]
    where: Where = ()
    per: str | None = None
    cite: str = ""
    rules: str = ""  # the rule file that it comes from, with its version

    @property
    def request(self) -> Request | None:
        """The percentile that must be known before the rule can judge."""
        return Request(self.column, self.per, self.value) if isinstance(self.value, Percentile) else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule reads."""
        return (self.column, *(c for c, _ in self.where), *((self.per,) if self.per else ()))

    def identity(self) -> dict[str, Any]:
        """What decides the outcome; the citation and the file's name do not."""
        value = str(self.value) if isinstance(self.value, Percentile) else self.value
        return {
            "reason": self.reason,
            "column": self.column,
            "test": self.test,
            "value": {"percentile": value} if isinstance(self.value, Percentile) else value,
            "on_null": self.on_null,
            "where": [[c, list(v)] for c, v in self.where],
            "per": self.per,
        }


@dataclass(frozen=True, slots=True)
class BoundOneOf:
    """A choice within clusters whose columns are full names."""

    index: int  # continues after the plain rules
    reason: str
    cluster: str
    by: str  # FIRST, LONGEST or a column's full name
    order: Literal["highest", "lowest"] = "highest"
    cite: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the choice reads."""
        return (self.cluster,) if self.by in (FIRST, LONGEST) else (self.cluster, self.by)

    def identity(self) -> dict[str, Any]:
        """What decides the outcome."""
        return {"reason": self.reason, "one_of": self.cluster, "by": self.by, "order": self.order}


@dataclass(frozen=True, slots=True)
class BoundPolicy:
    """Every rule of a run. Plain rules judge rows alone; then each `one_of`, in order, among what is left."""

    plain: tuple[BoundRule, ...] = ()
    one_of: tuple[BoundOneOf, ...] = ()
    text: str = "text"  # the column that leaves: `longest` measures it
    selects: bool = False  # whether a selection follows, among what every rule keeps

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reason of each row of statuses, plain rules first; not unique."""
        selection = (NOT_SELECTED,) if self.selects else ()
        return (*(r.reason for r in self.plain), *(c.reason for c in self.one_of), *selection)

    @property
    def plain_columns(self) -> tuple[str, ...]:
        """The columns that `judge` reads, each once."""
        return tuple(dict.fromkeys(c for rule in self.plain for c in rule.columns))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the policy reads, each once; not the text, even where `longest` needs its bytes."""
        return tuple(dict.fromkeys((*self.plain_columns, *(c for choice in self.one_of for c in choice.columns))))

    @property
    def requests(self) -> tuple[Request, ...]:
        """The percentiles to resolve, each once."""
        return tuple(dict.fromkeys(r.request for r in self.plain if r.request is not None))

    def identity(self) -> dict[str, Any]:
        """What decides the outcome, for keys: rule files by content, never by name."""
        longest = any(choice.by == LONGEST for choice in self.one_of)
        return {
            "plain": [rule.identity() for rule in self.plain],
            "one_of": [choice.identity() for choice in self.one_of],
            "text": self.text if longest else None,
        }


def bind(
    entries: Sequence[KeepEntry],
    columns: Mapping[str, pa.Field],
    steps: Mapping[str, Stage],
    text: str,
    load: Callable[[str], RuleFile],
) -> BoundPolicy:
    """The policy of `entries` over these columns (by full name), steps (by name) and rule files (by name).

    `text` is the end of the rewriting chain.

    Raises:
        SpecError: an unknown column, step or rule file, a value that does not fit its column, an ambiguous step, or a
            column that has no values.
    """
    plain: list[BoundRule] = []
    choices: list[OneOf] = []
    files = {entry.rules: load(entry.rules) for entry in entries if isinstance(entry, UseRules)}
    prefixes = _prefixes(files.values())
    for number, entry in enumerate(entries):
        place = f"keep[{number}]"
        if isinstance(entry, OneOf):
            choices.append(entry)
        elif isinstance(entry, Rule):
            plain.append(_bind_rule(entry, columns, place))
        else:
            file = files[entry.rules]
            bound = _bind_file(entry, file, columns, _Steps(steps, text, place))
            plain.extend(replace(rule, reason=f"{prefixes[file.name]}/{rule.reason}") for rule in bound)
    plain = [replace(rule, index=index) for index, rule in enumerate(plain)]
    _check_percentile_reasons(plain)
    chosen = tuple(_bind_choice(c, len(plain) + i, columns) for i, c in enumerate(choices))
    policy = BoundPolicy(tuple(plain), chosen, text)
    _check_knowable(policy, steps)
    return policy


def _check_knowable(policy: BoundPolicy, steps: Mapping[str, Stage]) -> None:
    """Refuse what would judge every document by a null."""
    for column in policy.columns:
        step, _, leaf = column.rpartition(".")
        why = steps[step].unknowable().get(leaf) if step in steps else None
        if why is not None:
            raise SpecError(f"a rule reads {column!r}, which is null for every document: {why}", column=column)


def _prefixes(files: Iterable[RuleFile]) -> dict[str, str]:
    """How the reasons of each file begin: its name, with the version where another version is used beside it."""
    names = {file.name: file.short for file in files}
    shorts = list(names.values())
    return {name: short if shorts.count(short) == 1 else name for name, short in names.items()}


def kind_of_column(field: pa.Field) -> Kind | None:
    """What a column's values are to a rule; None for lists, structs and others that no rule can test."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return "truth" if pa.types.is_boolean(kind) else None


def check_value(field: pa.Field, column: str, test: Test, value: Any, place: str) -> Any:
    """The value of a test as it is compared: a percentile where one is written, a tuple for `in`.

    Raises:
        SpecError: the value does not fit the column or the test.
    """
    kind = kind_of_column(field)
    if kind is None:
        raise SpecError(f"{place} tests {column!r}, but no rule can test a column of {field.type}", column=column)
    if test == "in":
        return tuple(_fitting(kind, column, v, place) for v in value)
    if test == "eq":
        return _fitting(kind, column, value, place)
    if kind == "truth":
        raise SpecError(f"{place} orders {column!r}, which is true or false; write `eq: true`", column=column)
    if kind != "number" or not isinstance(value, str):
        return _fitting(kind, column, value, place)
    percentile = Percentile.parse(value)
    if percentile is None and re.match(r"[pP]\s*[-+.\d]", value):
        message = f"{place} has {test}: {value}, but percentiles go from p0 to p100, such as p70 or p99.9"
        raise SpecError(message, column=column)
    return percentile or _fitting(kind, column, value, place)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Finds the step that a rule file's KIND.column means."""

    steps: Mapping[str, Stage]
    text: str
    place: str

    def named(self, use: UseRules, kind: str, needs: Mapping[str, Any]) -> str:
        of_kind = {n: s for n, s in self.steps.items() if s.kind == kind}
        if kind in use.using:
            name = use.using[kind]
            if name not in of_kind:
                message = f"{self.place} says using {kind}: {name}, which is no {kind} step{did_you_mean(name, list(of_kind))}"
                raise SpecError(message, step=name)
        else:
            name = self._only(use, kind, needs, of_kind)
        step = of_kind[name]
        for field, wanted in needs.items():
            found = getattr(step, field, None)
            if found != wanted:
                message = (
                    f"{self.place}: rules {use.rules!r} need {kind} with {field}: {wanted}, but step {name!r} has "
                    f"{found!r}; write `{name}: {{kind: {kind}, {field}: {wanted}}}`"
                )
                raise SpecError(message, step=name, field=field)
        return name

    def _only(self, use: UseRules, kind: str, needs: Mapping[str, Any], of_kind: Mapping[str, Stage]) -> str:
        if not of_kind:
            fields = "".join(f", {f}: {v}" for f, v in needs.items())
            message = (
                f"{self.place}: rules {use.rules!r} need a step of kind {kind!r}; "
                f"add `{kind}: {{kind: {kind}{fields}}}` to measure"
            )
            raise SpecError(message, kind=kind)
        found = list(of_kind)
        if len(found) > 1:
            found = [n for n, s in of_kind.items() if getattr(s, "text", None) == self.text]
        if len(found) > 1:
            found = [n for n in found if all(getattr(of_kind[n], f, None) == v for f, v in needs.items())]
        if len(found) != 1:
            message = (
                f"{self.place}: rules {use.rules!r} could mean any of the {kind} steps {', '.join(sorted(of_kind))}; "
                f"say which one: `using: {{{kind}: {min(of_kind)}}}`"
            )
            raise SpecError(message, kind=kind)
        return found[0]


def _bind_file(use: UseRules, file: RuleFile, columns: Mapping[str, pa.Field], steps: _Steps) -> Iterator[BoundRule]:
    kinds = {kind for rule in file.rules for kind in _kinds_of(rule)} | set(file.needs)
    for kind in use.using:
        if kind not in kinds:
            known = did_you_mean(kind, sorted(kinds))
            raise SpecError(
                f"{steps.place} uses a {kind!r} step, which rules {use.rules!r} do not read{known}", kind=kind
            )
    names = {kind: steps.named(use, kind, file.needs.get(kind, {})) for kind in sorted(kinds)}

    def full(column: str) -> str:
        kind, dot, rest = column.partition(".")
        return f"{names[kind]}.{rest}" if dot else column

    for number, rule in enumerate(file.rules):
        fields = {
            "column": full(rule.column),
            "per": full(rule.per) if rule.per else None,
            "where": {full(c): v for c, v in rule.where.items()},
        }
        place = f"{steps.place}: {use.rules} rules[{number}]"
        bound = _bind_rule(rule.model_copy(update=fields), columns, place)
        extra = _bind_where(use.where, columns, steps.place)
        yield replace(bound, where=(*extra, *bound.where), rules=file.name)


def _kinds_of(rule: Rule) -> Iterator[str]:
    for column in (rule.column, *rule.where, *((rule.per,) if rule.per else ())):
        kind, dot, _ = column.partition(".")
        if dot:
            yield kind


def _bind_rule(rule: Rule, columns: Mapping[str, pa.Field], place: str) -> BoundRule:
    field = _field(rule.column, columns, place)
    value = check_value(field, rule.column, rule.test, rule.value, place)
    if rule.per is not None:
        if not isinstance(value, Percentile):
            message = (
                f"{place} has per: {rule.per}, but its value {rule.value!r} is no percentile; write p70 or remove per"
            )
            raise SpecError(message, column=rule.column)
        if kind_of_column(_field(rule.per, columns, place)) is None:
            raise SpecError(f"{place} groups by {rule.per!r}, which is no text, number or truth value", column=rule.per)
    where = _bind_where(rule.where, columns, place)
    return BoundRule(0, rule.reason, rule.column, rule.test, value, rule.on_null, where, rule.per, rule.cite)


def _bind_where(where: Mapping[str, Any], columns: Mapping[str, pa.Field], place: str) -> Where:
    bound = []
    for column, allowed in where.items():
        values = allowed if isinstance(allowed, (list, tuple)) else [allowed]
        bound.append((column, check_value(_field(column, columns, place), column, "in", values, place)))
    return tuple(bound)


def _bind_choice(choice: OneOf, index: int, columns: Mapping[str, pa.Field]) -> BoundOneOf:
    place = f"keep: one_of {choice.one_of}"
    _field(choice.one_of, columns, place)
    if choice.by not in (FIRST, LONGEST):
        if choice.by not in columns:
            names = [*columns, FIRST, LONGEST]
            raise SpecError(
                f"{place} chooses by {choice.by!r}, which nothing writes{did_you_mean(choice.by, names)}",
                column=choice.by,
            )
        if kind_of_column(columns[choice.by]) is None:
            raise SpecError(f"{place} chooses by {choice.by!r}, whose values have no order", column=choice.by)
    return BoundOneOf(index, choice.reason, choice.one_of, choice.by, choice.order, choice.cite)


def _field(column: str, columns: Mapping[str, pa.Field], place: str) -> pa.Field:
    if column not in columns:
        message = f"{place} reads {column!r}, which no step writes{did_you_mean(column, list(columns))}"
        raise SpecError(message, column=column)
    return columns[column]


def _fitting(kind: Kind, column: str, value: Any, place: str) -> Scalar:
    fits = {
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
        "text": isinstance(value, str),
        "truth": isinstance(value, bool),
    }[kind]
    if not fits:
        wanted = {"number": "a number", "text": "text", "truth": "true or false"}[kind]
        raise SpecError(f"{place} compares {column!r} with {value!r}, but the column holds {wanted}", column=column)
    if kind == "number" and isinstance(value, int) and not MIN_INT64 <= value <= MAX_INT64:
        raise SpecError(f"{place} compares {column!r} with an integer that does not fit in 64 bits", column=column)
    return value  # type: ignore[no-any-return]  # checked above


def _check_percentile_reasons(rules: Sequence[BoundRule]) -> None:
    """Resolved thresholds are known by reason, so different percentiles need different reasons."""
    seen: dict[str, Request] = {}
    for rule in rules:
        if rule.request is not None and seen.setdefault(rule.reason, rule.request) != rule.request:
            message = f"two percentile rules share the reason {rule.reason!r}; give each its own, its threshold is kept under it"
            raise SpecError(message, reason=rule.reason)
