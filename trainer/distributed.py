"""One process or many: who this process is, what all of them add up, and how a model is spread over them.

Started by `torchrun`, processes join one group (NCCL on GPUs, gloo on CPUs); anything else is a world of one.
Every world size sees the same global batch; gradients are means over it.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from trainer.devices import device
from trainer.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class World:
    """Who this process is among those that train one model."""

    rank: int
    size: int
    device: torch.device

    def sums(self, values: list[float]) -> list[float]:
        """The sums of values over all processes, the same on each."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return cast("list[float]", total.tolist())

    def agree(self, value: Any) -> Any:
        """What the first process says, on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world that `torchrun` made, for the length of a block; a group that exists is used and left."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if dist.is_initialized():
        size = dist.get_world_size()
    if size == 1:
        yield World(0, 1, device(0))
        return
    here = device(int(os.environ.get("LOCAL_RANK", "0")))
    if here.type == "cuda":
        torch.cuda.set_device(here)
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), here)
    finally:
        if mine:
            dist.destroy_process_group()


class Loss(nn.Module):
    """A language model's summed loss as a forward pass, which is what wrappers wrap."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor) -> Tensor:
        """The sum of the nats of all targets."""
        nats_BT: Tensor = cast("Any", self.model).loss(tokens_BT, targets_BT, starts_BT)
        return nats_BT.sum()


def spread(model: nn.Module, parts: list[nn.Module], settings: TrainSettings, world: World) -> nn.Module:
    """The model's `Loss`, with checkpointed activations, compiled, and spread over the world, as the settings ask.

    parts: the blocks, which activation checkpointing and FSDP2 treat one by one.
    """
    if settings.checkpoint_activations:
        for part in parts:
            part.forward = functools.partial(checkpoint, part.forward, use_reentrant=False)  # keeps names
    sharded = world.size > 1 and settings.parallel == "fsdp"
    loss = Loss(model)
    if settings.compile:
        for part in parts if sharded else [loss]:
            part.compile()
    if sharded:
        for part in parts:
            fully_shard(part)
        fully_shard(loss)
        return loss
    if world.size > 1:
        ids = [world.device] if world.device.type == "cuda" else None
        return DistributedDataParallel(loss, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True)
    return loss


@contextlib.contextmanager
def accumulating(loss: nn.Module, *, last: bool) -> Iterator[None]:
    """Exchange gradients after the last part of a batch alone."""
    if isinstance(loss, FSDPModule):
        loss.set_requires_gradient_sync(last)
        yield
    elif isinstance(loss, DistributedDataParallel) and not last:
        with loss.no_sync():
            yield
    else:
        yield


def whole(tensor: Tensor) -> Tensor:
    """The tensor in full; all processes that hold shards of it must ask at once."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def collected(tensor: Tensor) -> Tensor:
    """The tensor in full, in the first process's main memory; nothing in those of the others, which must ask too.

    Asked one after the other, no more than one tensor is in full on a device: what only fits in shards can be saved.
    """
    full = whole(tensor.detach())
    first = not dist.is_initialized() or dist.get_rank() == 0
    return full.cpu() if first else full.new_empty(0, device="cpu")


def shard_like(tensor: Tensor, example: Tensor) -> Tensor:
    """A full tensor placed like the example: on its device, and sharded where it is."""
    if isinstance(example, DTensor):
        placed = tensor.to(example.device)
        return distribute_tensor(placed, example.device_mesh, example.placements, src_data_rank=None)
    return tensor.to(example.device)
