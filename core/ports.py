"""What services need from outside, as protocols. Adapters implement them; hand-written fakes do so in unit tests.

Every method raises only errors of `core.errors`. A method says which ones where a caller decides by them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from core.domain.connections import ConnectionReport, OpenConnection, VaultFacts
from core.domain.data_keys import WrappedDataKey
from core.domain.keys import KeyVersion
from core.domain.new_keys import NewVersion, RotationPolicy, VersionChanges
from core.domain.observed import KeyPage, ListedKey, ListedVersion
from core.domain.secrets import SecretBytes


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Return the current time, UTC and timezone-aware."""


# --- records -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored[T]:
    """A value with the ETag that a conditional write needs."""

    value: T
    etag: str


class Collection[T](Protocol):
    """Values of one type, each under a partition and an id; one row each, written whole."""

    async def get(self, partition: str, id_: str) -> Stored[T] | None:
        """Return the value, or None."""

    async def get_many(self, partition: str, ids: Sequence[str]) -> dict[str, Stored[T]]:
        """Return those of `ids` that exist, read with bounded concurrency."""

    async def insert(self, partition: str, id_: str, value: T) -> Stored[T]:
        """Store a new value; AlreadyExistsError if the id is taken."""

    async def replace(self, partition: str, id_: str, value: T, etag: str) -> Stored[T]:
        """Store over the row that was read with `etag`; StaleWriteError if it changed or is gone."""

    async def delete(self, partition: str, id_: str, etag: str | None = None) -> None:
        """Delete (without an ETag: whatever is there). A row that is gone is no error; a changed one is stale."""

    async def write_many(self, partition: str, values: Mapping[str, tuple[T, str | None]]) -> set[str]:
        """Write `id -> (value, etag or None for a new row)` in transactions; return the ids refused as stale or taken.

        Every id that is not returned was written. Rows of one transaction that failed because of another row are
        written again without it.
        """

    def scan(self, partition: str) -> AsyncIterator[tuple[str, Stored[T]]]:
        """Yield a small partition's rows by id; not for partitions that grow with the number of keys."""


# --- ordered indexes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Entries in order and where to go on; `next` is None at the end."""

    entries: tuple[tuple[str, Mapping[str, object]], ...]
    next: str | None


class OrderedIndex(Protocol):
    """Many named trees of `key -> small JSON object`, ordered by key (code points). Reads cost leaves, not rows."""

    async def apply(self, tree: str, changes: Mapping[str, Mapping[str, object] | None]) -> None:
        """Put or (None) delete entries. Safe against concurrent writers; idempotent."""

    async def get(self, tree: str, key: str) -> Mapping[str, object] | None:
        """Return one entry."""

    async def page(
        self, tree: str, *, after: str | None = None, start: str = "", limit: int = 100, descending: bool = False
    ) -> IndexPage:
        """Return up to `limit` entries from `start` on (descending: below it, or from the end), or behind `after`."""

    def leaves(self, tree: str, start: str = "") -> AsyncIterator[tuple[tuple[str, Mapping[str, object]], ...]]:
        """Yield all entries from `start`, a leaf at a time, so that memory holds one leaf."""


# --- blobs and queues --------------------------------------------------------------------------------------------


class Blobs(Protocol):
    """One container of immutable or replaceable blobs."""

    async def create(self, name: str, content: bytes) -> str:
        """Store a new blob and return its ETag; AlreadyExistsError if the name is taken."""

    async def replace(self, name: str, content: bytes, etag: str) -> str:
        """Store over the blob read with `etag`; StaleWriteError otherwise."""

    async def read(self, name: str, *, offset: int | None = None, length: int | None = None) -> tuple[bytes, str]:
        """Return content (or a range of it) and ETag; NotFoundError."""

    async def delete(self, name: str) -> None:
        """Delete; a blob that is gone is no error."""

    def names(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names that start with `prefix`, in order."""


class Queue(Protocol):
    """One work queue, delivered at least once."""

    async def send(self, message: Mapping[str, str], *, delay: timedelta = timedelta()) -> None:
        """Enqueue a small JSON object, visible after `delay` (at most 7 days)."""


# --- sealing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Binding:
    """What a sealed object belongs to; it opens under the same binding only.

    `purpose` is one of the constants of core.domain.sealing, `object_id` the id of what it is part of, `version`
    what keeps two of the same object apart (a generation id, a field's name).
    """

    account: str
    purpose: str
    object_id: str
    version: str


class Sealer(Protocol):
    """Seals small secrets under the account's data key."""

    async def seal(self, binding: Binding, content: SecretBytes) -> str:
        """Return a compact JWE (ASCII)."""

    async def open(self, binding: Binding, sealed: str) -> SecretBytes:
        """Return the content; IntegrityError if it was altered, or sealed for another binding."""


# --- Azure -------------------------------------------------------------------------------------------------------


class VaultKeys(Protocol):
    """The keys of one vault or managed HSM. Every call waits its turn in the vault's rate limit.

    Raises VaultDeniedError, VaultUnavailableError, VaultAnswerError; NotFoundError (`key_not_found`) where said.
    Whatever changes the vault also raises PolicyViolationError `vault_refused` for what the vault finds wrong in the
    request, and ConflictError for the state of the key: `key_soft_deleted`, `key_being_deleted`, `key_being_recovered`,
    `vault_conflict`. What makes versions is sent once: VaultOutcomeUnknownError where the answer was lost.
    """

    def list_keys(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        """Yield pages of live keys from `token` on (None: the first)."""

    def list_deleted(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        """Yield pages of soft-deleted keys."""

    async def list_versions(self, name: str) -> tuple[ListedVersion, ...]:
        """Return all versions in the order in which the vault lists them; NotFoundError."""

    async def get_version(self, name: str, version: str | None) -> tuple[ListedKey, KeyVersion]:
        """Return one version (None: the current one); NotFoundError."""

    async def get_deleted(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Return a soft-deleted key with its newest version; NotFoundError."""

    async def back_up(self, name: str) -> SecretBytes:
        """Return the vault's backup blob of all versions; NotFoundError; VaultAnswerError `backup_refused`."""

    async def create(self, name: str, new: NewVersion) -> tuple[ListedKey, KeyVersion]:
        """Have the vault generate a key, or a new version of one that is there. Sent once."""

    async def import_key(self, name: str, new: NewVersion, private_key: SecretBytes) -> tuple[ListedKey, KeyVersion]:
        """Import software-protected material, the private JWK of RFC 7517 as JSON text. Sent once."""

    async def import_transfer_blob(self, name: str, new: NewVersion, blob: bytes) -> tuple[ListedKey, KeyVersion]:
        """Import material that is wrapped for a key exchange key of this vault. Sent once."""

    async def update(self, name: str, version: str, changes: VersionChanges) -> tuple[ListedKey, KeyVersion]:
        """Change attributes of one version; NotFoundError."""

    async def rotate(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Have the vault make a new version with new material; NotFoundError. Sent once."""

    async def delete(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Soft-delete a key with all versions; NotFoundError; ConflictError `key_managed` for a certificate's key."""

    async def recover(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Recover a soft-deleted key with all versions; NotFoundError."""

    async def purge(self, name: str) -> None:
        """Purge a soft-deleted key; NotFoundError; ConflictError `purge_protected`."""

    async def restore(self, backup: SecretBytes) -> tuple[ListedKey, KeyVersion]:
        """Restore a backup blob under its name with all versions; ConflictError `vault_conflict` if the name is taken.

        Raises VaultAnswerError `restore_refused` where the vault does not take the blob (corrupt, or of another
        subscription, geography or security domain).
        """

    async def rotation_policy(self, name: str) -> RotationPolicy:
        """Return the vault's own rotation policy of a key (one that rotates nothing if none is set); NotFoundError."""

    async def set_rotation_policy(self, name: str, policy: RotationPolicy) -> RotationPolicy:
        """Replace the vault's own rotation policy of a key; NotFoundError."""


class Vaults(Protocol):
    """Opens vaults; SDK clients behind it are shared between uses of the same connection."""

    def keys(self, group: str, connection: OpenConnection, vault: VaultFacts) -> AbstractAsyncContextManager[VaultKeys]:
        """Open the data plane of a group's vault."""

    async def facts(self, connection: OpenConnection, vault: VaultFacts) -> VaultFacts:
        """Read the vault's facts again from ARM; NotFoundError `vault_not_found`."""

    async def test(self, connection: OpenConnection, vault: VaultFacts | None) -> ConnectionReport:
        """Sign in, list the subscription's vaults, and probe `vault` where given. Never raises for a bad connection."""


type JobRunner = Callable[[str, str], Awaitable[None]]


# --- sealing keys ------------------------------------------------------------------------------------------------


class SealingKey(Protocol):
    """The RSA key in the platform vault that wraps data keys (RSA-OAEP-256); its private half never leaves the vault.

    A version is named by its full key id. Raises VaultDeniedError `sealing_key_denied`, VaultUnavailableError
    `sealing_key_unavailable` and VaultAnswerError `sealing_key_unusable`.
    """

    async def newest(self) -> str:
        """Return the key id of the newest version."""

    async def rotate(self) -> str:
        """Make a new version and return its key id; older versions stay able to unwrap."""

    async def wrap(self, sealing_key: str, key_to_wrap: SecretBytes) -> bytes:
        """Wrap under exactly the version `sealing_key`."""

    async def unwrap(self, sealing_key: str, wrapped_key: bytes) -> SecretBytes:
        """Unwrap with exactly the version `sealing_key`; IntegrityError `data_key_unavailable` if it was altered."""


class DataKeyRecords(Protocol):
    """Wrapped data keys at rest."""

    async def create(self, record: WrappedDataKey) -> None:
        """Store a new record; AlreadyExistsError."""

    async def read(self, account: str, id_: str) -> Stored[WrappedDataKey]:
        """Return the record; IntegrityError `data_key_unavailable` if it is gone or not what was stored."""

    async def replace(self, record: WrappedDataKey, etag: str) -> None:
        """Store over the record that was read with `etag`; StaleWriteError."""

    def references(self) -> AsyncIterator[tuple[str, str]]:
        """Yield (account, data key id) of every record."""


class DataKeys(Protocol):
    """Makes the data keys of accounts."""

    async def create(self, account: str) -> str:
        """Make a random data key for `account`, store it wrapped, and return its id."""
