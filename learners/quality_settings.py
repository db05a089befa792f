"""How a classifier of quality is fitted."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["fasttext", "embedding"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a classifier is fitted. The defaults of fastText's are those of DCLM's trainer.

    `model` (of the stage `embedding`) and `inverse_l2` (scikit-learn's C) are of the kind `embedding`, the others of the
    kind `fasttext`. With `word_ngrams` above 1 a model has `bucket` rows more, of 4 `dim` bytes each.
    """

    kind: Kind = "fasttext"
    lr: float = 0.1
    dim: int = 100
    ws: int = 5
    epoch: int = 5
    min_count: int = 1
    word_ngrams: int = 1
    bucket: int = 2_000_000
    model: str = "static"
    inverse_l2: float = 10.0

    def json(self) -> dict[str, Any]:
        """The settings that matter for the kind."""
        own = ("model", "inverse_l2") if self.kind == "embedding" else _FASTTEXT
        return {name: getattr(self, name) for name in ("kind", *own)}


_FASTTEXT = ("lr", "dim", "ws", "epoch", "min_count", "word_ngrams", "bucket")
