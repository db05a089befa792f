"""What a run cost and what it takes to repeat it."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pipelines.view import RunView

_FIRST = (
    *("name", "source", "sources", "learn", "label", "measure", "keep", "select", "order", "write", "limits"),
    *("kind", "rules", "column", "one_of", "by"),
)
#: Distributions whose version can change a number or a byte.
VERSIONED = ("tamis", "pyarrow", "numpy", "numba", "ftfy", "resiliparse", "fasttext-numpy2", "ray")


def facts(view: RunView) -> dict[str, Any]:
    """`steps`: cost by step, from the ledger. `repeat`: the spec, the keys and the versions of this machine."""
    plan = view.plan.json()
    by_name = {step["name"]: step for step in plan.get("steps", [])}
    keys = {name: step["key"] for name, step in by_name.items()}
    keys |= {name: source["key"] for name, source in plan.get("sources", {}).items()}
    if "verdict" in plan:
        keys["verdict"] = plan["verdict"]["key"]
    ledger = view.ledger.get("steps", {})
    order = [*plan.get("sources", {}), *by_name]  # then the choices and the verdict
    names = sorted(ledger, key=lambda name: (order.index(name) if name in order else len(order), name))
    steps = [
        {"step": name, "kind": by_name.get(name, {}).get("kind"), "key": keys.get(name), **ledger[name]}
        for name in names
    ]
    repeat = {
        "spec": ordered(view.spec.raw),
        "text": view.text,
        "keys": [{"step": name, "key": key} for name, key in keys.items()],
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}},
    }
    return {"steps": steps, "repeat": repeat}


def ordered(value: Any, *, as_given: bool = False) -> Any:
    """The spec as people write it: the telling keys first, whatever order it was stored in; steps stay in theirs."""
    if isinstance(value, Mapping):
        telling = sorted(value, key=lambda key: (_FIRST.index(key) if key in _FIRST else len(_FIRST), key))
        return {key: ordered(value[key], as_given=key == "measure") for key in (value if as_given else telling)}
    return [ordered(part) for part in value] if isinstance(value, (list, tuple)) else value


def _version(name: str) -> str:
    return version(name)
