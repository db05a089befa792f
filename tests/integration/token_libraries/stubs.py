"""Stands in for torchvision, which no build fits, so that `streaming` can be imported; it reads no images here."""

import importlib.machinery
import sys
import types

import transformers.feature_extraction_utils
import transformers.tokenization_utils_base  # noqa: F401 - looks for torchvision, so before it is stood in for

NAMES = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
made = {name: types.ModuleType(name) for name in NAMES}
for name, module in made.items():
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
made["torchvision.datasets"].VisionDataset = object
made["torchvision.transforms.functional"].to_tensor = None
sys.modules |= made
