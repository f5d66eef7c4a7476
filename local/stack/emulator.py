"""The emulator as a part of the stack."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from local.stack.health import answers
from local.stack.part import Launcher

_START_SECONDS = 60


@dataclass(frozen=True)
class EmulatorEndpoints:
    """What the emulator writes when every listener answers; `ca_file` signs all its certificates."""

    pid: int
    control_url: str
    entra_url: str
    arm_url: str
    identity_endpoint: str
    identity_header: str
    ca_file: str


async def start_emulator(launcher: Launcher, data_dir: Path, *, ephemeral: bool) -> EmulatorEndpoints:
    """Start it and wait until it is ready."""
    command = [sys.executable, "-m", "local.emulator", "--data-dir", str(data_dir)]
    part = await launcher.start("emulator", [*command, "--ephemeral"] if ephemeral else command)

    async def probe() -> EmulatorEndpoints | None:
        try:
            found = EmulatorEndpoints(**json.loads((data_dir / "endpoints.json").read_text("utf-8")))
        except FileNotFoundError:
            return None
        # A file of another process was left by one that was killed.
        return found if found.pid == part.pid and await answers(found.control_url) else None

    return await part.ready(probe, within=_START_SECONDS)
