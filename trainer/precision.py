"""Which precision a device is made for."""

import torch

from trainer.settings import Precision


def native_precision(device: torch.device) -> Precision:
    """bf16 where matrices of it are multiplied faster than those of 32 bits, else fp32.

    That is on GPUs from compute capability 8 on, and on CPUs with AMX or the bf16 instructions of AVX-512. Any other CPU
    emulates bf16: measured, a tenth of the speed of 32 bits, or less.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    can = torch.cpu.get_capabilities()
    return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") else "fp32"


def machine_precision() -> Precision:
    """That of this machine's first GPU, or of its CPU."""
    return native_precision(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
