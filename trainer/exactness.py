"""Runs that repeat themselves bit for bit: one thread, deterministic algorithms, random numbers that depend on the step alone."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils import deterministic

_SEEDS = 1 << 63
_MEMORY: Any = deterministic  # its one attribute has no type


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Train exactly for the length of a block; what the process had set before comes back after it.

    One thread, because two collapse on a machine that does anything else, and because sums by several threads may differ.
    Tiny numbers are flushed to zero: moments that fade away would slow a CPU down by orders of magnitude.
    An operation without a deterministic form is an error. A warning would not do: with `warn_only` the backward passes of flash
    and memory-efficient attention, which have both forms, take the other one.
    """
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = _MEMORY.fill_uninitialized_memory
    flushes = _flushes()
    gpus = [device] if device.type == "cuda" else []
    try:
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        _MEMORY.fill_uninitialized_memory = False
        torch.set_flush_denormal(True)
        with torch.random.fork_rng(gpus):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        _MEMORY.fill_uninitialized_memory = fills
        torch.set_flush_denormal(flushes)


def allow_inexact(device: torch.device) -> None:
    """Let operations without a deterministic form run on a GPU, with a warning, until the block of `exact` ends.

    For models that are not ours: some of theirs have none, and a run that may not repeat its last bits is better than none.
    """
    if device.type == "cuda":
        torch.use_deterministic_algorithms(mode=True, warn_only=True)


def reseed(device: torch.device, seed: int, step: int, rank: int) -> None:
    """Seed torch's generators for a step, so that a checkpoint needs no state of theirs: dropout of adapters draws from them.

    `torch.manual_seed` would do the same, but keeps a stack trace of each call for devices that were never used.
    """
    mixed = (seed * 1_000_003 + step * 4_093 + rank) % _SEEDS
    torch.default_generator.manual_seed(mixed)
    if device.type == "cuda":
        torch.cuda.manual_seed(mixed)


def _flushes() -> bool:
    """Whether tiny numbers are flushed to zero; torch has no way to ask."""
    tiny = torch.tensor([torch.finfo(torch.float32).tiny])
    return bool((tiny / 2 == 0).item())
