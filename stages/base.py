"""What a stage is: a frozen description and a pure function whose only output is new columns.

    Source       the outside              -> records, which become document shards
    RowStage     one Arrow RecordBatch    -> columns, one value a row
    CorpusStage  narrow columns of all    -> columns, one value a row (never sees text)
    Sink         kept rows, in order      -> files

A stage cannot drop, reorder or overwrite a row. `measure` is the only caller of kernels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from stages.errors import StageError
from stages.flow import Flow, Site, one_round

Columns = Mapping[str, pa.Array]
Kernel = Callable[[pa.RecordBatch], Columns]
#: What a sink tells of a file that it wrote.
Counts = Mapping[str, int]
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Marks a field whose value names a column; it is not part of a stage's parameters."""


#: A field of this type names a column that the stage reads: `text`, `url`, `clean.text`.
Column = Annotated[str, Reference()]
#: The same where no column need be named.
OptionalColumn = Annotated[str | None, Reference()]


@dataclass(frozen=True, slots=True)
class StepReference:
    """Marks a field whose value names another step of the spec; it is not part of a stage's parameters."""


#: A field of this type names a step whose columns the stage reads: `sketch`.
Step = Annotated[str, StepReference()]


class Files(Protocol):
    """Files of the store, for kernels that need more than their fields."""

    def local(self, path: str) -> Path:
        """A local copy of the file at a path of the store, or the file itself where the store is local."""


@dataclass(frozen=True, slots=True)
class Example:
    """Input columns (a bare string is the text) and the values that the stage must give for them."""

    given: str | Mapping[str, Any]
    gives: Mapping[str, Any]
    fields: Mapping[str, Any] | None = None  # the stage's fields, where not the defaults


def column(name: str, kind: pa.DataType, unit: str, *, better: Better | None = None, doc: str = "") -> pa.Field:
    """An Arrow field that states its unit (`1` for fractions and ratios) and which direction is better."""
    notes = {"unit": unit, "better": better or "", "doc": doc}
    return pa.field(name, kind, metadata={k: v for k, v in notes.items() if v})


class Stage(BaseModel):
    """A frozen description of work; `kind` is the name of its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    #: Bumped when the same fields give different numbers.
    version: ClassVar[int] = 1
    #: Fields that `located` fills; a finished run keeps them, so that it is read as it was planned.
    pinned: ClassVar[tuple[str, ...]] = ()
    #: Importable names and data files that `open` needs beyond the base installation, for `doctor` and the planner.
    requires: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def references(cls) -> tuple[str, ...]:
        """Names of the fields that hold column names."""
        return tuple(
            name for name, field in cls.model_fields.items() if any(isinstance(m, Reference) for m in field.metadata)
        )

    @classmethod
    def step_references(cls) -> tuple[str, ...]:
        """Names of the fields that hold names of steps."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(m, StepReference) for m in field.metadata)
        )

    def parameters(self) -> dict[str, Any]:
        """Every field that changes the numbers: all but the kind and the references to columns and steps."""
        fields = self.model_dump(mode="json")
        for name in ("kind", *self.references(), *self.step_references()):
            fields.pop(name, None)
        return fields

    def resolve(self, steps: Mapping[str, "Stage"]) -> Self:  # noqa: ARG002 - most stages name no step
        """The stage with what it needs to know of the steps that it names, all of which are in `steps`.

        Raises:
            SpecError: a named step is of a kind that the stage cannot use.

        """
        return self

    def located(self, files: Files) -> Self:  # noqa: ARG002 - most stages need nothing of the store
        """The stage with the content hashes of what it needs of the store; the planner calls it where there is one.

        Raises:
            SpecError: something that the stage names is not in the store.

        """
        return self

    def unknowable(self) -> Mapping[str, str]:
        """Columns that are null for every document, and why and what to do: no rule may read them."""
        return {}

    def artifacts(self) -> dict[str, str]:
        """Content hashes of the models and lists that the numbers depend on, by role.

        Raises:
            SpecError: one of them is missing on this machine.

        """
        return {}

    def identity(self) -> dict[str, Any]:
        """What makes two steps the same work, apart from the columns that they read."""
        return {
            "kind": self.kind,
            "version": self.version,
            "parameters": self.parameters(),
            "artifacts": self.artifacts(),
        }


class RowStage(Stage):
    """Measures each document on its own. A stage that writes a column named `text` rewrites."""

    writes: ClassVar[pa.Schema] = pa.schema([])
    examples: ClassVar[tuple[Example, ...]] = ()

    text: Column = "text"

    def schema(self) -> pa.Schema:  # type: ignore[override]  # what it hides of pydantic is deprecated
        """The columns written, with units. Overridden where fields change them."""
        return self.writes

    def reads(self) -> tuple[str, ...]:
        """The columns read; a row where any of them is null is not measured."""
        return tuple(dict.fromkeys(getattr(self, name) for name in self.references()))

    def open(self) -> Kernel:
        """Load what the kernel needs, once per worker, and return the kernel.

        A kernel takes a RecordBatch with the columns of `reads()` (none null, any number of rows,
        text as `string`) and returns one array for each column of `schema()`.
        """
        raise NotImplementedError

    def open_in(self, files: Files) -> Kernel:  # noqa: ARG002 - most kernels need no files of the store
        """The kernel, for stages that need files of the store."""
        return self.open()


class CorpusStage(Stage):
    """Relates documents to each other through narrow columns; never receives text.

    One round is enough where rows meet by one value (`partition_by`, `relate`). A stage that needs more overrides
    `program`, and may read the text of chosen documents through `Site.texts`.
    """

    writes: ClassVar[pa.Schema] = pa.schema([])
    #: The column (one of `reads()`) whose equal values must meet; None: all rows meet in one process.
    partition_by: ClassVar[str | None] = None

    def schema(self) -> pa.Schema:  # type: ignore[override]  # what it hides of pydantic is deprecated
        """The columns written, with units."""
        return self.writes

    def companions(self) -> dict[str, RowStage]:
        """Row steps that the planner inserts before this one, by the name that `reads()` knows them by."""
        return {}

    def reads(self) -> tuple[str, ...]:
        """The columns read. A companion's are `name.column`."""
        raise NotImplementedError

    def relate(self, rows: pa.Table) -> Columns:
        """One value a row for the rows of one partition.

        Args:
            rows: `doc_id` and the columns of `reads()`, under those names; sorted by `doc_id`, no nulls in `reads()`.

        """
        raise NotImplementedError

    def texts(self) -> tuple[str, ...]:
        """Text columns that `program` reads of chosen documents (`Site.texts`); they are part of the step's key."""
        return ()

    def program(self, flow: Flow) -> None:
        """Relate all documents in rounds, ending with `flow.settle`; by default, one round through `relate`."""
        one_round(self, flow)

    def related_rows(self, site: Site) -> pa.Table:
        """`row`, `doc_id` and the columns of `reads()`, of the rows of a shard where none of them is null."""
        rows = site.columns(*self.reads())
        masks = [pc.is_valid(rows[c]) for c in self.reads() if rows[c].null_count]
        for mask in masks[1:]:
            masks[0] = pc.and_(masks[0], mask)
        return rows.filter(masks[0]) if masks else rows


class Sink(Stage):
    """Writes kept documents, in order, into one file of an export (and the files that belong to it)."""

    suffix: ClassVar[str]
    #: Ends of the names of further files that belong to each data file.
    companions: ClassVar[tuple[str, ...]] = ()

    def parameters(self) -> dict[str, Any]:
        """Every field that changes the bytes. A field left open counts as not there, so that a new one changes no key."""
        return {name: value for name, value in super().parameters().items() if value is not None}

    def wanted(self, documents: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - most need no ids
        """Full names of the columns that are written, in order, once each.

        Args:
            documents: the columns that every export of the run can have.
            ids: the columns of token ids that the run has, one for each step of tokens.

        Raises:
            SpecError: the format needs a column that the run does not have.
        """
        return tuple(documents)

    def told(self, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG002 - most change nothing
        """What the manifest tells readers of token ids: how these are written, where not as they were measured."""
        return {}

    def check(self, schema: pa.Schema) -> None:
        """Make sure, before anything is written, that columns of this schema can be.

        Raises:
            SpecError: one cannot.
        """

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: BinaryIO) -> Counts | None:
        """Write every batch to `file`; equal rows give equal bytes, however they are cut into batches."""
        raise NotImplementedError

    def write_all(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, files: Sequence[BinaryIO]) -> Counts:
        """Write every batch to the data file, which comes first, and to its companions, in the order of `companions`.

        Returns:
            what `index` needs to know of the file; `tokens` where there are any.
        """
        return self.write(batches, schema, files[0]) or {}

    def index(self, files: Sequence[Mapping[str, Any]], schema: pa.Schema) -> dict[str, bytes]:  # noqa: ARG002 - few have one
        """Small files, by name, that the format needs beside all data files.

        Args:
            files: of each data file its `name`, `rows`, `bytes`, `sha256` and the counts that writing it gave.
            schema: what was written.
        """
        return {}


def measure(stage: RowStage, kernel: Kernel, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Run the kernel on the rows whose inputs are all present; the others get null.

    Raises:
        StageError: the kernel's answer breaks its own schema.

    """
    schema = stage.schema()
    inputs = batch.select(list(stage.reads()))
    present = _present(inputs)
    rows = inputs if present is None else inputs.filter(present)
    answer = kernel(rows) if rows.num_rows else {f.name: pa.array([], f.type) for f in schema}
    columns = [_checked(stage, field, answer, rows.num_rows) for field in schema]
    if set(answer) != set(schema.names):
        extra = sorted(set(answer) - set(schema.names))
        message = f"stage {stage.kind!r} gave the columns {extra}, which it does not declare; add them to its schema"
        raise StageError(message, stage=stage.kind)
    if present is not None:
        places = _places(present)
        columns = [c.take(places) for c in columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _present(inputs: pa.RecordBatch) -> pa.Array | None:
    """A mask of the rows without any null, or None when every row is complete."""
    masks = [pc.is_valid(c) for c in inputs.columns if c.null_count]
    if not masks:
        return None
    mask = masks[0]
    for other in masks[1:]:
        mask = pc.and_(mask, other)
    return mask


def _places(present: pa.Array) -> pa.Array:
    """For every row its position among the present rows, or null: [T, F, T] -> [0, null, 1]."""
    there = present.to_numpy(zero_copy_only=False)
    return pa.array(np.cumsum(there) - 1, pa.int64(), mask=~there)


def _checked(stage: RowStage, field: pa.Field, answer: Columns, rows: int) -> pa.Array:
    values = answer.get(field.name)
    if values is None:
        message = f"stage {stage.kind!r} did not give its column {field.name!r}"
        raise StageError(message, stage=stage.kind, column=field.name)
    if values.type != field.type or len(values) != rows:
        message = (
            f"stage {stage.kind!r} gave {len(values)} values of {values.type} for {field.name!r}; "
            f"it declares {field.type} and had {rows} rows"
        )
        raise StageError(message, stage=stage.kind, column=field.name)
    if pa.types.is_floating(field.type) and pc.any(pc.is_nan(values)).as_py():
        message = f"stage {stage.kind!r} gave NaN for {field.name!r}; what is unknown must be null"
        raise StageError(message, stage=stage.kind, column=field.name)
    return values
