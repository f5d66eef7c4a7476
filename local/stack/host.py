"""The Functions host as a part of the stack, and what its admin routes offer to tests."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp

from local.stack.health import answers
from local.stack.part import Launcher, Part, StackError

_START_SECONDS = 60


@dataclass(frozen=True)
class HostOptions:
    """How the host runs its app.

    Port 0 is any free port. Without `auth_platform` the host does not play App Service Authentication. `message_lock`
    is the time in seconds after which a message comes back that a host took and then crashed; the platform's is 600.
    """

    app_dir: Path
    port: int = 0
    auth_platform: bool = True
    message_lock: int = 5


class HostPart:
    """A host that runs."""

    def __init__(self, part: Part, url: str, keys_file: Path) -> None:
        self.part = part
        self.url = url
        self._keys_file = keys_file

    @property
    def master_key(self) -> str:
        """The key of the admin routes."""
        return str(json.loads(self._keys_file.read_text("utf-8"))["master"])

    async def status(self) -> dict[str, Any]:
        """Return the functions served, those in error with the reason, and the count of the app's outgoing calls."""
        return dict(await self._admin("GET", "host/status"))

    async def move_clock(self, offset_seconds: float) -> None:
        """Let the product's clock run this far from real time."""
        await self._admin("PUT", "host/clock", {"offset_seconds": offset_seconds})

    async def crash_at(self, calls_from_now: int, moment: Literal["before", "after"] = "before") -> None:
        """Let the process die at the app's nth outgoing call from now (1 is the next)."""
        await self._admin("PUT", "host/crash", {"after_calls": calls_from_now, "moment": moment})

    async def run_function(self, name: str, text: str = "") -> None:
        """Run a timer or queue function now, a queue function on `text`; does not wait for its end."""
        await self._admin("POST", f"functions/{name}", {"input": text})

    async def _admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        headers = {"x-functions-key": self.master_key}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}/admin/{path}", json=body, headers=headers) as response,
        ):
            if not response.ok:
                raise StackError(f"the host answered {response.status} to {method} /admin/{path}")
            return await response.json() if response.content_type == "application/json" else None


async def start_host(
    launcher: Launcher,
    options: HostOptions,
    data_dir: Path,
    *,
    settings: Mapping[str, str],
    authentication: Sequence[str],
) -> HostPart:
    """Start it and wait until it serves; `authentication` are its arguments for App Service Authentication."""
    keys_file, ready_file = data_dir / "host-keys.json", data_dir / "host-ready.json"
    ready_file.unlink(missing_ok=True)
    arguments = ["--app-dir", str(options.app_dir), "--port", str(options.port), "--keys", str(keys_file)]
    arguments += ["--message-lock", str(options.message_lock), "--ready-file", str(ready_file)]
    arguments += authentication if options.auth_platform else ["--no-auth-platform"]
    part = await launcher.start("host", [sys.executable, "-m", "local.host", *arguments], settings)

    async def probe() -> str | None:
        if not ready_file.exists():
            return None
        url = str(json.loads(ready_file.read_text("utf-8"))["url"])
        return url if await answers(f"{url}/admin/host/ping") else None

    return HostPart(part, await part.ready(probe, within=_START_SECONDS), keys_file)
