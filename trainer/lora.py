"""Low-rank adapters by `peft` on our decoder or on a causal model of transformers: made, trained, merged, kept in peft's format.

    model = adapt(load_model(folder), LoraSettings(rank=16), seed=1)
    nats_BT = model.loss(tokens_BT, targets_BT, starts_BT)  # only what the settings name requires gradients
    save(model, adapter)                                    # adapter_config.json, adapter_model.safetensors
    decoder = merged(load(load_model(folder), adapter))     # a plain decoder again

An adapter is a screen of arms, never a measure of pretraining efficiency: whether adapters rank corpora as full training does
is measured (`tests/benchmarks/bench_lora_agreement.py`), not known.
"""

import hashlib
import math
import warnings
from pathlib import Path
from typing import Any, cast

import peft
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from stages.errors import StorageError
from trainer.adapters import LoraSettings
from trainer.hugging_face import HuggingFace
from trainer.model import Decoder, RMSNorm

Base = Decoder | HuggingFace


class Adapted(nn.Module):
    """A model with adapters behind the interface of the model; `peft` is peft's own object around it."""

    def __init__(self, base: Base, wrapped: peft.PeftModel) -> None:
        super().__init__()
        self.peft = wrapped
        self._base = [base]  # in a list, so that its parameters are registered once, under peft's names

    @property
    def base(self) -> Base:
        """The model whose layers were wrapped, in place."""
        return self._base[0]

    def forward(self, tokens_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """Logits of the next token, [B, T, V]."""
        return self.base.forward(tokens_BT, starts_BT)

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """The negative log-likelihood of each target in nats, [B, T], in 32 bits or more."""
        return self.base.loss(tokens_BT, targets_BT, starts_BT)

    def adapter_state(self) -> dict[str, Tensor]:
        """Everything that is trained, by peft's names: what `save` writes."""
        return dict(peft.get_peft_model_state_dict(self.peft, save_embedding_layers=False))


def adapt(model: Base, settings: LoraSettings, *, seed: int) -> Adapted:
    """Wrap the model's layers in place; at first it computes what it did before, because B is zero.

    A is drawn from generators named by seed and parameter, never from torch's global one.
    """
    tied = is_tied(model)
    wrapped = peft.get_peft_model(_inner(model), _configuration(model, settings))
    for name, parameter in wrapped.named_parameters():
        if "lora_A" in name or "lora_embedding_A" in name:
            digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            drawn = torch.empty(parameter.shape)
            nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
            with torch.no_grad():
                parameter.copy_(drawn)
    if tied:
        _tie(model)
    return Adapted(model, cast("peft.PeftModel", wrapped))


def merged(model: Adapted) -> Base:
    """The model itself again, in place, with the adapters added to its weights."""
    base, tied = model.base, is_tied(model.base)
    inner = cast("Any", model.peft).merge_and_unload(safe_merge=True)
    if isinstance(base, HuggingFace):
        base.model = inner
    if tied:
        _tie(base)
    return base


def save(model: Adapted, folder: Path) -> None:
    """Write the adapters as peft does, to be loaded by peft or `load`.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        with _quiet():
            model.peft.save_pretrained(str(folder), save_embedding_layers=False)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"the adapters cannot be written to {folder}: {error}") from error


def load(model: Base, folder: Path, *, trainable: bool = False) -> Adapted:
    """Wrap the layers of a model in place with the adapters that `save`, or peft, wrote for it.

    Raises:
        StorageError: the folder holds no adapters, or those of another shape.
    """
    tied = is_tied(model)
    try:
        with _quiet():
            wrapped = peft.PeftModel.from_pretrained(_inner(model), str(folder), is_trainable=trainable)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StorageError(f"{folder} holds no adapters that fit this model: {error}") from error
    if tied:
        _tie(model)
    return Adapted(model, wrapped)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def linear_layers(model: Base) -> list[str]:
    """Names of all linear layers but the output layer."""
    _, head = ends(model)
    return [name for name, part in _inner(model).named_modules() if isinstance(part, nn.Linear) and part is not head]


def is_tied(model: Base) -> bool:
    """Whether the output layer has the weights of the embedding."""
    embedding, head = ends(model)
    return head.weight is embedding.weight


def _tie(model: Base) -> None:
    """Give the output layer the embedding's weights, also where peft made a trained copy of each."""
    embedding, head = (getattr(part, "modules_to_save", {"default": part})["default"] for part in ends(model))
    head.weight = embedding.weight


def ends(model: Base) -> tuple[Any, Any]:
    """The embedding and the output layer."""
    if isinstance(model, Decoder):
        return model.embedding, model.head
    inner = cast("Any", model.model)
    return inner.get_input_embeddings(), inner.get_output_embeddings()


def _inner(model: Base) -> nn.Module:
    return model if isinstance(model, Decoder) else model.model


def _configuration(model: Base, settings: LoraSettings) -> peft.LoraConfig:
    trained = []
    embedding, head = ends(model)
    tied = is_tied(model) and settings.embeddings
    kept = (embedding, head) if tied and isinstance(model, Decoder) else (embedding,)
    for name, part in _inner(model).named_modules():
        is_norm = isinstance(part, RMSNorm) or type(part).__name__.endswith(("RMSNorm", "LayerNorm"))
        if (settings.norms and is_norm) or (settings.embeddings and part in kept):
            trained.append(name)
    return peft.LoraConfig(
        r=settings.rank,
        lora_alpha=cast("int", settings.alpha),
        lora_dropout=settings.dropout,
        use_rslora=settings.kind == "rslora",
        use_dora=settings.kind == "dora",
        target_modules=linear_layers(model),
        modules_to_save=trained or None,
        ensure_weight_tying=tied and isinstance(model, HuggingFace),  # peft finds the output layer of these by itself
    )


def _quiet() -> warnings.catch_warnings:
    """Peft warns that it cannot ask the hub about the base model's vocabulary; ours has no hub."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
