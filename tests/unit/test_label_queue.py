"""What people and files say: a queue of events that several may work on, keys at a real terminal, and labelled files."""

import gzip
import io
import os
import pty
import threading
import tty

import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.labelling.file_oracle import FileOracle, read_labels
from pipelines.labelling.human_oracle import HumanOracle, Key, Queue
from pipelines.labelling.oracle import Batch, Question
from pipelines.terminal.labelling import Keyboard
from stages.errors import DataError

TEXTS = ["A sieve.", "篩は細かい粉を通す。", "المنخل يمرر الدقيق", "🌾 \x1b[31mred\u202e"]
QUESTIONS = [Question(f"{i:032x}", f"own-{i}", text) for i, text in enumerate(TEXTS)]


def test_an_undo_takes_back_the_last_event_and_everything_stays_on_record(store):
    queue = Queue(store, "q")
    queue.label("a", "high")
    queue.label("b", "low")
    queue.undo()
    queue.skip("c")
    queue.undo()
    queue.undo()
    queue.undo()
    queue.label("d", "low")

    assert Queue(store, "q").answers() == queue.answers() == {"d": "low"}
    assert len(list(store.list("labels/people/q"))) == 8


def test_a_document_that_is_labelled_again_has_the_later_label_until_it_is_undone(store):
    queue = Queue(store, "q")
    queue.label("a", "high")
    queue.label("a", "low")
    assert queue.answers() == {"a": "low"}
    queue.undo()
    assert queue.answers() == {"a": "high"}


def test_several_people_on_one_queue_lose_no_label(store):
    def work(name: str) -> None:
        queue = Queue(store, "q")
        for i in range(15):
            queue.label(f"{name}-{i}", name)

    people = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for person in people:
        person.start()
    for person in people:
        person.join()

    assert Queue(store, "q").answers() == {f"{name}-{i}": name for name in "abc" for i in range(15)}


class Script:
    """A person who answers by script."""

    def __init__(self, *replies: str | Key) -> None:
        self.replies, self.shown = list(replies), []

    def show(self, question, labels, done, total):
        self.shown.append((question.id, done, total))
        return self.replies.pop(0)


def test_a_person_goes_back_skips_and_ends_and_is_not_asked_again(store):
    person = Script("low", Key.undo, "high", Key.skip, Key.quit)
    with pytest.raises(KeyboardInterrupt):
        HumanOracle(store, "edu", ["high", "low"], person).ask(QUESTIONS)
    assert person.shown == [("own-0", 0, 4), ("own-1", 1, 4), ("own-0", 0, 4), ("own-1", 1, 4), ("own-2", 2, 4)]

    later = Script("low", "low")
    assert HumanOracle(store, "edu", ["low", "high"], later).ask(QUESTIONS) == Batch(
        {f"{0:032x}": "high", f"{2:032x}": "low", f"{3:032x}": "low"}, {f"{1:032x}": "skipped"}
    )


def test_what_an_earlier_round_learned_from_is_not_undone(store):
    oracle = HumanOracle(store, "edu", ["high", "low"], Script("low", Key.undo, "high"))
    oracle.ask(QUESTIONS[:1])

    assert oracle.ask(QUESTIONS[1:2]).labels == {f"{1:032x}": "high"}
    assert oracle.ask(QUESTIONS[:1]).labels == {f"{0:032x}": "low"}


def test_keys_of_a_real_terminal_answer_at_once_and_text_cannot_move_the_screen():
    person, terminal = pty.openpty()
    with os.fdopen(terminal, "r+b", buffering=0) as raw, io.TextIOWrapper(raw, write_through=True) as keys:
        tty.setcbreak(keys)
        page = io.StringIO()
        keyboard = Keyboard(Console(file=page, width=80, highlight=False, markup=False, emoji=False), keys)
        os.write(person, b"x2")
        assert keyboard.show(QUESTIONS[3], ["good", "bad"], 3, 4) == "bad"
        for pressed, meant in ((b"s", Key.skip), (b"U", Key.undo), (b"q", Key.quit), (b"1", "good")):
            os.write(person, pressed)
            assert keyboard.show(QUESTIONS[1], ["good", "bad"], 1, 4) == meant
    os.close(person)

    shown = page.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "4 of 4 · own-3" in shown
    assert TEXTS[1] in shown
    assert "1 good   2 bad   s skip   u undo   q quit" in shown


def test_where_there_is_no_terminal_each_line_is_a_key_and_the_end_quits():
    keyboard = Keyboard(Console(file=io.StringIO()), io.StringIO("\nwhat\n2\n"))

    assert keyboard.show(QUESTIONS[0], ["good", "bad"], 0, 1) == "bad"
    assert keyboard.show(QUESTIONS[0], ["good", "bad"], 0, 1) is Key.quit


def test_a_file_knows_documents_by_either_id(tmp_path):
    path = tmp_path / "labels.jsonl.gz"
    lines = (
        f'{{"id": "own-0", "label": "high"}}\n\n{{"doc_id": "{1:032x}", "label": 3}}\n{{"id": 7, "label": " low "}}\n'
    )
    path.write_bytes(gzip.compress(lines.encode()))
    oracle = FileOracle(path)
    ids = pa.array([q.doc_id for q in QUESTIONS]), pa.array(["own-0", None, "7", "other"])

    assert oracle.knows(*ids).tolist() == [True, True, True, False]
    assert oracle.ask(QUESTIONS) == Batch(
        {f"{0:032x}": "high", f"{1:032x}": "3"}, {f"{2:032x}": "unknown", f"{3:032x}": "unknown"}
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no label"),
        (b"{", "line 1 of .* is not JSON"),
        (b'["a"]', "line 1 of .* needs an `id`"),
        (b'{"id": "a", "label": null}', "line 1 of .* needs an `id`"),
        (b'{"id": "a", "label": true}', "line 1 of .* needs an `id`"),
        (b'{"id": "a", "label": " "}', "line 1 of .* needs an `id`"),
        (b"\xff\xfe", "cannot be read"),
        (b"\x1f\x8bcut", "cannot be read"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, data, said):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(data)

    with pytest.raises(DataError, match=said):
        read_labels(path)
