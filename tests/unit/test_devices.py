"""Peak speeds by the names that devices have."""

import time

import pytest
import torch

from trainer.devices import fast_precision, peak_flops


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", None),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", None),
        ("Tesla T4", None),
        ("cpu", None),
    ],
)
def test_a_device_has_the_peak_of_its_data_sheet_or_none(name, peak):
    assert peak_flops(name) == peak


def test_the_fast_precision_is_never_the_slower_one_by_far():
    left, right = torch.randn(512, 512), torch.randn(512, 512)
    seconds = {}
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = left.to(kind), right.to(kind)
        rounds = []
        for _ in range(5):
            began = time.process_time()
            torch.mm(a, b)
            rounds.append(time.process_time() - began)
        seconds[precision] = min(rounds)
    assert seconds[fast_precision(torch.device("cpu"))] < 2 * min(seconds.values())
