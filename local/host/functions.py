"""Functions of the app as the host sees them: a trigger and its settings.

Invariant: a `Function` that left `resolved` holds no `%SETTING%` placeholder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

_PLACEHOLDER = re.compile(r"%([^%]+)%")


class FunctionError(Exception):
    """This function cannot be served; the host goes on with the others."""


@dataclass(frozen=True)
class Trigger:
    """What starts a function: `kind` is httpTrigger, timerTrigger or queueTrigger, `name` its parameter."""

    kind: str
    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A function with one trigger."""

    id: str
    name: str
    trigger: Trigger

    @classmethod
    def from_bindings(cls, function_id: str, name: str, bindings: list[dict[str, Any]]) -> "Function":
        """Build a function from the worker's binding texts; the validity of its trigger is `resolved`'s business."""
        triggers = [b for b in bindings if str(b["type"]).lower().endswith("trigger")]
        found = triggers[0] if triggers else {"type": "", "name": ""}
        return cls(function_id, name, Trigger(str(found["type"]), str(found["name"]), found))

    def resolved(self, settings: Mapping[str, str]) -> "Function":
        """Return it with `%SETTING%` replaced, or raise FunctionError."""
        if self.trigger.kind not in {"httpTrigger", "timerTrigger", "queueTrigger"}:
            raise FunctionError(f"the local host has no {self.trigger.kind or 'function without a trigger'}")
        values = {key: _resolve(value, settings) for key, value in self.trigger.settings.items()}
        return replace(self, trigger=replace(self.trigger, settings=values))


def _resolve(value: Any, settings: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        try:
            return settings[match[1]]
        except KeyError:
            raise FunctionError(f"'%{match[1]}%' does not resolve to a value") from None

    return _PLACEHOLDER.sub(look_up, value)
