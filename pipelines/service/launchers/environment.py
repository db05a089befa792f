"""What a driver is told through its environment, wherever it runs."""

import json

from pipelines.labelling.endpoints import VARIABLE as ENDPOINTS
from pipelines.service.observe.logs import VARIABLE as LOGS
from pipelines.service.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """The addresses that its spec may ask, and how it writes its log."""
    return {ENDPOINTS: json.dumps(settings.endpoints), LOGS: settings.logs}
