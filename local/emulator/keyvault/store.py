"""The keys of one vault, live and soft-deleted, with the indexes that make every look-up cheap.

Invariants: a folded name is in at most one of `keys` and `deleted`; each has its sorted index; whatever falls
due by the clock is in a heap, so an idle request pays one comparison.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from local.emulator.keyvault.model import DeletedKey, Key
from local.emulator.keyvault.names import SortedNames, fold
from local.emulator.world import Vault

_STATE_KEY = "store"


@dataclass
class VaultStore:
    """All records of one vault. Write through its methods, which keep the indexes true."""

    keys: dict[str, Key] = field(default_factory=dict)
    deleted: dict[str, DeletedKey] = field(default_factory=dict)
    key_names: SortedNames = field(default_factory=SortedNames)
    deleted_names: SortedNames = field(default_factory=SortedNames)
    # Folded name -> time until which a purge still blocks the name.
    purging: dict[str, float] = field(default_factory=dict)
    _purges: list[tuple[float, str]] = field(default_factory=list)
    _rotations: list[tuple[float, str]] = field(default_factory=list)

    def add(self, key: Key) -> None:
        """Add a live key under a free name."""
        folded = fold(key.name)
        self.keys[folded] = key
        self.key_names.add(folded)

    def take(self, folded: str) -> Key:
        """Take a live key out and return it."""
        self.key_names.discard(folded)
        return self.keys.pop(folded)

    def add_deleted(self, record: DeletedKey) -> None:
        """Add a soft-deleted key, to be purged when its time comes."""
        folded = fold(record.key.name)
        self.deleted[folded] = record
        self.deleted_names.add(folded)
        heapq.heappush(self._purges, (record.scheduled_purge_on, folded))

    def take_deleted(self, folded: str) -> DeletedKey:
        """Take a soft-deleted key out and return it."""
        self.deleted_names.discard(folded)
        return self.deleted.pop(folded)

    def add_all(self, live: list[Key], deleted: list[DeletedKey]) -> None:
        """Add many records under free names, sorting each index once."""
        self.keys.update((fold(key.name), key) for key in live)
        self.key_names.add_all(fold(key.name) for key in live)
        self.deleted.update((fold(record.key.name), record) for record in deleted)
        self.deleted_names.add_all(fold(record.key.name) for record in deleted)
        self._purges.extend((record.scheduled_purge_on, fold(record.key.name)) for record in deleted)
        heapq.heapify(self._purges)

    def purge_expired(self, now: float) -> None:
        """Forget the soft-deleted keys whose retention is over."""
        while self._purges and self._purges[0][0] <= now:
            due, folded = heapq.heappop(self._purges)
            record = self.deleted.get(folded)
            # A key recovered and deleted again has a later entry of its own.
            if record is not None and record.scheduled_purge_on == due:
                self.take_deleted(folded)

    def schedule_rotation(self, folded: str, due: float) -> None:
        """Note that a key may have to rotate at `due`; `due_rotations` reports it then."""
        heapq.heappush(self._rotations, (due, folded))

    def due_rotations(self, now: float) -> Iterator[str]:
        """Yield, once each, the folded names whose noted rotation time has come."""
        while self._rotations and self._rotations[0][0] <= now:
            yield heapq.heappop(self._rotations)[1]


def store_of(vault: Vault) -> VaultStore:
    """Return the live store of `vault`, made on first use."""
    store = vault.state.get(_STATE_KEY)
    if store is None:
        store = vault.state[_STATE_KEY] = VaultStore()
    assert isinstance(store, VaultStore)  # noqa: S101 - states a type, checks no input
    return store


def set_store(vault: Vault, store: VaultStore) -> None:
    """Put `store` in place of whatever `vault` had."""
    vault.state[_STATE_KEY] = store
