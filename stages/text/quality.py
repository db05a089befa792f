"""How good a document is, by a classifier that was fitted on labelled documents."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.artifacts import PREFIX, find
from stages.base import Columns, Example, Files, Kernel, RowStage, column
from stages.classifiers.calibration import Calibration
from stages.classifiers.cutting import first_characters
from stages.classifiers.logistic import LogisticScorer, embedding_identity
from stages.classifiers.scorer import Scorer
from stages.classifiers.softmax import FasttextScorer
from stages.errors import SpecError
from stages.fingerprint import file_digest
from stages.text.embedding import Embedding

KIND = "quality"


class Quality(RowStage):
    """Calibrated probability, in [0, 1], that a document is of the high class; and its most likely class.

    `model` is `artifact:NAME`, which `tamis learn quality` makes, or the path of a fastText classifier (.bin) with a
    softmax. fastText models are read by tamis's own kernel: a text is one line as DCLM has it
    (`" ".join(text.strip().splitlines())`), a word `</s>` ends it, and p equals the library's to 1e-6, without the 1e-5
    that the library adds to each. Models of the kind `embedding` judge the beginning of a text, as the stage `embedding` does.

    `high` names the label whose probability `p_high` is, where it is not the one that the artifact names; without either
    `p_high` is null. `calibrated: false` gives the model's own probabilities; those of a .bin are never calibrated. Only
    the first `max_chars` characters are read. A text of white space alone, or without anything that the model knows, has
    no probabilities: null.

    The model's content, its calibration and its encoder are part of the step's identity, and its place is not.

    Sources: Li et al. 2024 (DCLM, arXiv:2406.11794); Penedo et al. 2024 (FineWeb-Edu, arXiv:2406.17557).

    Raises:
        SpecError: there is no such model, it is of another kind, it has no label `high`, or its encoder is not here.
        StorageError: the model's file is not the one that was committed.
    """

    kind: Literal["quality"] = "quality"
    pinned: ClassVar = ("found", "facts")
    writes: ClassVar = pa.schema(
        [
            column("p_high", pa.float64(), "1", better="higher", doc="probability of the high class"),
            column("label", pa.string(), "label", doc="the most likely class"),
            column("p", pa.float64(), "1", doc="probability of `label`"),
        ]
    )
    examples: ClassVar = (Example(" \n\t ", {"p_high": None, "label": None, "p": None}, {"model": "artifact:hq"}),)

    model: str = Field(min_length=1)
    high: str | None = None
    calibrated: bool = True
    max_chars: int = Field(default=1_000_000, ge=1)
    #: Where the model is an artifact: which one it is, as the planner found it.
    found: str | None = None
    #: What the artifact says of itself, as the planner found it.
    facts: dict[str, Any] | None = None

    def parameters(self) -> dict[str, Any]:
        """How the model is used; which one it is, its content says."""
        own = {"high": self.high, "calibrated": self.calibrated, "max_chars": self.max_chars}
        encoder = _encoder_of(self.facts)
        return own if encoder is None else own | {"embedding": encoder.parameters()}

    def artifacts(self) -> dict[str, str]:
        """The artifact's key, or the hash of the file; and the encoder's content."""
        if not self.model.startswith(PREFIX):
            return {"model": file_digest(self._file())}
        own = {} if self.found is None else {"model": self.found}
        encoder = _encoder_of(self.facts)
        return own if encoder is None else own | {f"embedding.{n}": v for n, v in encoder.artifacts().items()}

    def located(self, files: Files) -> Self:
        """The stage with the version that its artifact has now."""
        if not self.model.startswith(PREFIX):
            return self
        artifact = find(files, self.model, KIND)
        facts = dict(artifact.identity)
        _checked_high(self.high, facts["labels"], self.model)
        encoder = _encoder_of(facts)
        if encoder is not None and embedding_identity(encoder) != facts["embedding"]:
            raise SpecError(
                f"{self.model!r} was fitted with another encoder {encoder.model!r} than this machine has; "
                "install that one again, or fit the artifact again",
                artifact=self.model,
            )
        return self.model_copy(update={"found": artifact.key, "facts": facts})

    def open(self) -> Kernel:
        """The kernel of a fastText file; that of an artifact without a store has no answers."""
        if not self.model.startswith(PREFIX):
            scorer = FasttextScorer.at(self._file())
            _checked_high(self.high, scorer.labels, self.model)
            return self._kernel(scorer, Calibration(), self.high)
        FasttextScorer.warm()  # so that workers, which have the store, find the kernels compiled
        return lambda batch: {f.name: pa.nulls(batch.num_rows, f.type) for f in self.schema()}

    def open_in(self, files: Files) -> Kernel:
        """Load the model and return the kernel."""
        if not self.model.startswith(PREFIX):
            return self.open()
        made = self if self.found is not None else self.located(files)
        facts = made.facts or {}
        path = find(files, _pinned(self.model, made.found), KIND).path(files, "model")
        encoder = _encoder_of(made.facts)
        scorer: Scorer
        if encoder is None:
            scorer = FasttextScorer.at(path)
        else:
            scorer = LogisticScorer.at(path, tuple(facts["labels"]), encoder)
        map_ = Calibration.from_json(facts["calibration"]) if self.calibrated else Calibration()
        return self._kernel(scorer, map_, facts["high"])

    def _kernel(self, scorer: Scorer, map_: Calibration, own: str | None) -> Kernel:
        """The kernel; `own` is the high label that the calibration is of."""
        labels = np.array(scorer.labels, object)
        fitted = None if own is None else scorer.labels.index(own)
        high = self.high or own

        def kernel(batch: pa.RecordBatch) -> Columns:
            p_NC = map_.all(scorer.predict(first_characters(batch[self.text], self.max_chars)), fitted)
            unknown = np.isnan(p_NC).any(axis=1)
            p_NC[unknown] = 0
            best = p_NC.argmax(axis=1)
            wanted = np.zeros(len(p_NC)) if high is None else p_NC[:, scorer.labels.index(high)]
            return {
                "p_high": pa.array(wanted, pa.float64(), mask=unknown | (high is None)),
                "label": pa.array(labels[best], pa.string(), mask=unknown),
                "p": pa.array(p_NC[np.arange(len(p_NC)), best], pa.float64(), mask=unknown),
            }

        return kernel

    def _file(self) -> Path:
        path = Path(self.model)
        if not path.is_file():
            raise SpecError(
                f"{self.model!r} is neither artifact:NAME nor the path of a fastText classifier; fit one with: "
                "tamis learn quality",
                path=self.model,
            )
        return path


def _pinned(model: str, found: str | None) -> str:
    """The artifact that was found, whatever its name means by now."""
    name = model.removeprefix(PREFIX).removesuffix(f"-{found}")
    return f"{PREFIX}{name}-{found}"


def _encoder_of(facts: dict[str, Any] | None) -> Embedding | None:
    """The stage that gives the vectors, for an artifact of the kind `embedding`."""
    if facts is None or facts["kind"] != "embedding":
        return None
    own = facts["embedding"]
    return Embedding(model=own["model"], max_tokens=own["max_tokens"]).resolve({})


def _checked_high(high: str | None, labels: Any, model: str) -> None:
    if high is not None and high not in labels:
        raise SpecError(f"{model!r} has no label {high!r}; its labels are {', '.join(map(repr, labels))}", label=high)
