"""Configuration of the host: host.json of the app, and app settings.

App settings are the process's environment; the settings file only adds what the environment does not have, as
`func start` does with local.settings.json. Look-up by name ignores case, as in the real host.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BODY_LIMIT = 104_857_600


@dataclass(frozen=True)
class QueueOptions:
    """host.json `extensions.queues`; times in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    visibility_timeout: float = 0
    max_dequeue_count: int = 5
    max_polling_interval: float = 60
    base64: bool = True


@dataclass(frozen=True)
class HostOptions:
    """What host.json says, where this host heeds it; times in seconds."""

    host_id: str = "local"
    route_prefix: str = "api"
    queues: QueueOptions = QueueOptions()
    listener_lock_period: float = 60
    listener_lock_polling: float = 60


def load_host_options(app_dir: Path) -> HostOptions:
    """Read host.json; a missing file means the defaults."""
    path = app_dir / "host.json"
    document: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    extensions = document.get("extensions", {})
    singleton = document.get("singleton", {})
    return HostOptions(
        route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
        queues=_queue_options(extensions.get("queues", {})),
        listener_lock_period=_seconds(singleton.get("listenerLockPeriod", "00:01:00")),
        listener_lock_polling=_seconds(singleton.get("listenerLockRecoveryPollingInterval", "00:01:00")),
    )


def load_app_settings(settings_file: Path | None) -> None:
    """Add the file's `Values` to the environment, where a setting is not there yet."""
    if settings_file is None:
        return
    for name, value in json.loads(settings_file.read_text("utf-8"))["Values"].items():
        os.environ.setdefault(name, str(value))


class AppSettings(Mapping[str, str]):
    """The environment, by names whose case does not matter."""

    def __init__(self) -> None:
        self._values = {name.lower(): value for name, value in os.environ.items()}

    def __getitem__(self, name: str) -> str:
        """Return a setting's value, or raise KeyError."""
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in lower case."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the settings."""
        return len(self._values)


def _queue_options(queues: dict[str, Any]) -> QueueOptions:
    batch_size = min(int(queues.get("batchSize", 16)), 32)
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=int(queues.get("newBatchThreshold", batch_size // 2)),
        visibility_timeout=_seconds(queues.get("visibilityTimeout", "00:00:00")),
        max_dequeue_count=int(queues.get("maxDequeueCount", 5)),
        max_polling_interval=_seconds(queues.get("maxPollingInterval", "00:01:00")),
        base64=str(queues.get("messageEncoding", "base64")).lower() == "base64",
    )


def _seconds(span: str) -> float:
    """Return the seconds of a .NET TimeSpan `hh:mm:ss[.fff]`."""
    hours, minutes, seconds = span.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
