"""How hard a document is to read, by measures that need no model: what curricula order by."""

import importlib.metadata
import unicodedata
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.artifacts import find
from stages.base import Columns, Example, Files, Kernel, RowStage, column
from stages.errors import StorageError
from stages.frequencies import FILE, KIND, read

_COUNT, _SHARE = pa.int64(), pa.float64()
ZSTD_LEVEL = 3


class Difficulty(RowStage):
    """How compressible a document is, how varied, rare and long its words are, and how long it is; each a known measure of difficulty.

    - `compression_ratio`: bytes after zstd (level 3, one frame) over bytes before. Repetitive and predictable text is
      low. A frame takes 9 bytes, so of texts under a few hundred bytes the ratio says mostly that they are short; it
      can pass 1.
    - `mtld`: the measure of textual lexical diversity, in words: the mean length of a run of words in which the share
      of distinct ones stays at 0.72 or more, read forwards and backwards, mean of the two. Words over factors; when
      the share falls under 0.72 the factor is full and the next begins; what is left at the end counts as
      (1 - share) / (1 - 0.72) of a factor. Null below `min_words` words, where it is not stable (100: Koizumi 2012),
      and where no word is repeated.
    - `flesch`: 206.835 - 1.015 words / sentences - 84.6 syllables / words; higher is easier, English prose lies between
      0 and 100. A word is a run of Latin letters, accents aside, over an apostrophe; syllables are groups of a, e, i,
      o, u and y less silent final e and -ed, at least one; sentences are spaCy's and end at blank lines too. Made for
      English, and not known for other languages: add `where: {lang.code: en}`. Null without such words, and where more
      than half of the letters are of other scripts.
    - `mean_word_rarity`: the mean of -ln p over the words, p = (count + 1) / (all words + distinct words + 1) in
      `frequencies`, an artifact of `tamis learn frequencies`. Null where the stage is given none.
    - `words`, `bytes`: length. Words are those of `minhash`: runs of letters, digits and marks in lower case, a
      character each in scripts written without spaces.

    Sources: Zhang et al. (2506.11300) for their use in curricula; McCarthy and Jarvis (2010), doi:10.3758/BRM.42.2.381,
    for MTLD; Flesch (1948). Memory: 40 bytes for every word of the longest document.

    Raises:
        SpecError: the store has no such artifact.
    """

    kind: Literal["difficulty"] = "difficulty"
    pinned: ClassVar = ("frequencies", "found")
    requires: ClassVar = ("zstandard",)
    writes: ClassVar = pa.schema(
        [
            column("compression_ratio", _SHARE, "1", doc="compressed bytes / bytes; lower is easier"),
            column("mtld", _SHARE, "word", doc="lexical diversity; lower is easier"),
            column("flesch", _SHARE, "1", doc="reading ease of English; higher is easier"),
            column("mean_word_rarity", _SHARE, "nat/word", doc="lower is easier; null without `frequencies`"),
            column("words", _COUNT, "word"),
            column("bytes", _COUNT, "byte", doc="length in UTF-8"),
        ]
    )
    examples: ClassVar = (
        Example("", {"compression_ratio": None, "mtld": None, "flesch": None, "words": 0, "bytes": 0}),
        Example("The cat sat on the mat.", {"flesch": 206.835 - 1.015 * 6 - 84.6, "words": 6, "mean_word_rarity": None}),
        Example("of the people by the people for the people", {"mtld": 9.0}, {"min_words": 1}),
        Example("今天天气很好", {"flesch": None, "words": 6, "bytes": 18}),
    )  # fmt: skip

    frequencies: str | None = Field(default=None, pattern="^artifact:")
    min_words: int = Field(default=100, ge=1)
    #: The key of the artifact that was found, which a spec may not give.
    found: str | None = None

    def parameters(self) -> dict[str, Any]:
        """What changes the numbers; the table of frequencies is an artifact."""
        return {"min_words": self.min_words, "zstd_level": ZSTD_LEVEL}

    def artifacts(self) -> dict[str, str]:
        """Versions of the compressor and of the character tables, and the key of the table of frequencies."""
        versions = {"zstandard": importlib.metadata.version("zstandard"), "unicode": unicodedata.unidata_version}
        return versions if self.found is None else versions | {"frequencies": self.found}

    def located(self, files: Files) -> Self:
        """The stage with the key of the table that its name stands for now."""
        if self.frequencies is None:
            return self
        artifact = find(files, self.frequencies, KIND)
        return self.model_copy(update={"frequencies": f"artifact:{artifact.id}", "found": artifact.key})

    def open(self) -> Kernel:
        """The kernel without a table of frequencies."""
        return self._kernel(None)

    def open_in(self, files: Files) -> Kernel:
        """Load the table of frequencies, 16 bytes a word, and return the kernel."""
        if self.frequencies is None:
            return self._kernel(None)
        if self.found is None:
            raise StorageError(f"{self.frequencies!r} was not located in this store; plan the run with its store")
        return self._kernel(read(find(files, self.frequencies, KIND).path(files, FILE)))

    def _kernel(self, rarities: Any) -> Kernel:
        from stages.kernels.arrow import ratio  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.lexical import measure_words  # noqa: PLC0415 - the same
        from stages.kernels.readability import count_syllables  # noqa: PLC0415 - the same

        def kernel(batch: pa.RecordBatch) -> Columns:
            texts = batch[self.text]
            sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
            counts, sums = measure_words(texts, rarities)
            words = counts[:, 0]
            return {
                "compression_ratio": ratio(compressed(texts), sizes),
                "mtld": _mtld(words, sums, self.min_words),
                "flesch": _flesch(count_syllables(texts)),
                "mean_word_rarity": ratio(sums[:, 2], words * (rarities is not None)),
                "words": pa.array(words, _COUNT),
                "bytes": pa.array(sizes, _COUNT),
            }

        return kernel


def compressed(texts: pa.StringArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bytes of each text as one zstd frame without its length in the header."""
    import zstandard  # noqa: PLC0415 - the catalogue of stages is read at every start

    compress = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=False).compress
    return np.array([len(compress(text)) for text in texts.cast(pa.binary()).to_pylist()], np.int64)


def _mtld(words: Any, sums: Any, min_words: int) -> pa.Array:
    known = (words >= min_words) & (sums[:, 0] > 0) & (sums[:, 1] > 0)
    factors = np.where(known[:, None], sums[:, :2], 1.0)
    return pa.array((words / factors[:, 0] + words / factors[:, 1]) / 2, _SHARE, mask=~known)


def _flesch(counts: Any) -> pa.Array:
    sentences, words, syllables, latin, other = counts.T
    known = (words > 0) & (latin >= other)
    bottom = np.where(known, words, 1)
    ease = 206.835 - 1.015 * words / np.where(known, sentences, 1) - 84.6 * syllables / bottom
    return pa.array(ease, _SHARE, mask=~known)
