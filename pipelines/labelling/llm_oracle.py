"""A language model as an oracle: cached, capped, retried, and never believed when it says something else than a label."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.labelling.answers import Answers, Purse
from pipelines.labelling.chat import Chat, Reply
from pipelines.labelling.oracle import REASONS, Batch, Question, everything
from pipelines.labelling.profile import Profile
from pipelines.store import Store
from stages.errors import DataError, StorageError
from stages.fingerprint import key

#: No answer for that many documents in a row: the endpoint is down.
DOWN = 5
#: So many answers without one label among them: the prompt is wrong.
HOPELESS = 10
#: Tokens that an endpoint may add to a message for its template.
OVERHEAD_TOKENS = 32
#: A label, or the reason why there is none.
Said = tuple[str | None, str | None]
_NOT_THE_DOCUMENT = ("timeout", "unreachable", "busy")
_REFUSALS = re.compile(
    r"(i'?m sorry|i am sorry|sorry,|i can(no|')t|i can ?not|i won'?t|i'?m (not able|unable)|i am (not able|unable)|"
    r"as an ai)\b",
    re.IGNORECASE,
)


class LlmOracle:
    """Asks an OpenAI-compatible endpoint."""

    def __init__(self, profile: Profile, store: Store, *, chat: Callable[[Profile], Chat] = Chat) -> None:
        self._profile, self._make_chat = profile, chat
        self._answers = Answers(store, key(profile.asked()))
        self._purse = Purse(profile.max_spend, self._answers.spent() if profile.max_spend is not None else 0.0)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._lost_in_a_row = 0
        self._reasons: Counter[str] = Counter()
        self._paid = 0.0
        self._stop: str | None = None

    def identity(self) -> Mapping[str, Any]:
        """The model, the question and how its answers are read."""
        return {
            "kind": "llm",
            **self._profile.asked(),
            "labels": list(self._profile.labels),
            "pattern": self._profile.pattern,
        }

    def knows(self, doc_ids: pa.Array, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Every document."""
        del ids
        return everything(doc_ids)

    def ask(self, questions: Sequence[Question]) -> Batch:
        """The labels of documents: known answers first, then as many questions at a time as the profile says.

        Raises:
            SpecError: the key, the address or the model is wrong, or the secret is missing.
            DataError: none of the first answers is a label.
            StorageError: the endpoint is down, or an answer cannot be kept.
        """
        outcomes: dict[str, Said] = {}
        todo: dict[str, list[Question]] = {}  # equal texts are one question
        for question in questions:
            conversation = _conversation(self._profile, question)
            known = self._answers.find(conversation)
            if known is None:
                todo.setdefault(conversation, []).append(question)
            else:
                self._counts["known"] += 1
                outcomes[question.doc_id] = self._read(known)
        if todo:
            chat = self._make_chat(self._profile)
            try:
                said = self._ask_all(chat, [same[0] for same in todo.values()])
            finally:
                chat.close()
            for same, found in zip(todo.values(), said, strict=True):
                if found is not None:
                    outcomes |= {q.doc_id: found for q in same}
        self._check_hope(outcomes)
        labels = {d: label for d, (label, _) in outcomes.items() if label is not None}
        skipped = {d: reason for d, (_, reason) in outcomes.items() if reason is not None}
        self._reasons.update(skipped.values())
        return Batch(labels, skipped, self._stop)

    def _ask_all(self, chat: Chat, todo: Sequence[Question]) -> list[Said | None]:
        """One after the other, or in threads, each of which keeps an answer before it asks again."""
        if self._profile.concurrency == 1:
            return [self._ask_one(chat, q) for q in todo]
        with ThreadPoolExecutor(self._profile.concurrency) as threads:
            try:
                return list(threads.map(lambda q: self._ask_one(chat, q), todo))
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise

    def _ask_one(self, chat: Chat, question: Question) -> Said | None:
        """The label or the reason why there is none; None where the spending cap forbids to ask."""
        conversation = _conversation(self._profile, question)
        most = self.most(conversation)
        tries = most * (1 + self._profile.retries)
        if self._stop is not None or not self._purse.reserve(tries):
            self._stop = "spending cap"
            return None
        cost = 0.0
        try:
            reply = chat.ask(self._profile.messages(question.text))
            cost = self._kept(conversation, reply, most)
        finally:
            self._purse.settle(tries, cost)
            with self._lock:
                self._paid += cost
                self._counts["asked"] += 1
        self._check_up(reply)
        if reply.lost is not None:
            return None, reply.lost
        known = self._answers.find(conversation)
        assert known is not None, "it was kept"
        return self._read(known)

    def _kept(self, conversation: str, reply: Reply, most: float) -> float:
        """Write what came durably; gives what it cost, or may have cost."""
        uncertain = most * reply.uncertain
        self._answers.charge(uncertain)
        if reply.lost is not None:
            return uncertain
        p = self._profile
        cost = most
        if reply.input_tokens is not None and reply.output_tokens is not None:
            cost = reply.input_tokens * p.input_price + reply.output_tokens * p.output_price
        answer = {
            "content": reply.content,
            "refusal": reply.refusal,
            "input_tokens": reply.input_tokens,
            "output_tokens": reply.output_tokens,
            "cost": cost,
            "model": p.model,
        }
        self._answers.keep(conversation, answer)
        return cost + uncertain

    def most(self, conversation: str) -> float:
        """The most that one try can cost: a token is at least a byte, and no answer is longer than `max_tokens`."""
        p = self._profile
        given = len(conversation.encode("utf-8", "surrogatepass")) + 2 * OVERHEAD_TOKENS
        return given * p.input_price + p.max_tokens * p.output_price

    def _read(self, answer: Mapping[str, Any]) -> Said:
        """The label of an answer, or why it is none."""
        content = answer["content"]
        if answer["refusal"] is not None:
            return None, "refused"
        label = read_label(content or "", self._profile)
        if label is not None:
            return label, None
        return None, "refused" if _REFUSALS.match((content or "").strip()) else "nonsense"

    def _check_up(self, reply: Reply) -> None:
        """Stop where the endpoint is down: going on would skip every document.

        Raises:
            StorageError: it is.
        """
        with self._lock:
            self._lost_in_a_row = self._lost_in_a_row + 1 if reply.lost in _NOT_THE_DOCUMENT else 0
            down = self._lost_in_a_row >= DOWN
        if down:
            raise StorageError(
                f"{self._profile.base_url} did not answer for {DOWN} documents in a row, the last time because "
                f"{REASONS[str(reply.lost)]} ({reply.why}); the labels so far are kept, so run the same command when it is up"
            )

    def _check_hope(self, outcomes: Mapping[str, Said]) -> None:
        """Stop where no answer is a label: going on would only cost money.

        Raises:
            DataError: none of at least ten is.
        """
        reasons = Counter(reason for label, reason in outcomes.values() if label is None)
        if len(outcomes) >= HOPELESS and sum(reasons.values()) == len(outcomes):
            counted = ", ".join(f"{n} times {REASONS[str(r)]}" for r, n in reasons.most_common())
            raise DataError(
                f"none of {len(outcomes)} answers of {self._profile.model!r} is one of the labels "
                f"{', '.join(self._profile.labels)} ({counted}); mend the profile's prompt or pattern (the answers are kept)"
            )

    def facts(self) -> Mapping[str, Any]:
        """What was asked, known and spent."""
        return {
            "oracle": "llm",
            "model": self._profile.model,
            "asked": self._counts["asked"],
            "known": self._counts["known"],
            "spent": round(self._paid, 6),
        }


def read_label(content: str, profile: Profile) -> str | None:
    """The label that an answer is: the group of `pattern`, or the whole answer but for case, quotes and a full stop."""
    if profile.pattern is not None:
        found = re.search(profile.pattern, content)
        if found is None:
            return None
        content = found[1] or ""
    said = content.strip().strip("\"'`*.:!").strip().casefold()
    return next((label for label in profile.labels if label.casefold() == said), None)


def _conversation(profile: Profile, question: Question) -> str:
    """The whole conversation as text: what an answer is an answer to."""
    return json.dumps(profile.messages(question.text), ensure_ascii=False, sort_keys=True)
