"""What an adapter is, as data. Nothing here needs torch or peft."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LoraSettings(BaseModel):
    """Low-rank adapters of every linear layer but the output layer (LoRA arXiv:2106.09685).

    kind: `lora` scales by alpha / rank, `rslora` by alpha / sqrt(rank) (arXiv:2312.03732), `dora` also trains the length of
    each weight row (arXiv:2402.09353; about twice the time a step). norms, embeddings: trained in full beside the adapters;
    a tied output layer follows its embedding. The learning rate wants to be about ten times that of full training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["lora", "rslora", "dora"] = "lora"
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    norms: bool = False
    embeddings: bool = False
