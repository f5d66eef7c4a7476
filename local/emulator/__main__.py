"""Run the emulator: `python -m local.emulator --data-dir DIR [--ephemeral]`.

When every listener answers, `DIR/endpoints.json` appears; it is gone again after a clean stop (SIGTERM or SIGINT),
which saves the state unless the run is ephemeral. Nothing is written to stdout, and logs go to stderr.
"""

import argparse
import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from local.emulator import persistence, seeds
from local.emulator.client import ENDPOINTS_FILE, Endpoints
from local.emulator.control import control_app
from local.emulator.server import Emulator
from local.emulator.world import World

_log = logging.getLogger("emulator")


def main() -> int:
    """Run until a signal asks to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description="Emulate Entra, ARM and Key Vault.")
    parser.add_argument("--data-dir", type=Path, required=True, help="TLS files, endpoints.json and the saved state")
    parser.add_argument("--ephemeral", action="store_true", help="start with a fresh world and save nothing")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder: Path = arguments.data_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            asyncio.run(_run(folder, ephemeral=arguments.ephemeral))
        except BlockingIOError:
            _log.error("another emulator runs on %s", folder)
            return 1
        except persistence.StateError as error:
            _log.error("%s", error)
            return 1
    return 0


async def _run(folder: Path, *, ephemeral: bool) -> None:
    world = World()
    if ephemeral or not persistence.load(world, folder):
        seeds.populate(world)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    emulator = Emulator(world, folder)
    await emulator.start(control_app(emulator))
    endpoints = folder / ENDPOINTS_FILE
    persistence.write_atomically(endpoints, json.dumps(asdict(_endpoints(emulator)), indent=2).encode())
    _log.info("ready: entra %s, arm %s, %d vaults", world.entra_url, world.arm_url, len(world.vaults))
    await stopping.wait()
    endpoints.unlink(missing_ok=True)
    try:
        await emulator.stop()
    finally:
        if not ephemeral:
            persistence.save(world, folder)
    _log.info("stopped")


def _endpoints(emulator: Emulator) -> Endpoints:
    world = emulator.world
    return Endpoints(
        pid=os.getpid(),
        control_url=f"http://localhost:{world.ports['control']}",
        entra_url=world.entra_url,
        arm_url=world.arm_url,
        identity_endpoint=f"http://localhost:{world.ports['identity']}/msi/token",
        identity_header=world.identity_header,
        ca_file=str(emulator.authority.ca_file),
    )


if __name__ == "__main__":
    sys.exit(main())
