"""How well an n-gram model foretells a document."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from stages.base import Column, Columns, Example, Files, Kernel, RowStage, Stage, column
from stages.errors import SpecError
from stages.ngrams import models as found_models
from stages.ngrams.models import Found
from stages.ngrams.normalizations import Normalization, identity
from stages.ngrams.scoring import Scores

#: Scores texts, and says which normalization it reads them with.
Scorer = Callable[[pa.StringArray], Scores]
_ONE = ""


class Perplexity(RowStage):
    """Nats per token of a document under an n-gram model: -ln p / tokens, where every sentence's end is a token too.

    `model` is `artifact:NAME`, as `tamis learn ngram` keeps it, or the path of an ARPA file or of a kenlm binary. With
    `models` there is one for each language code, chosen by the column `lang`; a document in another language, or in
    none, has null. Low is not good: repetitive text scores very low, so bound both ends.

    Texts are read as the model's were: an artifact knows its normalization and its pieces; for a path, `normalization`
    (`plain` unless said) and `pieces` (a SentencePiece model) say it. `plain` takes every line as a sentence of words
    between spaces; `document` the same with the whole document as one sentence; `ccnet` is CCNet's: lower case without
    accents, digits 0, punctuation mapped, control characters deleted, line breaks among them, in one line.

    A document without a word has null. Perplexity is e to the power of `nats_per_token`; CCNet's numbers are that, rounded.
    Numbers of different models, pieces or normalizations cannot be compared.

    Scores are kenlm's, to single precision. Source: Wenzek et al. 2020, arXiv:1911.00359; Heafield 2011 for the look-up.

    Raises:
        SpecError: there is no such model, it is for another language or normalization, or sentencepiece is missing.
        DataError: an ARPA file is cut off.
        StorageError: a file of the artifact is damaged.
    """

    kind: Literal["perplexity"] = "perplexity"
    pinned: ClassVar = ("found",)
    writes: ClassVar = pa.schema(
        [
            column("nats_per_token", pa.float64(), "nats/token", better="lower", doc="low is not always good"),
            column("tokens", pa.int64(), "tokens", doc="words or pieces, and ends of sentences"),
            column(
                "oov_fraction", pa.float64(), "1", better="lower", doc="of the words, those that the model never saw"
            ),
        ]
    )
    examples: ClassVar = (
        Example("a b", {"nats_per_token": None, "tokens": None, "oov_fraction": None}, {"model": "artifact:web-5gram"}),
        Example(
            {"text": "a b", "lang.code": "en"},
            {"nats_per_token": None, "tokens": None, "oov_fraction": None},
            {"models": {"en": "artifact:en-5gram"}},
        ),
    )

    model: str | None = Field(default=None, min_length=1)
    models: Mapping[str, str] | None = None
    lang: Column = "lang.code"
    normalization: Normalization | None = None
    pieces: str | None = None
    #: What was found in the store, by language code; filled in by the planner.
    found: Mapping[str, Found] | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.model is not None and self.models:
            raise ValueError("name either `model`, or `models` with a model for each language code")
        if self.pieces is not None and self._named() and all(map(found_models.is_artifact, self._named().values())):
            raise ValueError("an artifact has its own pieces; leave `pieces` out")
        return self

    def _named(self) -> dict[str, str]:
        """The models by language code; one for all has the code ''."""
        return {_ONE: self.model} if self.model is not None else dict(sorted((self.models or {}).items()))

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The same, if it names a model."""
        del steps
        if not self._named():
            raise SpecError(
                "perplexity names no model; write `model: artifact:NAME`, which `tamis learn ngram` makes, or `models` "
                "with one for each language code"
            )
        return self

    def parameters(self) -> dict[str, Any]:
        """Nothing: models, normalizations and pieces are artifacts."""
        return {"languages": list(self._named())} if self.models else {}

    def reads(self) -> tuple[str, ...]:
        """The text, and the language where it chooses the model."""
        return (self.text, self.lang) if self.models else (self.text,)

    def artifacts(self) -> dict[str, str]:
        """Content of the models and pieces, and versions of the normalizations."""
        hashes = {}
        for code, model in self._named().items():
            end = f".{code}" if code else ""
            if found_models.is_artifact(model):
                found = (self.found or {}).get(code)
                if found is None:
                    continue
                key, pieces, name = found.key, found.pieces, found.normalization
            else:
                key, name = found_models.content(model, "model"), self.normalization or "plain"
                pieces = None if self.pieces is None else found_models.content(self.pieces, "SentencePiece model")
            hashes["model" + end] = key
            hashes["normalizer" + end] = identity(name or "plain")
            if pieces is not None:
                hashes["tokenizer" + end] = pieces
        return hashes

    def located(self, files: Files) -> Self:
        """The stage with what the store has under the artifacts' names."""
        found = {
            code: found_models.located(files, model, self.normalization)
            for code, model in self._named().items()
            if found_models.is_artifact(model)
        }
        for code, one in found.items():
            if code and one.lang not in {None, code}:
                raise SpecError(
                    f"{self._named()[code]!r} is a model of {one.lang!r}, and `models` names it for {code!r}; "
                    "name a model of that language",
                    lang=code,
                )
        return self.model_copy(update={"found": found})

    def open(self) -> Kernel:
        """Load the models that are files; what is in no store covers nothing."""
        return self._kernel(self._at_paths())

    def open_in(self, files: Files) -> Kernel:
        """Load the models."""
        scorers = self._at_paths()
        for code, found in (self.found or {}).items():
            scorers[code] = _scorer(*found_models.opened_in(files, self._named()[code], found))
        return self._kernel(scorers)

    def _at_paths(self) -> dict[str, Scorer]:
        paths = {code: path for code, path in self._named().items() if not found_models.is_artifact(path)}
        return {
            code: _scorer(*found_models.opened_at(path, self.normalization or "plain", self.pieces))
            for code, path in paths.items()
        }

    def _kernel(self, scorers: Mapping[str, Scorer]) -> Kernel:
        def kernel(batch: pa.RecordBatch) -> Columns:
            texts = batch[self.text]
            if not self.models:
                return _columns(scorers[_ONE](texts), np.ones(len(texts), bool)) if scorers else _unknown(len(texts))
            parts = {code: pc.equal(batch[self.lang], code) for code in scorers}
            return _joined(len(texts), {c: (mask, scorers[c](texts.filter(mask))) for c, mask in parts.items()})

        return kernel


def _scorer(model: Any, reading: Any) -> Scorer:
    from stages.ngrams.scoring import score  # noqa: PLC0415 - loads numba when it is called

    read = reading.open()
    return lambda texts: score(model, read(texts))


def _joined(rows: int, parts: Mapping[str, tuple[pa.BooleanArray, Scores]]) -> Columns:
    """The scores of several models, each of its own rows."""
    covered = np.zeros(rows, bool)
    whole = Scores(np.zeros(rows), *(np.zeros(rows, np.int64) for _ in range(3)))
    for mask, scores in parts.values():
        there = mask.to_numpy(zero_copy_only=False)
        covered |= there
        for into, values in zip(whole.arrays(), scores.arrays(), strict=True):
            into[there] = values
    return _columns(whole, covered)


def _columns(scores: Scores, covered: np.ndarray[Any, np.dtype[np.bool_]]) -> Columns:
    known = covered & (scores.words > 0)
    words = np.maximum(scores.words, 1)
    return {
        "nats_per_token": pa.array(scores.nats / np.maximum(scores.tokens, 1), pa.float64(), mask=~known),
        "tokens": pa.array(scores.tokens, pa.int64(), mask=~covered),
        "oov_fraction": pa.array(scores.unknown / words, pa.float64(), mask=~known),
    }


def _unknown(rows: int) -> Columns:
    none = np.zeros(rows, bool)
    return _columns(Scores(np.zeros(rows), *(np.zeros(rows, np.int64) for _ in range(3))), none)
