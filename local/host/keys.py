"""Function, host and master keys.

The master key opens everything, a host key every function, a function key its own function. Keys are kept in a file
that only its owner reads, made with random keys when absent, so that they survive restarts.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from local.host.functions import Function


class HostKeys:
    """The keys of one app."""

    def __init__(self, master: str, host: str, functions: Mapping[str, str]) -> None:
        self._master = master
        self._host = host
        self._functions = {name.lower(): key for name, key in functions.items()}

    @classmethod
    def load_or_create(cls, path: Path, functions: Iterable[Function]) -> "HostKeys":
        """Read the keys file; whatever key is missing is made and the file rewritten."""
        stored = json.loads(path.read_text("utf-8")) if path.exists() else {}
        document = {
            "master": stored.get("master") or secrets.token_urlsafe(40),
            "host": stored.get("host") or secrets.token_urlsafe(40),
            "functions": {f.name: secrets.token_urlsafe(40) for f in functions} | stored.get("functions", {}),
        }
        if document != stored:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(document, file, indent=2)
        return cls(document["master"], document["host"], document["functions"])

    def is_master(self, presented: str | None) -> bool:
        """Tell whether this is the master key."""
        return presented is not None and _same(presented, self._master)

    def opens(self, function: Function, presented: str | None) -> bool:
        """Tell whether a caller with this key may call the function."""
        level = str(function.trigger.settings.get("authLevel") or "FUNCTION").upper()
        if level == "ANONYMOUS":
            return True
        if presented is None:
            return False
        if _same(presented, self._master):
            return True
        if level != "FUNCTION":
            return False
        own = self._functions.get(function.name.lower(), "")
        return _same(presented, self._host) or (own != "" and _same(presented, own))


def _same(presented: str, key: str) -> bool:
    return hmac.compare_digest(presented.encode(), key.encode())
