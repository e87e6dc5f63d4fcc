"""How a request is named in the log and in metrics: by its route, never by what the client wrote into the path.

`curl -T holiday.mp4 .../v1/jobs/` puts the file's name there.
"""

import re

from starlette.types import Scope

__all__ = ["NO_ROUTE", "describe_path", "get_route_template"]

NO_ROUTE = "(none)"
_OWN_ID = re.compile(r"[0-9a-f]{32}")


def get_route_template(scope: Scope) -> str:
    """Return the path of the route that answered, such as /v1/jobs/{job_id}; of those there are few."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else NO_ROUTE


def describe_path(scope: Scope) -> str:
    """Return the same with the ids in it that the service itself gave out."""
    described = get_route_template(scope)
    for name, value in scope.get("path_params", {}).items():
        if isinstance(value, str) and _OWN_ID.fullmatch(value):
            described = described.replace(f"{{{name}}}", value)
    return described
