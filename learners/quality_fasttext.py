"""fastText classifiers, trained by the library in one thread, so that equal texts and seeds give equal bytes."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from learners.quality_settings import Settings
from stages.classifiers.fasttext_file import PREFIX
from stages.classifiers.softmax import FasttextScorer
from stages.errors import DataError, SpecError

#: A word that fastText would take for a label; and the word at which it stops to read a line.
_LABEL = re.compile(rf"(?:(?<=[ \t\v\f\r\0])|\A){PREFIX.decode()}[^ \t\v\f\r\0]*")
_END = re.compile(r"(?:(?<=[ \t\v\f\r\0])|\A)</s>(?=[ \t\v\f\r\0]|\Z)")
_SEEDS = 1 << 31


def prepared(text: str) -> str:
    """A text as one line, as DCLM has it, without words that mean something to fastText itself."""
    line = _LABEL.sub("", " ".join(text.strip().splitlines())).replace("\n", " ")
    end = _END.search(line)
    return line[: end.start()] if end else line


def fit_fasttext(table: pa.Table, labels: Sequence[str], settings: Settings, seed: int) -> FasttextScorer:
    """A classifier of the columns `text` and `label`.

    Raises:
        DataError: a label has no text with a word.
        SpecError: the training diverges, or the settings are impossible.
    """
    odd = [label for label in labels if len(label.split()) != 1 or "\0" in label]
    if odd:
        raise DataError(f"fastText's labels have no white space, and there is one {odd[0]!r}; rename it")
    with tempfile.TemporaryDirectory(prefix="tamis-quality-") as folder:
        lines, model = Path(folder) / "lines.txt", Path(folder) / "model.bin"
        filled = set()
        with lines.open("w", encoding="utf-8", newline="\n") as out:
            for text, label in zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True):
                line = prepared(text) if text is not None and label is not None else ""
                if line.strip(" \t\v\f\r\0"):
                    filled.add(label)
                    out.write(f"{PREFIX.decode()}{label} {line}\n")
        if missing := [label for label in labels if label not in filled]:
            raise DataError(f"the label {missing[0]!r} has no text with a word; give it texts, or leave it out")
        _train(lines, model, settings, seed)
        return FasttextScorer(np.frombuffer(model.read_bytes(), np.uint8))


def _train(lines: Path, model: Path, settings: Settings, seed: int) -> None:
    import fasttext  # noqa: PLC0415 - heavy, and needed where a model is trained only

    given = {name: value for name, value in settings.json().items() if name != "kind"}
    given |= {"minCount": given.pop("min_count"), "wordNgrams": given.pop("word_ngrams")}
    try:
        trained = fasttext.train_supervised(
            input=str(lines), seed=seed % _SEEDS, thread=1, verbose=0, loss="softmax", **given
        )
    except (RuntimeError, ValueError) as error:
        raise SpecError(f"fastText cannot train with these settings: {error}; try a lower --lr") from error
    trained.save_model(str(model))
