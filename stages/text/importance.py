"""How much more likely a document is in the data that is wanted than in the data at hand."""

import unicodedata
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.artifacts import PREFIX, find
from stages.base import Columns, Example, Files, Kernel, RowStage, column
from stages.chance import draw, gumbel
from stages.errors import StorageError
from stages.importance_weights import KIND, Features, log_ratios, weigh


class Importance(RowStage):
    r"""DSIR's log importance weight in nats: log p(document | target) - log p(document | raw), by hashed n-grams.

    The model is what `tamis learn importance` fitted: for each of 10,000 buckets of hashed unigrams and bigrams of
    the text in lower case (tokens `\w+|[^\w\s]+`) the log ratio of its shares in target and raw. `log_weight` is
    the sum of the ratios of all n-grams of the document, as in the paper: it is not divided by the length, so that
    long documents have weights far from 0 on either side (e**-120 to e**92 were reported, dsir#12).
    `log_weight_per_token` is divided by the tokens.

    `priority` is the `by` column plus standard Gumbel noise from hash(seed, 'importance', doc_id): taking documents by it,
    highest first, draws them without replacement with probabilities proportional to exp(weight). The noise is between
    -3.7 and 45, which decides little among sums and much among means.

    Weights are null for documents of fewer than `min_tokens` tokens, which the paper leaves out.

    Source: Xie et al. 2023, Data selection for language models via importance resampling, arXiv:2302.03169. Memory: twelve
    bytes for each n-gram of the batch. With the hash `sha256` (the authors') some forty times slower.

    Raises:
        SpecError: there is no such artifact of kind `importance`.
        StorageError: it is damaged, or of another version.
    """

    kind: Literal["importance"] = "importance"
    pinned: ClassVar = ("found", "content")
    writes: ClassVar = pa.schema(
        [
            column("log_weight", pa.float64(), "nats", better="higher", doc="of the whole document"),
            column("log_weight_per_token", pa.float64(), "nats/token", better="higher", doc="the mean"),
            column("tokens", pa.int64(), "tokens", doc="runs of word characters, and of others"),
            column("priority", pa.float64(), "nats", better="higher", doc="weight and noise; the top k are a sample"),
        ]
    )
    examples: ClassVar = (
        Example(
            {"text": "The cat sat.", "doc_id": "0" * 32},
            {"log_weight": 0.0, "log_weight_per_token": 0.0, "tokens": 4},
            {"model": "artifact:wanted", "seed": 1, "min_tokens": 1},
        ),
        Example(
            {"text": "¡İyi günler! ΑΣ 今天天气很好", "doc_id": "1" * 32},
            {"log_weight": None, "log_weight_per_token": None, "tokens": 8, "priority": None},
            {"model": "artifact:wanted", "seed": 1, "by": "log_weight_per_token"},
        ),
    )

    model: str = Field(min_length=1)
    seed: int
    min_tokens: int = Field(default=100, ge=1)
    by: Literal["log_weight", "log_weight_per_token"] = "log_weight"
    #: The artifact that the planner found, `NAME-KEY`.
    found: str | None = None
    #: Its key.
    content: str | None = None

    def parameters(self) -> dict[str, Any]:
        """What changes the numbers; the weights are an artifact."""
        fields = super().parameters()
        return {name: fields[name] for name in ("seed", "min_tokens", "by")}

    def artifacts(self) -> dict[str, str]:
        """The weights, and the version of the character tables that tokens are made by."""
        return {"unicode": unicodedata.unidata_version, **({"model": self.content} if self.content else {})}

    def reads(self) -> tuple[str, ...]:
        """The text, and the id that the noise comes from."""
        return (self.text, "doc_id")

    def located(self, files: Files) -> Self:
        """The stage with the weights that its model names now."""
        artifact = find(files, self.model, KIND)
        Features.of(artifact)
        return self.model_copy(update={"found": artifact.id, "content": artifact.key})

    def open(self) -> Kernel:
        """The kernel of weights that are all 0, for a stage that was not located in a store."""
        features = Features()
        return self._kernel(features, np.zeros(features.buckets))

    def open_in(self, files: Files) -> Kernel:
        """Read the weights (80 kB) and return the kernel."""
        if self.found is None:
            raise StorageError(
                f"the weights {self.model!r} were not located in this store; plan the run with its store"
            )
        artifact = find(files, PREFIX + self.found, KIND)
        return self._kernel(Features.of(artifact), log_ratios(files, artifact))

    def _kernel(self, features: Features, ratios: Any) -> Kernel:
        def kernel(batch: pa.RecordBatch) -> Columns:
            weights, tokens = weigh(batch[self.text], features, ratios)
            few = tokens < self.min_tokens
            means = weights / np.maximum(tokens, 1)
            chosen = weights if self.by == "log_weight" else means
            noise = gumbel(draw(self.seed, self.kind, batch["doc_id"]))
            return {
                "log_weight": pa.array(weights, mask=few),
                "log_weight_per_token": pa.array(means, mask=few),
                "tokens": pa.array(tokens),
                "priority": pa.array(chosen + noise, mask=few),
            }

        return kernel
