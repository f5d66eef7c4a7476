"""Which function answers a request.

The real host's rules: functions in order of name, case ignored, and the first whose template and method match wins; a
literal segment has no precedence over a parameter; a wrong method is no match (404, never 405). Templates are those of
ASP.NET: `a/{b}`, `{b?}`, `{*b}` and the constraints `int`, `guid`, `alpha`. Matching ignores case; `%2F` stays encoded.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from local.host.functions import Function, FunctionError

_PARAMETER = re.compile(r"\{(?P<star>\*{0,2})(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\??)\}")
_CONSTRAINTS = {
    None: r"[^/]+?",
    "int": r"-?\d+",
    "alpha": r"[a-z]+",
    "guid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
_RESERVED = ("admin", "runtime")


@dataclass(frozen=True)
class Route:
    """A function's template, compiled."""

    function: Function
    template: str
    methods: frozenset[str] | None
    pattern: re.Pattern[str]

    def conflicts_with(self, other: "Route") -> bool:
        """Tell whether both have the same template and a method in common."""
        if self.template.lower() != other.template.lower():
            return False
        return self.methods is None or other.methods is None or bool(self.methods & other.methods)


class RouteTable:
    """The routes of an app, in the order in which they are tried."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: route.function.name.lower())

    def match(self, method: str, path: str) -> tuple[Function, dict[str, str]] | None:
        """Return the function for a decoded path and its route parameters."""
        for route in self._routes:
            if route.methods is not None and method not in route.methods:
                continue
            found = route.pattern.fullmatch(path)
            if found is not None:
                return route.function, {key: value for key, value in found.groupdict().items() if value is not None}
        return None


def build_route(function: Function, prefix: str, existing: Iterable[Route]) -> Route:
    """Compile a function's route, or raise FunctionError where the real host refuses it."""
    template = str(function.trigger.settings.get("route") or function.name).strip("/")
    if template.lower().startswith(_RESERVED):
        raise FunctionError("the specified route conflicts with one or more built in routes")
    methods = function.trigger.settings.get("methods")
    route = Route(
        function=function,
        template=template,
        methods=frozenset(str(method).upper() for method in methods) if methods else None,
        pattern=_compile("/".join(part for part in (prefix.strip("/"), template) if part)),
    )
    for other in existing:
        if route.conflicts_with(other):
            raise FunctionError(f"the route conflicts with the route defined by function '{other.function.name}'")
    return route


def decode_path(raw_path: str) -> str:
    """Return the path of a request target, percent-decoded but for `%2F`, without slashes around it."""
    path = raw_path.partition("?")[0].strip("/")
    if "%" not in path:
        return path
    return "%2F".join(unquote(part) for part in re.split("%2F", path, flags=re.IGNORECASE))


def _compile(template: str) -> re.Pattern[str]:
    return re.compile(
        "".join(_segment(segment, index) for index, segment in enumerate(template.split("/"))), re.IGNORECASE
    )


def _segment(segment: str, index: int) -> str:
    slash = "/" if index else ""
    whole = _PARAMETER.fullmatch(segment)
    if whole and whole["star"]:
        return f"(?:{slash}(?P<{whole['name']}>.*))?"
    if whole and whole["optional"]:
        return f"(?:{slash}{_group(whole)})?"
    pattern, end = slash, 0
    for found in _PARAMETER.finditer(segment):
        pattern += re.escape(segment[end : found.start()]) + _group(found)
        end = found.end()
    rest = segment[end:]
    if "{" in rest or "}" in rest:
        raise FunctionError(f"the route segment '{segment}' is not supported")
    return pattern + re.escape(rest)


def _group(parameter: re.Match[str]) -> str:
    if parameter["constraint"] not in _CONSTRAINTS:
        raise FunctionError(f"the route constraint '{parameter['constraint']}' is not supported")
    return f"(?P<{parameter['name']}>{_CONSTRAINTS[parameter['constraint']]})"
