"""What a training run is made of, as data: the decoder, the optimizer, the schedule. Nothing here needs torch.

The dial (`trainer/dial.py`) fills these from one number, the parameter count; everything may be said by hand too.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positions = Literal["rope", "alibi", "none"]
Precision = Literal["fp32", "bf16"]
Parallel = Literal["ddp", "fsdp"]


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
    never decayed, has 0. A linear decay from the warm-up on is `wsd` with `decay_steps` = `steps` - `warmup_steps`.
    """

    kind: Literal["wsd", "cosine", "constant"] = "wsd"
    steps: int = Field(ge=1)
    warmup_steps: int = Field(default=0, ge=0)
    decay_steps: int = Field(default=0, ge=0)
    final_fraction: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "wsd" and self.decay_steps:
            raise ValueError(f"decay_steps is of the schedule wsd alone; {self.kind} has none")
        if self.warmup_steps + self.decay_steps > self.steps:
            raise ValueError(
                f"{self.warmup_steps} steps of warm-up and {self.decay_steps} of decay are more than {self.steps} steps"
            )
        return self


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


class Guards(_Settings):
    """What happens to a step that went wrong. Everything that a guard did is counted and reported.

    non_finite: a step whose loss or gradient is NaN or infinite is left out (`skip`) or ends the run (`stop`).
    spike: a step whose loss is over `spike_deviations` running standard deviations above the running mean is counted,
    left out, or ends the run. most_skipped: more steps in a row left out end the run. rise_nats: a smoothed loss so
    far above its own lowest ends the run (None: never); a curriculum moves it by tenths.
    """

    non_finite: Literal["skip", "stop"] = "skip"
    spike: Literal["count", "skip", "stop"] = "count"
    spike_deviations: float = Field(default=8.0, gt=0)
    most_skipped: int = Field(default=10, ge=0)
    rise_nats: float | None = Field(default=2.0, gt=0)


class Averaging(_Settings):
    """Averaged weights as a second end product: of a moving average, or of the last `count` weights, `every` steps apart.

    `ema` has weight `decay` on what was averaged before, at every step, with the bias of its beginning corrected;
    `last` is the plain mean of the weights after steps S, S - every, ..., S - (count - 1) every of S steps.
    """

    kind: Literal["ema", "last"]
    decay: float = Field(default=0.999, gt=0, lt=1)
    count: int = Field(default=5, ge=1)
    every: int = Field(default=1, ge=1)


class TrainSettings(_Settings):
    """One training run. `batch_sequences` is the global batch: what one optimizer step sees, in every world size.

    Checkpoints are written every `checkpoint_every` steps, and after each `checkpoint_seconds` of training; when they are
    written changes no result. The last two stay, those after `keep_steps`, and the one at the end.
    """

    schedule: Schedule
    optimizer: OptimizerSettings
    batch_sequences: int = Field(ge=1)
    seed: int = Field(ge=0)  # of the initialization and of the order of documents
    micro_sequences: int | None = Field(default=None, ge=1)  # sequences of one forward pass; None: all of a rank's
    precision: Precision = "bf16"
    compile: bool = False
    checkpoint_activations: bool = False
    parallel: Parallel = "ddp"  # how several processes share the work
    guards: Guards = Guards()
    averaging: Averaging | None = None
    checkpoint_every: int | None = Field(default=None, ge=1)
    checkpoint_seconds: float | None = Field(default=60.0, gt=0)
    keep_steps: tuple[int, ...] = ()  # steps whose checkpoints stay: where branches begin
    log_every: int = Field(default=10, ge=1)
    tensorboard: bool = False  # also write event files; the log in JSON lines is always written
