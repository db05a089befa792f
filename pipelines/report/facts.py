"""What a run cost and what it takes to repeat it."""

import platform
from importlib.metadata import version
from typing import Any

from pipelines.view import RunView

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
    steps = [
        {"step": name, "kind": by_name.get(name, {}).get("kind"), "key": keys.get(name), **line}
        for name, line in ledger.items()
    ]
    repeat = {
        "spec": dict(view.spec.raw),
        "text": view.text,
        "keys": [{"step": name, "key": key} for name, key in keys.items()],
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}},
    }
    return {"steps": steps, "repeat": repeat}


def _version(name: str) -> str:
    return version(name)
