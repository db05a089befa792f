"""SentencePiece: each line of a text becomes its pieces with spaces between them, so that pieces are the words."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from stages.errors import DataError, SpecError

ADVICE = "run: pip install 'tamis[ngram]'"


def segmenter(path: Path) -> Callable[[pa.StringArray], pa.StringArray]:
    """The function from lines to lines of pieces.

    Raises:
        SpecError: sentencepiece is not installed.
        DataError: the file is no SentencePiece model.
    """
    try:
        import sentencepiece  # noqa: PLC0415 - only models over pieces need it
    except ImportError as error:
        raise SpecError(f"models over pieces need sentencepiece, which is not installed; {ADVICE}") from error
    if not path.is_file():
        raise SpecError(f"there is no SentencePiece model {str(path)!r}; name the .model file", path=str(path))
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{str(path)!r} is no SentencePiece model ({str(error).splitlines()[0]}); name the .model file that was trained",
            path=str(path),
        ) from error

    def segmented(texts: pa.StringArray) -> pa.StringArray:
        return pa.array([_segmented(processor.encode, text) for text in texts.to_pylist()], pa.string())

    return segmented


def _segmented(encode: Callable[..., list[list[str]]], text: str) -> str:
    """Every line as its pieces; whether the text ends in a line break stays as it was."""
    return "\n".join(" ".join(pieces) for pieces in encode(text.split("\n"), out_type=str))
