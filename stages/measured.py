"""What a stage can know, while a run is planned, of the columns that it names."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from stages.errors import SpecError


def number_named(kind: str, name: str, steps: Mapping[str, Any]) -> pa.Field | None:
    """The field of a column of numbers that a stage of some kind names, or None where no step here writes it.

    Raises:
        SpecError: it holds no numbers.
    """
    step, _, leaf = name.rpartition(".")
    schema = steps[step].schema() if step in steps else pa.schema([])
    if leaf not in schema.names:
        return None
    field = schema.field(leaf)
    if not (pa.types.is_floating(field.type) or pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)):
        raise SpecError(f"{kind} reads numbers, and {name!r} holds {field.type}; name a column of numbers", column=name)
    return field


def unit_of(field: pa.Field | None) -> str | None:
    """The unit that a column states."""
    return None if field is None else (field.metadata or {}).get(b"unit", b"").decode() or None
