"""What a training run is made of, as data: the decoder, the optimizer, the schedule. Nothing here needs torch.

The dial (`trainer/dial.py`) fills these from one number, the parameter count; everything may be said by hand too.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Positions = Literal["rope", "alibi", "none"]
Precision = Literal["fp32", "bf16"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSettings(_Settings):
    """The shape of a decoder: RMSNorm, SwiGLU, grouped-query attention.

    vocabulary: token ids are 0 to vocabulary - 1; context: tokens of a training sequence; width: of the residual stream;
    heads: query heads, each of width / heads; kv_heads: key and value heads, a divisor of heads; hidden: of the SwiGLU.
    """

    vocabulary: int = Field(ge=2)
    context: int = Field(ge=2)
    layers: int = Field(ge=1)
    width: int = Field(ge=8)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    hidden: int = Field(ge=8)
    positions: Positions = "rope"
    rope_theta: float = Field(default=10_000.0, gt=1)
    tied: bool = True
    query_key_norm: bool = True
    norm_epsilon: float = Field(default=1e-5, gt=0)


class Schedule(_Settings):
    """Learning rate by step: linear warm-up, then `wsd` (stable, linear decay at the end), `cosine`, or `constant`.

    A fraction of the peak is given for each step from 0 to steps - 1. `decay_steps` is of `wsd` alone; a trunk, which is
    never decayed, has 0.
    """

    kind: Literal["wsd", "cosine", "constant"] = "wsd"
    steps: int = Field(ge=1)
    warmup_steps: int = Field(default=0, ge=0)
    decay_steps: int = Field(default=0, ge=0)
    final_fraction: float = Field(default=0.0, ge=0, le=1)


class OptimizerSettings(_Settings):
    """AdamW on everything, or Muon on the matrices of the blocks and AdamW on the rest.

    Weight decay applies to matrices alone, never to norms or embeddings.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    muon_learning_rate: float = Field(default=0.02, gt=0)
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    clip: float | None = Field(default=1.0, gt=0)


class TrainSettings(_Settings):
    """One training run. `batch_sequences` is the global batch: what one optimizer step sees, in every world size."""

    schedule: Schedule
    optimizer: OptimizerSettings
    batch_sequences: int = Field(ge=1)
    seed: int = Field(ge=0)  # of the initialization and of the order of documents
    micro_sequences: int | None = Field(default=None, ge=1)  # sequences of one forward pass; None: all of a rank's
    precision: Precision = "bf16"
    compile: bool = False
    checkpoint_activations: bool = False
    checkpoint_every: int | None = Field(default=None, ge=1)
    keep_steps: tuple[int, ...] = ()  # steps whose checkpoints stay: where branches begin
    log_every: int = Field(default=10, ge=1)
