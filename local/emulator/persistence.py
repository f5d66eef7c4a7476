"""The world's state between runs: one JSON file, written whole and put in place atomically.

It holds private keys, secrets and passwords of the emulated world, so it is readable by its owner alone. Faults,
latency and counters are conditions of one run and are not kept.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from local.emulator.clock import Clock
from local.emulator.keyvault import dump_vault, load_vault
from local.emulator.tokens import SigningKey
from local.emulator.world import (
    DeletedVault,
    Principal,
    Subscription,
    Tenant,
    Throttling,
    Timings,
    Vault,
    World,
)

STATE_FILE = "state.json"
_FORMAT = 1
# What `dump_vault` tells in its place.
_NOT_THE_KEYS: Mapping[str, Mapping[str, Any]] = {
    "vaults": {"__all__": {"state"}},
    "deleted_vaults": {"__all__": {"vault": {"state"}}},
}


class StateError(Exception):
    """The state file cannot be used; the message says which one and what to do."""


@dataclass
class _Saved:
    format: int
    tenants: dict[str, Tenant]
    subscriptions: dict[str, Subscription]
    principals: dict[str, Principal]
    vaults: dict[str, Vault]
    deleted_vaults: dict[str, DeletedVault]
    vault_states: dict[str, dict[str, Any]]
    clock: Clock
    throttling: Throttling
    timings: Timings
    ports: dict[str, int]
    identity_header: str
    entra_key: str
    workload_key: str


_ADAPTER = TypeAdapter(_Saved)


def save(world: World, folder: Path) -> None:
    """Write the world's state into `folder`."""
    saved = _Saved(
        format=_FORMAT,
        tenants=world.tenants,
        subscriptions=world.subscriptions,
        principals=world.principals,
        vaults=world.vaults,
        deleted_vaults=world.deleted_vaults,
        vault_states={name: dump_vault(vault) for name, vault in world.vaults.items()},
        clock=world.clock,
        throttling=world.throttling,
        timings=world.timings,
        ports=world.ports,
        identity_header=world.identity_header,
        entra_key=world.tokens.entra_key.private_pem(),
        workload_key=world.tokens.workload_key.private_pem(),
    )
    write_atomically(folder / STATE_FILE, _ADAPTER.dump_json(saved, exclude=_NOT_THE_KEYS))


def load(world: World, folder: Path) -> bool:
    """Fill an empty world from `folder`; return False when nothing was saved there. Raises `StateError`."""
    file = folder / STATE_FILE
    if not file.exists():
        return False
    try:
        saved = _ADAPTER.validate_json(file.read_bytes())
    except ValidationError as error:
        raise StateError(f"{file} cannot be read as the emulator's state; delete it to start afresh") from error
    if saved.format != _FORMAT:
        raise StateError(f"{file} has format {saved.format}, not {_FORMAT}; delete it to start afresh")
    for member in ("tenants", "subscriptions", "principals", "vaults", "deleted_vaults", "ports"):
        getattr(world, member).update(getattr(saved, member))
    world.throttling, world.timings, world.identity_header = saved.throttling, saved.timings, saved.identity_header
    world.clock.offset_seconds = saved.clock.offset_seconds
    world.clock.token_offset_seconds = saved.clock.token_offset_seconds
    world.tokens.use_keys(SigningKey(saved.entra_key), SigningKey(saved.workload_key))
    for name, vault in world.vaults.items():
        load_vault(vault, saved.vault_states[name])
    return True


def write_atomically(file: Path, content: bytes) -> None:
    """Replace `file` by `content`, readable by the owner alone; readers see the old or the new, never a part."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(content)
    unfinished.replace(file)
