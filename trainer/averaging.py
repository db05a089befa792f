"""Averaged weights, which under a constant learning rate do what a decay would (arXiv 2511.18903, 2405.18392)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainer.distributed import collected, shard_like
from trainer.settings import Averaging


class Average:
    """A running average of parameters."""

    def __init__(self, settings: Averaging, parameters: Mapping[str, nn.Parameter], steps: int) -> None:
        self._settings = settings
        self._parameters = parameters
        self._steps = steps
        self._mean: list[Tensor] = []
        self.taken = 0  # how many weights are in it

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Take the weights after `done` steps into the average, if they belong to it."""
        if not self._takes(done):
            return
        now = [p.detach() for p in self._parameters.values()]
        if not self._mean:
            self._mean = [torch.zeros_like(value) for value in now]
        self.taken += 1
        share = 1 - self._settings.decay if self._settings.kind == "ema" else 1 / self.taken
        torch._foreach_lerp_(self._mean, now, share)

    def state(self) -> dict[str, Tensor]:
        """The running average by parameter, as it is kept, for the first process; empty before the first weights."""
        return {name: collected(mean) for name, mean in zip(self._parameters, self._mean, strict=False)}

    def load(self, state: Mapping[str, Tensor], taken: int) -> None:
        """Take back what `state` gave."""
        self._mean = [shard_like(state[name], p.detach()) for name, p in self._parameters.items() if state]
        self.taken = taken

    def _takes(self, done: int) -> bool:
        if self._settings.kind == "ema":
            return True
        back, rest = divmod(self._steps - done, self._settings.every)
        return rest == 0 and back < self._settings.count


def first_averaged(settings: Averaging | None, steps: int) -> int | None:
    """After how many of the steps the first of the last weights is taken; None for any other average."""
    if settings is None or settings.kind == "ema":
        return None
    return max(1, steps - (settings.count - 1) * settings.every)


def corrected(state: Mapping[str, Tensor], settings: Averaging, taken: int) -> dict[str, Tensor]:
    """Averaged weights from a running average: a moving average began at zero, which is divided out."""
    if settings.kind == "last":
        return dict(state)
    share = 1 - settings.decay**taken
    return {name: mean / share for name, mean in state.items()}
