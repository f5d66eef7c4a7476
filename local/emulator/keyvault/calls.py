"""One call of the data plane, after authentication: what every operation is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.emulator.keyvault.errors import key_not_found
from local.emulator.keyvault.model import Key, KeyVersion
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.store import VaultStore
from local.emulator.world import Vault, World


@dataclass(slots=True)
class Call:
    """A request to one vault; `now` is resource time in seconds, `body` the JSON object sent (empty if none)."""

    world: World
    vault: Vault
    store: VaultStore
    now: float
    name: str
    version: str
    host: str
    query: Mapping[str, str]
    empty_page: bool = False
    body: dict[str, Any] = field(default_factory=dict)

    def live_key(self) -> Key:
        """Return the key that the path names; raise `KeyNotFound` unless it is visible."""
        key = self.store.keys.get(fold(self.name))
        if key is None or key.visible_at > self.now:
            raise key_not_found(self.vault, self.name, self.version)
        return key

    def live_version(self) -> tuple[Key, KeyVersion]:
        """Return the key and the version that the path names, the newest when it names none."""
        key = self.live_key()
        if not self.version:
            return key, key.newest
        version = key.versions.get(self.version.lower())
        if version is None:
            raise key_not_found(self.vault, self.name, self.version)
        return key, version
