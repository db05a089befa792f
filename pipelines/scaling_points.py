"""Training runs from a CSV file: columns parameters, tokens and loss, and where there are any arm and unique_tokens."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.catalog import did_you_mean
from stages.errors import DataError, SpecError

if TYPE_CHECKING:
    from trainer.scaling.points import Points

REQUIRED, NUMBERS, ARM = ("parameters", "tokens", "loss"), ("parameters", "tokens", "loss", "unique_tokens"), "arm"

Row = dict[str, str]


def read_points(path: Path, baseline: str | None = None) -> "Points":
    """The runs of a file. Arms stand in the order in which they appear, the baseline first; other columns are left alone.

    An empty `unique_tokens` says that nothing was repeated.

    Raises:
        DataError: the file cannot be read, lacks a column, or a line has something that is not a positive number.
        SpecError: the baseline is none of the arms.
    """
    from trainer.scaling.points import Points  # noqa: PLC0415 - only where runs are fitted

    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path} has no runs below its header; give one line for each training run", path=str(path))
    columns = {name: np.array([_number(path, line, row, name) for line, row in rows]) for name in NUMBERS}
    has_arm = ARM in rows[0][1]
    names = [_arm(path, line, row) if has_arm else "all" for line, row in rows]
    arms = list(dict.fromkeys(names))
    if baseline is not None:
        if baseline not in arms:
            raise SpecError(f"{path} has no arm {baseline!r}{did_you_mean(baseline, arms)}; it has {', '.join(arms)}")
        arms = [baseline, *(arm for arm in arms if arm != baseline)]
    unique = np.minimum(
        np.where(np.isnan(columns["unique_tokens"]), np.inf, columns["unique_tokens"]), columns["tokens"]
    )
    numbers = np.array([arms.index(name) for name in names])
    return Points(columns["parameters"], columns["tokens"], columns["loss"], numbers, tuple(arms), unique)


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Every line that is not blank, with its number, by column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip() for name in next(lines, [])]
            _check_header(path, header)
            for fields in lines:
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) != len(header):
                    raise _wrong(path, lines.line_num, f"has {len(fields)} fields and the header {len(header)}")
                yield lines.line_num, dict(zip(header, (field.strip() for field in fields), strict=True))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8; save it as CSV", path=str(path)) from error
    except csv.Error as error:
        raise DataError(f"{path} is not CSV: {error}", path=str(path)) from error


def _check_header(path: Path, header: list[str]) -> None:
    where = f"line 1 of {path}"
    twice = [name for name in (*NUMBERS, ARM) if header.count(name) > 1]
    if twice:
        raise DataError(f"{where} has two columns {twice[0]!r}; leave one", path=str(path), line=1)
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        near = did_you_mean(missing[0], [name for name in header if name])
        raise DataError(
            f"{where} has no column {missing[0]!r}{near}; the header must have {', '.join(REQUIRED)}, with commas between them",
            path=str(path),
            line=1,
        )


def _number(path: Path, line: int, row: Row, name: str) -> float:
    """A cell as a positive number; NaN where the column is absent or its cell, if it may be, empty."""
    text = row.get(name, "")
    if not text and name not in REQUIRED:
        return math.nan
    try:
        found = float(text)
    except ValueError:
        raise _wrong(path, line, f"has {name} {text!r}, which is not a number" if text else f"has no {name}") from None
    if math.isnan(found) or math.isinf(found):
        raise _wrong(path, line, f"has {name} {text!r}; leave out runs whose {name} is not known (a diverged run, say)")
    if found <= 0:
        raise _wrong(path, line, f"has {name} {text}, which must be above 0")
    return found


def _arm(path: Path, line: int, row: Row) -> str:
    if not row[ARM]:
        raise _wrong(path, line, "has no arm; name one in every line, or leave the column out")
    return row[ARM]


def _wrong(path: Path, line: int, what: str) -> DataError:
    return DataError(f"line {line} of {path} {what}", path=str(path), line=line)
