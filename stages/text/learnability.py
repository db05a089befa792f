"""What is still to be learned from a document: what a small proxy finds hard and a good reference does not."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa

from stages.base import Column, Columns, Example, Kernel, RowStage, Stage, column
from stages.errors import SpecError
from stages.measured import number_named, unit_of


class Learnability(RowStage):
    """Excess loss in nats per token: the loss under a proxy minus the loss under a reference.

    High: the proxy, which is the model in training or a small stand-in for it, has not learned what the reference knows
    to be learnable. Near 0 or below: learned already, or noise that neither predicts.

    `proxy` and `reference` name any two columns of losses in the same unit, over the same tokens. An n-gram model fitted
    on the corpus at hand as proxy and one fitted on clean text as reference serve today; a small trained network is
    the better proxy, and its column fits here alike. Null where either loss is.

    Source: Mindermann et al. 2022, Prioritized training on points that are learnable, worth learning, and not yet learnt
    (RHO-LOSS), arXiv:2206.07137, equation 3.

    Raises:
        SpecError: the two columns are in different units, or hold no numbers.
    """

    kind: Literal["learnability"] = "learnability"
    writes: ClassVar = pa.schema(
        [column("excess_nats_per_token", pa.float64(), "nats/token", better="higher", doc="proxy minus reference")]
    )
    examples: ClassVar = (
        Example(
            {"proxy.nats_per_token": 5.5, "reference.nats_per_token": 4.25},
            {"excess_nats_per_token": 1.25},
            {"proxy": "proxy.nats_per_token", "reference": "reference.nats_per_token"},
        ),
        Example(
            {"proxy.nats_per_token": None, "reference.nats_per_token": 4.25},
            {"excess_nats_per_token": None},
            {"proxy": "proxy.nats_per_token", "reference": "reference.nats_per_token"},
        ),
    )

    proxy: Column
    reference: Column

    def reads(self) -> tuple[str, ...]:
        """The two losses."""
        return tuple(dict.fromkeys((self.proxy, self.reference)))

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The same, once both columns are known to be losses of one unit."""
        units = [unit_of(number_named(self.kind, name, steps)) for name in (self.proxy, self.reference)]
        if None not in units and units[0] != units[1]:
            raise SpecError(
                f"learnability subtracts {self.reference!r} in {units[1]} from {self.proxy!r} in {units[0]}; "
                "name two losses in the same unit",
                proxy=self.proxy,
                reference=self.reference,
            )
        return self

    def open(self) -> Kernel:
        """Nothing to load."""

        def kernel(batch: pa.RecordBatch) -> Columns:
            losses = (batch[name].cast(pa.float64()).to_numpy() for name in (self.proxy, self.reference))
            with np.errstate(invalid="ignore"):
                excess = np.subtract(*losses)
            return {"excess_nats_per_token": pa.array(excess, mask=~np.isfinite(excess))}

        return kernel
