"""What a run has seen, as one rolling hash: two runs with the same hash saw the same tokens in the same order.

    ledger = DataLedger()
    ledger.update(batch)                # after each step
    ledger.state()                      # into the checkpoint, as JSON
    ledger = DataLedger.from_state(...)

After each step the hash is SHA-256 of the hash before and, for every part of a document in the global batch, its document
id (16 bytes), first token, tokens and epoch (int64, little-endian). It names no rank, row or file, so it is the same in
every world size and however the corpus was cut into shards.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from stages.errors import StorageError
from trainer.data import Batch

_ENTRY = np.dtype([("doc_id", "u1", 16), ("offset", "<i8"), ("length", "<i8"), ("epoch", "<i8")])
_BEGIN = hashlib.sha256(b"tamis data ledger 1").hexdigest()


class DataLedger:
    """The rolling hash over the batches of the steps 0 to `steps - 1`, and how many tokens these had."""

    def __init__(self) -> None:
        self.steps = 0
        self.tokens = 0
        self.digest = _BEGIN

    def update(self, batch: Batch) -> None:
        """Count the next step's batch, of any rank.

        Raises:
            ValueError: it is another step's.
        """
        if batch.step != self.steps:
            raise ValueError(
                f"the ledger holds {self.steps} steps, so the batch of step {batch.step} is not the next one"
            )
        entries = np.empty(len(batch.spans), _ENTRY)
        for name in _ENTRY.names or ():
            entries[name] = batch.spans[name]
        self.digest = hashlib.sha256(bytes.fromhex(self.digest) + entries.tobytes()).hexdigest()
        self.steps += 1
        self.tokens += int(batch.spans["length"].sum())

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; survives JSON."""
        return {"steps": self.steps, "tokens": self.tokens, "digest": self.digest}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The ledger as it was.

        Raises:
            StorageError: it is not the state of a ledger.
        """
        ledger = cls()
        try:
            ledger.steps, ledger.tokens = int(state["steps"]), int(state["tokens"])
            ledger.digest = bytes.fromhex(state["digest"]).hex()
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{state!r} is not the state of a data ledger; use another checkpoint") from error
        return ledger
