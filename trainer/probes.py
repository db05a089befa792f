"""Probes from files: questions with choices, and pairs of sentences of which one is right. What a panel cannot show.

    {"prompt": "The capital of France is", "choices": [" Paris", " Rome"], "answer": 0}      one a line; or "answer": " Paris"
    {"good": "The cats sleep.", "bad": "The cats sleeps."}

Small models answer few questions right, and accuracy hides how nearly: the loss of the right answer moves long before it.
For each probe, over its items alike:

    bits_per_byte             of the right answer, given the prompt
    correct_prob              its probability
    normalized_correct_prob   its probability among the choices
    accuracy                  it is likelier than every other choice
    accuracy_per_byte         the same of the loss per byte

Source: CORRECT_PROB and its kin: DataDecide, arXiv:2504.11393. Blanks at a prompt's end are read as the beginning of each choice,
as lm-eval does, since a token holds the blank before its word; bytes of an answer count them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator

from stages.errors import DataError, SpecError
from stages.sources.decompress import Flaw, plain
from trainer.windows import Sequences

if TYPE_CHECKING:
    from trainer.evaluate import Scorer

Floats = NDArray[np.float64]
#: Gives the tokens of each text: how many (N), and the ids of all (flat).
Encode = Callable[[pa.StringArray], tuple[NDArray[np.int64], NDArray[np.uint32]]]
_MOST_BYTES = 1 << 30


class Cloze(BaseModel):
    """A prompt, what may follow it, and which of these is right: its number, or the choice itself."""

    prompt: str
    choices: tuple[str, ...] = Field(min_length=2)
    answer: int | str

    @model_validator(mode="after")
    def _has_its_answer(self) -> "Cloze":
        known = self.answer in self.choices if isinstance(self.answer, str) else 0 <= self.answer < len(self.choices)
        if not known:
            message = f"the answer {self.answer!r} is none of its {len(self.choices)} choices"
            raise ValueError(message)
        if not all(self.choices):
            message = "a choice is empty, and nothing has no probability"
            raise ValueError(message)
        return self

    @property
    def right(self) -> int:
        """The number of the right choice."""
        return self.choices.index(self.answer) if isinstance(self.answer, str) else self.answer


class Pair(BaseModel):
    """Two texts that differ in one respect, in which one of them is right."""

    good: str = Field(min_length=1)
    bad: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Probe:
    """I items, of one kind, from one file."""

    name: str
    kind: Literal["cloze", "pairs"]
    items: tuple[Cloze, ...]

    @classmethod
    def read(cls, path: str | Path) -> "Probe":
        """The probe in a file of JSON lines, compressed with gzip or zstd or not, named as the file is.

        Raises:
            DataError: the file cannot be read, has no item, holds both kinds, or a line that is none.
        """
        path = Path(path)
        name = path.name.removesuffix(".zst").removesuffix(".gz").removesuffix(".jsonl")
        try:
            data = b"".join(plain(iter((path.read_bytes(),)), _MOST_BYTES))
        except (OSError, Flaw) as error:
            raise DataError(f"the probe {str(path)!r} cannot be read: {error}; correct its path or mend it") from error
        lines = [(number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
        found = [_item(line, number, path) for number, line in lines]
        if not found:
            raise DataError(f"the probe {str(path)!r} has no item; name a file with a JSON object on each line")
        pairs = [isinstance(one, Pair) for one in found]
        if any(pairs) and not all(pairs):
            raise DataError(
                f"the probe {str(path)!r} holds pairs and questions with choices, whose figures are no common one; "
                "put them in two files"
            )
        items = tuple(
            Cloze(prompt="", choices=(one.good, one.bad), answer=0) if isinstance(one, Pair) else one for one in found
        )
        return cls(name, "pairs" if all(pairs) else "cloze", items)


def _item(line: bytes, number: int, path: Path) -> Cloze | Pair:
    try:
        record = orjson.loads(line)
        kind = Pair if isinstance(record, dict) and "good" in record else Cloze
        return kind.model_validate(record)
    except orjson.JSONDecodeError as error:
        raise DataError(f"line {number} of the probe {str(path)!r} is not JSON ({error}); mend it") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(
            f"line {number} of the probe {str(path)!r} is neither {{prompt, choices, answer}} nor {{good, bad}} ({said}); mend it"
        ) from error


@dataclass(frozen=True, slots=True)
class Answers:
    """The losses of a probe's choices. Choices of an item lie one after the other.

    nats: of each choice; bytes: of each choice; item: of which item each is; right: whether it is the right one; long: how
    many did not fit a context with their prompt, and so saw half of one at least.
    """

    probe: Probe
    nats: Floats
    bytes: Floats
    item: NDArray[np.int64]
    right: NDArray[np.bool_]
    long: int

    @property
    def bits_per_byte(self) -> Floats:
        """Of each item's right answer."""
        found: Floats = self.nats[self.right] / (np.log(2) * self.bytes[self.right])
        return found

    @property
    def correct_prob(self) -> Floats:
        """The probability of each item's right answer."""
        found: Floats = np.exp(-self.nats[self.right])
        return found

    @property
    def normalized_correct_prob(self) -> Floats:
        """The same among the choices; computed from differences, so that small probabilities do not vanish."""
        best = np.minimum.reduceat(self.nats, self._starts)
        weights = np.exp(best[self.item] - self.nats)
        found: Floats = weights[self.right] / np.add.reduceat(weights, self._starts)
        return found

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each item's right answer is likelier than every other choice; a tie is not."""
        return self._least(self.nats)

    @property
    def correct_per_byte(self) -> NDArray[np.bool_]:
        """The same of the loss per byte."""
        return self._least(self.nats / self.bytes)

    @property
    def _starts(self) -> NDArray[np.int64]:
        return np.flatnonzero(np.diff(self.item, prepend=-1))

    def _least(self, losses: Floats) -> NDArray[np.bool_]:
        others = np.where(self.right, np.inf, losses)
        less: NDArray[np.bool_] = losses[self.right] < np.minimum.reduceat(others, self._starts)
        return less

    def summary(self) -> dict[str, Any]:
        """The probe's figures, and what guessing would reach."""
        return {
            "probe": self.probe.name,
            "kind": self.probe.kind,
            "items": len(self.probe.items),
            "bits_per_byte": float(self.bits_per_byte.mean()),
            "correct_prob": float(self.correct_prob.mean()),
            "normalized_correct_prob": float(self.normalized_correct_prob.mean()),
            "accuracy": float(self.correct.mean()),
            "accuracy_per_byte": float(self.correct_per_byte.mean()),
            "chance": float(np.mean([1 / len(one.choices) for one in self.probe.items])),
            "long": self.long,
        }


def ask(scorer: "Scorer", probe: Probe, encode: Encode) -> Answers:
    """Score every choice of every item after its prompt, and after an end-of-text token."""
    prompts, choices = zip(*(split(one.prompt, choice) for one in probe.items for choice in one.choices), strict=True)
    sequences = continued(encode, prompts, choices)
    nats, _ = scorer.score(sequences)
    from trainer.evaluate import summed  # noqa: PLC0415 - torch is for those who score

    lengths = np.diff(sequences.offsets_S1)
    return Answers(
        probe,
        summed(nats, sequences.offsets_S1),
        np.array([len(choice.encode()) for choice in choices], np.float64),
        np.repeat(np.arange(len(probe.items)), [len(one.choices) for one in probe.items]),
        np.array([number == one.right for one in probe.items for number in range(len(one.choices))]),
        int((lengths > scorer.context).sum()),
    )


def split(prompt: str, choice: str) -> tuple[str, str]:
    """The two with the blanks at the prompt's end moved to the choice."""
    kept = prompt.rstrip()
    return kept, prompt[len(kept) :] + choice


def continued(encode: Encode, prompts: Sequence[str], choices: Sequence[str]) -> Sequences:
    """The tokens of each prompt and its choice, each encoded alone, of which the choice's are scored."""
    before, first = encode(pa.array(prompts, pa.string()))
    after, second = encode(pa.array(choices, pa.string()))
    offsets = np.concatenate([[0], np.cumsum(before + after)]).astype(np.int64)
    ids = np.empty(int(offsets[-1]), np.uint32)
    own = np.arange(len(ids)) - np.repeat(offsets[:-1], before + after) < np.repeat(before, before + after)
    ids[own], ids[~own] = first, second
    return Sequences(ids, offsets, before.astype(np.int64))


def ask_all(scorer: "Scorer", probes: Sequence[Probe], encode: Encode) -> dict[str, dict[str, Any]]:
    """The figures of several probes, by name.

    Raises:
        SpecError: two have the same name.
    """
    names = [probe.name for probe in probes]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"two probes are called {name!r}, so their figures could not be told apart; rename a file")
    return {probe.name: ask(scorer, probe, encode).summary() for probe in probes}
