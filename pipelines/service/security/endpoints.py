"""Language models that a spec may ask: only at addresses that the service was started with, looked at before anything runs."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.labelling.endpoints import must_be_allowed
from pipelines.labelling.profile import load_profile
from pipelines.spec import Spec

_MODEL = "llm:"


def check_endpoints(spec: Spec, endpoints: Sequence[str]) -> None:
    """See whether every profile that a spec names asks an allowed address.

    Raises:
        SpecError: one does not, or there is no such profile.
    """
    for request in spec.label:
        if request.oracle.startswith(_MODEL):
            name = request.oracle.removeprefix(_MODEL)
            must_be_allowed(load_profile(name, Path(spec.folder)).base_url, endpoints, name)
