"""How a classifier of quality is fitted."""

from dataclasses import dataclass
from typing import Any, Literal

#: Passes over the texts: DCLM's, and as many as give this many steps where texts are few.
EPOCHS, MOST_EPOCHS, STEPS = 5, 100, 20_000
Kind = Literal["fasttext", "embedding"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a classifier is fitted. The defaults of fastText's are those of DCLM's trainer.

    `model` (of the stage `embedding`) and `inverse_l2` (scikit-learn's C) are of the kind `embedding`, the others of the
    kind `fasttext`. DCLM trains 5 epochs over 400,000 texts; `epoch` None is 5 too, but more where texts are few, up to
    100, so that there are 20,000 steps: after 5 epochs over 300 texts fastText still answers the larger class. With `word_ngrams` above 1 a model has `bucket` rows more, of 4 `dim` bytes each.
    """

    kind: Kind = "fasttext"
    lr: float = 0.1
    dim: int = 100
    ws: int = 5
    epoch: int | None = None
    min_count: int = 1
    word_ngrams: int = 1
    bucket: int = 2_000_000
    model: str = "static"
    inverse_l2: float = 10.0

    def epochs(self, texts: int) -> int:
        """Passes over the texts of the kind `fasttext`."""
        return self.epoch or max(EPOCHS, min(MOST_EPOCHS, -(-STEPS // max(texts, 1))))

    def json(self) -> dict[str, Any]:
        """The settings that matter for the kind."""
        own = ("model", "inverse_l2") if self.kind == "embedding" else _FASTTEXT
        return {name: getattr(self, name) for name in ("kind", *own)}


_FASTTEXT = ("lr", "dim", "ws", "epoch", "min_count", "word_ngrams", "bucket")
