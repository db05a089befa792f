"""The device that a process trains on, and how fast it could be."""

import torch

from trainer.settings import Precision

#: Dense bf16 tensor operations a second by words of the device's name; the first entry whose words are all in it. From
#: NVIDIA's data sheets.
PEAK_BF16 = (
    ("GH200", 989.4e12),
    ("H200", 989.4e12),
    ("H100 NVL", 835.5e12),
    ("H100 PCIe", 756.0e12),
    ("H100", 989.4e12),
    ("B200", 2250e12),
    ("A100", 312e12),
    ("A10", 125e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("RTX 4090", 165.2e12),
    ("RTX 3090", 71e12),
)


def peak_flops(name: str) -> float | None:
    """Peak floating-point operations a second of one device in bf16 with 32-bit sums; None for a device not known."""
    words = set(name.replace("-", " ").split())
    return next((peak for part, peak in PEAK_BF16 if words.issuperset(part.split())), None)


def device(rank: int) -> torch.device:
    """The GPU of a process's number on this machine, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", rank % torch.cuda.device_count())
    return torch.device("cpu")


def name(device: torch.device) -> str:
    """What the device calls itself: `NVIDIA H100 80GB HBM3`, `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def fast_precision(device: torch.device) -> Precision:
    """The precision in which this device trains fastest: bf16 where it computes in it, else fp32.

    A CPU without such instructions emulates bf16, many times slower than fp32. Runs that are compared need one precision, so
    this is to be asked once, where they are planned.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    try:
        computes = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001  # torch has no public way to ask
    except AttributeError:  # torch was built without oneDNN
        computes = False
    return "bf16" if computes else "fp32"
