"""A causal language model of `transformers` behind the interface of our decoder: packed documents that do not see each other.

Weights are 32 bits, however they were saved: updates of an optimizer are smaller than the steps between numbers of 16 bits.
`precision` says what products are computed in.
"""

from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from stages.errors import SpecError
from trainer.attention import Documents
from trainer.fused import cross_entropy

#: Attention of transformers that takes a mask of four dimensions as it is.
MASKED = ("eager", "sdpa")
#: Settings of models whose layers, or some of them, look no further back than so many tokens.
WINDOWS = ("sliding_window", "attention_chunk_size")


class Limits(NamedTuple):
    """Vocabulary and context of a model, as our decoder's settings have them.

    context: the tokens that it was made for, or that all of its layers see, where these are fewer: masks replace its windows.
    """

    vocabulary: int
    context: int


class HuggingFace(nn.Module):
    """Logits and losses of packed documents from a causal language model of transformers.

    Each document is masked from the others and its positions begin at 0. A model that mixes tokens in another way too (by
    state-space layers or convolutions) is refused: two small documents are tried on each.
    """

    def __init__(self, model: nn.Module) -> None:
        """Wrap a model.

        Raises:
            SpecError: its attention takes no such mask, or does not keep documents apart.
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
        self.train(model.training)
        self._head_is_last = self._tried()

    @torch.no_grad()
    def _tried(self) -> bool:
        """Whether the output layer's result is the logits, once it is known that one document does not change another's.

        Raises:
            SpecError: it does, or no such documents can be read.
        """
        device, vocabulary = next(self.model.parameters()).device, self.settings.vocabulary
        tokens_BT = torch.arange(6, device=device)[None] % vocabulary
        other_BT = torch.where(tokens_BT < 3, (tokens_BT + 1) % vocabulary, tokens_BT)  # noqa: PLR2004  # the first three
        starts_BT = torch.tensor([[0, 0, 0, 3, 3, 3]], dtype=torch.int32, device=device)
        training = self.training
        self.eval()
        try:
            logits, changed = (self.forward(some, starts_BT) for some in (tokens_BT, other_BT))
            by_head = self.head(self._body(tokens_BT, starts_BT))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise SpecError(f"this model cannot read packed documents: {error}; use one of attention alone") from error
        finally:
            self.train(training)
        rounding = 32 * torch.finfo(logits.dtype).eps * float(logits.abs().max())
        if float((logits - changed)[:, 3:].abs().max()) > rounding:
            raise SpecError(
                "packed documents change each other in this model, because it mixes tokens by more than attention; "
                "use one of attention alone"
            )
        return float((logits - by_head).abs().max()) <= rounding

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
            model = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, attn_implementation="sdpa", dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise SpecError(f"{folder} holds no causal language model that transformers can load: {error}") from error
        return cls(model)

    @property
    def settings(self) -> Limits:
        """What the model can read."""
        inner = cast("Any", self.model)
        config = inner.config.get_text_config()
        windows = [getattr(config, name, None) for name in WINDOWS]
        context = min(n for n in (config.max_position_embeddings, *windows) if n is not None)
        return Limits(inner.get_input_embeddings().num_embeddings, context)

    @property
    def head(self) -> nn.Module:
        """The output layer."""
        return cast("nn.Module", cast("Any", self.model).get_output_embeddings())

    def forward(self, tokens_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """Logits of the next token, [B, T, V]."""
        return cast("Tensor", self.model(**self._inputs(tokens_BT, starts_BT)).logits)

    def hidden(self, tokens_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """What the head reads, [B, T, W].

        Raises:
            SpecError: the model changes the head's output, so that these two halves are not the whole.
        """
        if not self._head_is_last:
            raise SpecError(
                "this model changes its logits after the output layer, and is evaluated by that layer alone;"
                " use a model without"
            )
        return self._body(tokens_BT, starts_BT)

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """The negative log-likelihood of each target in nats, [B, T], in 32 bits or more."""
        logits_BTV = self.forward(tokens_BT, starts_BT)
        return cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten()).view(targets_BT.shape)

    def _body(self, tokens_BT: Tensor, starts_BT: Tensor) -> Tensor:
        inner = cast("Any", self.model)
        return cast("Tensor", inner.base_model(**self._inputs(tokens_BT, starts_BT)).last_hidden_state)

    def _inputs(self, tokens_BT: Tensor, starts_BT: Tensor) -> dict[str, Any]:
        documents = Documents.of(starts_BT)
        return {
            "input_ids": tokens_BT,
            "position_ids": documents.positions_BT,
            "attention_mask": self._mask(documents.starts_BT),
            "use_cache": False,
        }

    def _mask(self, starts_BT: Tensor) -> Tensor:
        """What each token may see, [B, 1, T, T]: booleans for SDPA, 0 and the lowest number for eager attention."""
        places = torch.arange(starts_BT.shape[1], device=starts_BT.device)
        seen = ((places[:, None] >= places) & (places >= starts_BT[..., None])).unsqueeze(1)
        if self.attention == "sdpa":
            return seen
        dtype = next(self.model.parameters()).dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
