"""Passages of evaluation sets in the documents that a model would be trained on."""

import unicodedata
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.base import Columns, Example, Files, Kernel, RowStage, column
from stages.errors import SpecError
from stages.evaluation_sets import EvaluationSet
from stages.fingerprint import digest
from stages.text.minhash import Minhash

#: How words are read: as `minhash` reads them by default.
_WORDS = Minhash()
_CANARY = {"canary": {"texts": ["No one shall find this line of eleven words in training data, ever."]}}
_SHORT = {"short": {"texts": ["今天天气很好啊", "one two three four"]}}


class Decontaminate(RowStage):
    """Occurrences of n-grams of evaluation sets in a document, and the share of the document's n-grams that they are.

    `sets` names files of items (JSON lines or Parquet with their `fields` of text, or plain text with blank lines between
    items) or holds `texts`. What is looked for are the `ngram` words in a row of every item; items of fewer words are looked
    for whole, where they have at least `min_words`, and shorter ones not at all. Words are those of `minhash` (letters
    and digits in lower case; an ideograph is a word), so that layout, case and punctuation hide nothing. Hashes
    only point: words are compared, so that there is no false hit.

    `hits` counts places of the document where an n-gram or a whole short item begins, so a sentence of n + 2 words from a set
    is three hits. `overlap_fraction` is the share of the document's n-grams, by place, that occur in a set; short items do not
    count in it. It is null for documents of fewer than `ngram` words. `set`, `ngram` and `offset_bytes` are those of the
    first hit (at one place the longest); where several sets hold it, of the first of these by name. Paraphrases and translations
    are not found, nor a document that holds less than n words of an item in a row.

    A set's content is part of the step's identity, its path is not. Files must be local ones.

    Sources: 13-grams: Brown et al. 2020, arXiv:2005.14165, appendix C. Memory: the sets, at about 60 bytes a word.

    Raises:
        SpecError: a set is missing, has no text in its fields, or no item that is long enough.
        DataError: a set's file is damaged.
    """

    kind: Literal["decontaminate"] = "decontaminate"
    pinned: ClassVar = ("hashes",)
    writes: ClassVar = pa.schema(
        [
            column("hits", pa.int64(), "n-grams", better="lower", doc="places where a passage of a set begins"),
            column("overlap_fraction", pa.float64(), "1", better="lower", doc="share of its n-grams that a set holds"),
            column("set", pa.string(), "name", doc="of the first hit"),
            column("ngram", pa.string(), "text", doc="words of the first hit, in lower case, joined by spaces"),
            column("offset_bytes", pa.int64(), "bytes", doc="where the first hit begins in the text's UTF-8"),
        ]
    )
    examples: ClassVar = (
        Example(
            "Look: no one shall find THIS line of eleven words, in training data – ever!",
            {"hits": 1, "overlap_fraction": 0.5, "set": "canary", "offset_bytes": 6},
            {"sets": _CANARY},
        ),
        Example(
            "今天，天气很好啊！",
            {"hits": 1, "overlap_fraction": None, "set": "short", "ngram": "今 天 天 气 很 好 啊", "offset_bytes": 0},
            {"sets": _SHORT, "min_words": 4},
        ),
        Example(
            "no one shall find this",
            {"hits": 0, "overlap_fraction": None, "set": None, "ngram": None, "offset_bytes": None},
            {"sets": _CANARY},
        ),
    )

    sets: dict[str, EvaluationSet] = Field(min_length=1)
    ngram: int = Field(default=13, ge=1, le=256)
    min_words: int = Field(default=8, ge=1)
    #: SHA-256 of each set's file, as the planner found it.
    hashes: dict[str, str] | None = None

    def parameters(self) -> dict[str, Any]:
        """What changes the numbers; the content of files is an artifact."""
        sets = {n: {"fields": list(s.fields)} if s.path else {"texts": list(s.texts)} for n, s in self.sets.items()}
        return {"sets": sets, "ngram": self.ngram, "min_words": self.min_words}

    def artifacts(self) -> dict[str, str]:
        """SHA-256 of each set's file, and the version of the character tables that words are made by."""
        found = self.hashes
        if found is None:
            found = {name: digest(s.content(name)) for name, s in self.sets.items() if s.path}
        return {"unicode": unicodedata.unidata_version, **{f"set:{name}": sha256 for name, sha256 in found.items()}}

    def located(self, files: Files) -> Self:
        """The stage with the content of its sets fixed, and their paths made absolute for workers elsewhere."""
        del files  # sets are no part of the store
        hashes, sets = {}, {}
        for name, one in self.sets.items():
            self._items(name)
            sets[name] = one
            if one.path:
                hashes[name] = digest(one.content(name))
                sets[name] = one.model_copy(update={"path": str(Path(one.path).absolute())})
        return self.model_copy(update={"hashes": hashes, "sets": sets})

    def open(self) -> Kernel:
        """Read the sets and return the kernel."""
        from stages.kernels.passages import find, passages  # noqa: PLC0415 - numba is slow to import

        names, hashes = sorted(self.sets), self.hashes or {}
        items = [self._items(name, hashes.get(name)) for name in names]
        sought = passages(items, self.ngram, self.min_words, _WORDS)

        def kernel(batch: pa.RecordBatch) -> Columns:
            found = find(batch[self.text], sought, _WORDS)
            clean = found.first < 0
            first = [None if e < 0 else e for e in found.first.tolist()]
            short = found.ngrams == 0
            return {
                "hits": pa.array(found.hits),
                "overlap_fraction": pa.array(found.shared / np.maximum(found.ngrams, 1), mask=short),
                "set": pa.array([None if e is None else names[sought.sets[e]] for e in first], pa.string()),
                "ngram": pa.array([None if e is None else sought.text(e) for e in first], pa.string()),
                "offset_bytes": pa.array(found.place, mask=clean),
            }

        return kernel

    def _items(self, name: str, expected: str | None = None) -> list[str]:
        """The items of a set, one of which at least can be found."""
        from stages.kernels.sketch_sha1 import words  # noqa: PLC0415 - the one reader of words that needs no numba

        least = min(self.min_words, self.ngram)
        items = self.sets[name].items(name, expected)
        if not any(sum(1 for _ in islice(words(text, _WORDS), least)) == least for text in items):
            raise SpecError(
                f"no item of the evaluation set {name!r} has {least} words, so nothing could be found; lower `min_words` "
                "or name other fields",
                set=name,
            )
        return items
