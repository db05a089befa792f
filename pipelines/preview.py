"""What a run would do, without doing it: every step with its key, what is there already, and why the rest is not."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipelines.ablation.arms import expand, parts
from pipelines.ablation.request import AblateRequest
from pipelines.commit import committed
from pipelines.engine import Engine
from pipelines.execute import Execution
from pipelines.plan import LEAVING, Plan, Step, plan
from pipelines.progress import NullWatch
from pipelines.run import freeze_all, pack_tasks
from pipelines.runs import RunFolder, list_runs
from pipelines.shards import Shard
from pipelines.spec import Spec
from pipelines.store import Store
from stages.artifacts import PREFIX, names
from stages.errors import StageError, StorageError
from trainer.evidence.attribution import design

#: Text bytes per byte of a packed input, where nothing is known yet.
EXPANSION = 3.0


def preview(spec: Spec, store_url: str, roots: Sequence[str] | None = None) -> dict[str, Any]:
    """Steps with keys, hits and misses and why; estimated seconds and bytes. Writes nothing.

    Raises:
        SpecError: the spec is wrong.
        DataError: a source matches no file.
    """
    store = _existing(store_url)
    unmade = _unmade(spec, store)
    made = plan(spec, files=None if unmade else store)
    files = freeze_all(spec, roots)
    before = _last_plan(store, spec.name) if store else None
    rates = _rates(store) if store else {}
    tasks = pack_tasks(store, made, files) if store else []
    records = [committed(task.store, task.folder, task.name) for task in tasks]
    known = [r for r in records if r is not None]
    total_packs = len(records) if store else None
    shards = [Shard.from_json(s) for r in known for s in r["shards"]]
    complete = store is not None and len(known) == len(records)
    nbytes = sum(s.bytes for s in shards) if complete else int(sum(files["size"].to_pylist()) * EXPANSION)
    steps = [_source_line(made, name, before, complete=complete) for name in sorted(spec.sources)]
    execution = Execution(store, shards, spec.limits, _no_engine, NullWatch()) if store else None
    for phase in made.phases:
        for step in phase.steps:
            hits = execution.probe(step) if execution else 0
            steps.append(_step_line(made, step.name, hits, len(shards) if complete else None, before))
    waits = any(line["misses"] for line in steps)
    if made.select is not None:
        steps.append(_chooser_line(made, made.select, before, waits=waits))
    _note_waiting(steps, spec, unmade)
    steps.append(_verdict_line(made, before, waits=waits))
    if made.order is not None:
        steps.append(_chooser_line(made, made.order, before, waits=waits))
    for line in steps:
        missing = nbytes * line["misses"] / (line["shards"] or 1)
        line["estimated_cpu_seconds"] = _estimated(missing, rates.get(line["kind"]))
    return {
        "name": spec.name,
        "files": files.num_rows,
        "input_bytes": sum(files["size"].to_pylist()),
        "text_bytes": nbytes,
        "text_bytes_exact": complete,
        "packs": {"known": len(known), "total": total_packs},
        "text": made.text,
        "steps": steps,
        "rules": len(made.policy.plain) + len(made.policy.one_of),
        "compared_with": before["run"] if before else None,
        "ablations": [_ablation_line(request, made) for request in spec.ablate],
    }


def _estimated(nbytes: float, rate: float | None) -> float | None:
    return None if rate is None else round(nbytes * rate, 3)


def _ablation_line(request: AblateRequest, made: Plan) -> dict[str, Any]:
    """What an ablation of the spec would train: its arms, and tokens of all its runs as asked for.

    Raises:
        SpecError: an arm cannot be made of the spec.
    """
    raw = made.spec.raw
    subsets = design(tuple(parts(raw)), {}, seed=request.seed) if "shapley" in request.arms else ()
    arms = [arm.name for arm in expand(request, raw, subsets)]
    trunk = 1 - request.decay if request.schedule != "cosine" else 0.0
    tokens = trunk * request.budgets[-1] + (1 - trunk) * sum(request.budgets)
    return {
        "name": request.name,
        "arms": arms,
        "budgets": list(request.budgets),
        "seeds": request.seeds,
        "runs": len(arms) * len(request.budgets) * request.seeds,
        "tokens": round(tokens * len(arms) * request.seeds),
    }


def _unmade(spec: Spec, store: Store | None) -> set[str]:
    """The artifacts, as a step names them, that the spec makes when it is run and that are not there yet."""
    made = {*spec.learn, *(request.learner for request in spec.label)}
    return {PREFIX + name for name in made.difference(names(store) if store is not None else ())}


def _note_waiting(steps: Sequence[dict[str, Any]], spec: Spec, unmade: Collection[str]) -> None:
    """Say of each step that reads an artifact which is yet to be made that this is so."""
    for line in steps:
        if (model := getattr(spec.measure.get(line["step"]), "model", None)) in unmade:
            line["why"] = [f"depends on {model}, which the spec makes when it is run"]


def _existing(url: str) -> Store | None:
    """The store, or None where there is none yet.

    Raises:
        StorageError: there is something, but it cannot be read as a store.
    """
    try:
        return Store.open(url, create=False)
    except StorageError as error:
        if error.fields.get("absent"):
            return None
        raise


def _no_engine() -> Engine:
    raise StageError("a plan must not compute; report this as a bug")


def _last_plan(store: Store, name: str) -> dict[str, Any] | None:
    """The plan of the latest run of the spec, with the run's id."""
    runs = [r["run"] for r in list_runs(store) if r["name"] == name]
    for run in reversed(runs):
        found = RunFolder(store, run).find("plan.json")
        if found is not None:
            return {**found, "run": run}
    return None


def _rates(store: Store) -> dict[str, float]:
    """CPU seconds per byte of text by kind, from the latest runs."""
    found: dict[str, float] = {}
    for entry in list_runs(store)[-20:]:
        folder = RunFolder(store, entry["run"])
        ledger, made = folder.find("ledger.json"), folder.find("plan.json")
        if ledger is None or made is None:
            continue
        kinds = {s["name"]: s["kind"] for s in made["steps"]} | dict.fromkeys(made["sources"], "source")
        for name, line in ledger["steps"].items():
            if line["bytes"]:
                found[kinds.get(name, name)] = line["cpu_seconds"] / line["bytes"]
    return found


def _source_line(made: Plan, name: str, before: Mapping[str, Any] | None, *, complete: bool) -> dict[str, Any]:
    why = [] if complete else _why_source(made, name, before)
    return {
        "step": name,
        "kind": "source",
        "key": made.source_keys[name],
        "shards": None,
        "hits": None,
        "misses": 0 if complete else 1,
        "why": why,
    }


def _why_source(made: Plan, name: str, before: Mapping[str, Any] | None) -> list[str]:
    old = before["sources"].get(name) if before else None
    if old is None:
        return ["never run"]
    changes = differences(old["identity"], made.json()["sources"][name]["identity"])
    return changes or ["files are new or have changed"]


def _step_line(made: Plan, name: str, hits: int, total: int | None, before: Mapping[str, Any] | None) -> dict[str, Any]:
    step = made.step(name)
    misses = None if total is None else total - hits
    line: dict[str, Any] = {
        "step": name,
        "kind": step.stage.kind,
        "key": step.key,
        "shards": total,
        "hits": hits,
        "misses": misses,
        "companion_of": step.companion_of,
        "why": [],
    }
    if misses == 0:
        return line
    line["why"] = _why_step(made, name, before) or _why_new(made, name, total)
    return {**line, "misses": misses if misses is not None else 1}


def _why_step(made: Plan, name: str, before: Mapping[str, Any] | None) -> list[str]:
    old = {s["name"]: s for s in before["steps"]} if before else {}
    if name not in old:
        return ["never run"] if name != LEAVING else []
    step = made.step(name)
    changes = differences(old[name]["identity"], step.stage.identity())
    if list(step.reads) != old[name]["reads"]:
        changes.append(f"reads {', '.join(step.reads)} instead of {', '.join(old[name]['reads'])}")
    changes += [f"reads {p}, which changed" for p in step.parents if p in old and old[p]["key"] != made.step(p).key]
    return changes


def _why_new(made: Plan, name: str, total: int | None) -> list[str]:
    step = made.step(name)
    if total is None:
        return [f"depends on {', '.join(made.spec.sources)}"]
    if step.corpus or not step.is_row:
        return [f"depends on {', '.join(step.corpus or step.parents or tuple(made.spec.sources))}"]
    return ["shards are new"]


def _chooser_line(made: Plan, step: Step, before: Mapping[str, Any] | None, *, waits: bool) -> dict[str, Any]:
    """The line of `select` or `order`, which follow the rules: the same key means that nothing is to be done."""
    old = {s["name"]: s for s in before["steps"]} if before else {}
    same = step.name in old and old[step.name]["key"] == step.key and not waits
    why = [] if same else _why_step(made, step.name, before) or ["depends on the rules and the steps above"]
    line = {"step": step.name, "kind": step.stage.kind, "key": step.key, "shards": None, "hits": None}
    return {**line, "misses": 0 if same else 1, "why": why}


def _verdict_line(made: Plan, before: Mapping[str, Any] | None, *, waits: bool) -> dict[str, Any]:
    same = before is not None and before["verdict"]["key"] == made.verdict_key and not waits
    why = []
    if before is None:
        why = ["never run"]
    elif before["verdict"]["key"] != made.verdict_key:
        why = ["rules or what they read have changed"]
    elif waits:
        why = ["depends on the steps above"]
    line = {"step": "verdict", "kind": "verdict", "key": made.verdict_key, "shards": None, "hits": None}
    return {**line, "misses": 0 if same else 1, "why": why}


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """What differs between two identities, one short text for each field: `window: 500 -> 200`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for name in sorted({*old, *new}):
            below = f"{place}.{name}" if place else name
            found += differences(old.get(name), new.get(name), below)
        return found
    return [] if old == new else [f"{place.removeprefix('parameters.')}: {_short(old)} -> {_short(new)}"]


def _short(value: Any, most: int = 40) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
