"""The section `ablate:` of a spec: run after its export, over what the run measured."""

from pipelines.ablation.ablate import ablate
from pipelines.progress import Watch
from pipelines.run import Options
from pipelines.spec import Spec
from pipelines.store import Store
from pipelines.view import RunView


def run_ablations(spec: Spec, store: Store, run: str, options: Options, watch: Watch) -> list[str]:
    """Every ablation of a spec, in order; gives their names. What was trained before is found.

    Raises:
        SpecError: an arm cannot be made of the run, or there is no tokenizer.
        DataError: an arm or the panel is empty.
        StageError: training failed.
    """
    view = RunView.open(store, run)
    done = []
    for request in spec.ablate:
        found = ablate(view, request, options, watch)
        watch.say(f"ablation {found['ablation']}: {found['evidence']['verdict']}")
        done.append(str(found["ablation"]))
    return done
