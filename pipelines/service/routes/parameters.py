"""That a parameter of a query is given once, unless its description takes several: which of two would count is not to be guessed."""

from collections import Counter
from typing import Any

from fastapi import Request

from stages.errors import SpecError


class RepeatedError(SpecError):
    """A parameter is given more often than it may be."""

    type = "request"


async def once(request: Request) -> None:
    """See whether every parameter that takes one value is given once; a dependency of every route of the API.

    Raises:
        RepeatedError: one is given more often.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in given.items():
        if times > 1 and not _takes_several(request, name):
            raise RepeatedError(
                f"the parameter {name[:100]!r} is given {times} times; give it once", parameter=name[:100]
            )


def _takes_several(request: Request, name: str) -> bool:
    route: Any = request.scope["route"]
    operation = request.app.openapi()["paths"].get(route.path_format, {}).get(request.method.lower(), {})
    schemas = [p["schema"] for p in operation.get("parameters", ()) if p["in"] == "query" and p["name"] == name]
    # a name that the description does not have is nobody's
    return not schemas or any(
        s.get("type") == "array" for schema in schemas for s in (schema, *schema.get("anyOf", ()))
    )
