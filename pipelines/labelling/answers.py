"""What a language model answered, for ever: a paid answer is written before the next is asked, and is never asked twice.

    labels/answers/{oracle}/{text}.json           one answer, as it came; created once
    labels/answers/{oracle}/unanswered/{id}.json  what may have been charged although no answer came

`oracle` is a key of the model and the question, `text` one of the whole conversation. Labels are read out of the answers
as they are asked for, so another `pattern` reads the same answers anew.
"""

import threading
import uuid
from collections.abc import Mapping
from typing import Any

from pipelines.store import Store
from stages.errors import StorageError
from stages.failpoints import failpoint
from stages.fingerprint import digest

FOLDER = "labels/answers"


class Answers:
    """The answers to one question of one model in a store, and what they cost."""

    def __init__(self, store: Store, oracle: str) -> None:
        self._store, self._folder = store, f"{FOLDER}/{oracle}"

    def find(self, conversation: str) -> Mapping[str, Any] | None:
        """The answer that is known, or None."""
        found: Mapping[str, Any] | None = self._store.find_json(self._path(conversation))
        return found

    def keep(self, conversation: str, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write an answer durably, and give the one that holds: an earlier one where another process was faster.

        Raises:
            StorageError: it cannot be written; nothing more may be asked then.
        """
        try:
            self._store.create_json(self._path(conversation), answer)
        except StorageError as error:
            raise StorageError(
                f"an answer that was paid for cannot be kept: {error.message}; nothing more is asked until it can",
                **error.fields,
            ) from error
        failpoint("label.after_answer")
        found: Mapping[str, Any] = self._store.get_json(self._path(conversation))
        return found

    def charge(self, cost: float) -> None:
        """Note what may have been charged although no answer came."""
        if cost:
            self._store.create_json(f"{self._folder}/unanswered/{uuid.uuid4().hex}.json", {"cost": cost})

    def spent(self) -> float:
        """What all answers of this oracle in this store cost, over all runs."""
        return float(sum(self._store.get_json(path).get("cost", 0.0) for path in self._store.list(self._folder)))

    def _path(self, conversation: str) -> str:
        return f"{self._folder}/{digest(conversation.encode('utf-8', 'surrogatepass'))[:32]}.json"


class Purse:
    """Money that may be spent: reserved before a question is asked, settled after. Threads may share it."""

    def __init__(self, limit: float | None, spent: float) -> None:
        self.limit, self.spent = limit, spent
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, most: float) -> bool:
        """Whether `most` more can be spent without exceeding the limit; if so it is set aside."""
        with self._lock:
            if self.limit is not None and self.spent + self._reserved + most > self.limit:
                return False
            self._reserved += most
            return True

    def settle(self, most: float, cost: float) -> None:
        """Give back what was reserved, less what it cost."""
        with self._lock:
            self._reserved -= most
            self.spent += cost
