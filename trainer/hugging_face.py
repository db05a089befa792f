"""A causal language model of `transformers` behind the interface of our decoder: packed documents that do not see each other."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stages.errors import SpecError
from trainer.attention import Documents
from trainer.fused import cross_entropy

#: Attention of transformers that takes a mask of four dimensions as it is.
MASKED = ("eager", "sdpa")


class HuggingFace(nn.Module):
    """Logits and losses of packed documents from a causal language model of transformers.

    Each document is masked from the others and its positions begin at 0. Only models whose every layer mixes tokens by masked
    attention keep documents apart (not state-space layers or sliding windows of their own).
    """

    def __init__(self, model: nn.Module) -> None:
        """Wrap a model.

        Raises:
            SpecError: its attention takes no such mask.
        """
        super().__init__()
        attention = cast("Any", model).config._attn_implementation  # noqa: SLF001  # transformers has no public name for it
        if attention not in MASKED:
            raise SpecError(
                f"packed documents are kept apart by a mask, which the attention {attention!r} of this model does not take;"
                " load it with attn_implementation='sdpa'"
            )
        self.model = model
        self.attention = str(attention)

    @classmethod
    def load(cls, folder: Path) -> "HuggingFace":
        """The model in a folder that `save_pretrained` wrote; nothing is downloaded.

        Raises:
            SpecError: transformers is missing, or the folder holds no such model.
        """
        try:
            from transformers import AutoModelForCausalLM  # noqa: PLC0415 - costs seconds, and only these models need it
            from transformers.utils import logging  # noqa: PLC0415 - the same
        except ModuleNotFoundError as error:
            raise SpecError("Hugging Face models need transformers; run: pip install transformers") from error
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the terminal shows training
        try:
            model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, attn_implementation="sdpa")
        except (OSError, ValueError) as error:
            raise SpecError(f"{folder} holds no causal language model that transformers can load: {error}") from error
        return cls(model)

    @property
    def vocabulary(self) -> int:
        """How many token ids the model knows."""
        return int(cast("Any", self.model).get_input_embeddings().num_embeddings)

    def forward(self, tokens_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """Logits of the next token, [B, T, V]."""
        documents = Documents.of(starts_BT)
        return cast(
            "Tensor",
            self.model(
                input_ids=tokens_BT,
                position_ids=documents.positions_BT,
                attention_mask=self._mask(documents.starts_BT),
                use_cache=False,
            ).logits,
        )

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """The negative log-likelihood of each target in nats, [B, T], in 32 bits or more."""
        logits_BTV = self.forward(tokens_BT, starts_BT)
        return cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten()).view(targets_BT.shape)

    def _mask(self, starts_BT: Tensor) -> Tensor:
        """What each token may see, [B, 1, T, T]: booleans for SDPA, 0 and the lowest number for eager attention."""
        places = torch.arange(starts_BT.shape[1], device=starts_BT.device)
        seen = ((places[:, None] >= places) & (places >= starts_BT[..., None])).unsqueeze(1)
        if self.attention == "sdpa":
            return seen
        dtype = next(self.model.parameters()).dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
