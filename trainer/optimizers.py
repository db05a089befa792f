"""AdamW on everything, or Muon on the matrices of the blocks and AdamW on the rest, behind one object.

Its state is tensors by name, so that a checkpoint does not depend on the order of parameters or on how they are sharded.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from trainer.distributed import collected, shard_like, whole
from trainer.settings import OptimizerSettings

Named = dict[str, nn.Parameter]


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a decoder: the members of its longest list of modules."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=lambda found: len(list(found)))) if lists else []


def sorted_parameters(model: nn.Module) -> tuple[Named, Named, Named]:
    """Trainable parameters by what they are: matrices of the blocks, other matrices, and the rest.

    Embeddings (a tied output layer with them), norms and biases are the rest: no weight decay applies to them.
    """
    inside = {id(p) for block in blocks(model) for p in block.parameters()}
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    hidden: Named = {}
    matrices: Named = {}
    rest: Named = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2 or id(parameter) in embeddings:  # noqa: PLR2004  # a matrix has two dimensions
            rest[name] = parameter
        else:
            (hidden if id(parameter) in inside else matrices)[name] = parameter
    return hidden, matrices, rest


class Optimizer:
    """One or two optimizers of torch that follow one schedule."""

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        hidden, matrices, rest = sorted_parameters(model)
        self._named = {**hidden, **matrices, **rest}
        if not self._named:
            raise ValueError("the model has no trainable parameters")
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []
        if settings.kind == "muon":
            self._add_muon(hidden, settings)
        else:
            matrices = {**hidden, **matrices}
        self._add_adamw(matrices, rest, settings)
        self._clip = settings.clip

    def _add_muon(self, hidden: Named, settings: OptimizerSettings) -> None:
        if not hidden:
            raise ValueError("Muon trains the matrices of a model's blocks, and this one has none")
        part = torch.optim.Muon(
            hidden.values(),
            lr=settings.muon_learning_rate,
            weight_decay=settings.weight_decay,
            momentum=settings.muon_momentum,
        )
        self._parts.append((part, settings.muon_learning_rate))

    def _add_adamw(self, matrices: Named, rest: Named, settings: OptimizerSettings) -> None:
        groups = [
            {"params": list(matrices.values()), "weight_decay": settings.weight_decay},
            {"params": list(rest.values()), "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if not groups:
            return
        part = torch.optim.AdamW(
            groups,
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            fused=True,
        )
        self._parts.append((part, settings.learning_rate))

    def norm(self) -> Tensor:
        """The Euclidean norm of the whole gradient, on the device: reading it waits for the backward pass."""
        return whole(torch.nn.utils.get_total_norm(self._gradients()))

    def step(self, fraction: float, norm: float) -> None:
        """Update the weights at a fraction of the peak learning rates; `norm` is of the gradient and is clipped."""
        if self._clip is not None and norm > self._clip:
            torch._foreach_mul_(self._gradients(), self._clip / norm)
        for part, peak in self._parts:
            for group in part.param_groups:
                group["lr"] = peak * fraction
            part.step()

    def clear(self) -> None:
        """Forget the gradients."""
        for part, _ in self._parts:
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Everything kept between steps, as `parameter/quantity`, for the first process; all must ask at once."""
        found: dict[str, Tensor] = {}
        for part, _ in self._parts:
            known = part.state
            for name, parameter in self._named.items():
                for quantity, value in known.get(parameter, {}).items():
                    found[f"{name}/{quantity}"] = collected(value)
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave, in full on every process.

        Raises:
            ValueError: it is of other parameters.

        """
        owners = {id(p): part for part, _ in self._parts for group in part.param_groups for p in group["params"]}
        for key, value in state.items():
            name, _, quantity = key.rpartition("/")
            if name not in self._named:
                raise ValueError(f"the optimizer has no parameter {name!r}")
            parameter = self._named[name]
            placed = shard_like(value, parameter) if value.ndim else value.to(parameter.device)
            owners[id(parameter)].state[parameter][quantity] = placed

    def _gradients(self) -> list[Tensor]:
        return gradients(self._named.values())


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The gradients that there are."""
    return [p.grad for p in parameters if p.grad is not None]
