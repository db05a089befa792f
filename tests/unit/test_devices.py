"""Peak speeds by the names that devices have."""

import pytest

from trainer.devices import peak_flops


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
