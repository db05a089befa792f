"""Keys: equal work has equal keys, and what has no canonical form is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.fingerprint import KEY_LENGTH, canonical, digest, key

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_canonical_json_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.randoms())
def test_order_of_keys_changes_nothing(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)

    assert key({name: value[name] for name in names}) == key(value)


def test_canonical_text_is_sorted_and_dense() -> None:
    assert canonical({"b": [1, 2.5, None], "a": {"é": True}}) == '{"a":{"é":true},"b":[1,2.5,null]}'


def test_a_key_is_the_beginning_of_a_digest() -> None:
    assert key([]) == digest(b"[]")[:KEY_LENGTH] == "4f53cda18c2baa0c"


def test_numbers_and_their_texts_differ() -> None:
    assert len({key(v) for v in (1, 1.0, "1", True, None, [], {}, [1])}) == 8


def test_tuples_are_lists() -> None:
    assert canonical((1, ("a",))) == canonical([1, ["a"]])


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1: "a"}, {"a", "b"}, b"bytes", object(), [[{"a": float("-inf")}]]]
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no canonical form"):
        canonical(value)
