"""A vault in memory behind `ports.Vaults`: pages, versions, changes, deletion, and ways to misbehave."""

import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from core.domain.connections import ConnectionReport, OpenConnection, VaultFacts, VaultType
from core.domain.keys import Deletion, KeyVersion, PublicKey, Validity
from core.domain.new_keys import NewVersion, RotationPolicy, VersionChanges
from core.domain.observed import KeyPage, ListedKey, ListedVersion
from core.domain.secrets import SecretBytes
from core.errors import ConflictError, KeystewardError, NotFoundError, VaultAnswerError
from core.ports import VaultKeys
from tests.builders.keys import NOW, a_listed, listed_version
from tests.fakes.vault_material import (
    ExchangeKeys,
    another_public_key,
    changed,
    made_version,
    new_version_id,
    public_key_of,
)

FACTS = VaultFacts(
    resource_id="/subscriptions/s1/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/payments",
    name="payments",
    type=VaultType.STANDARD,
    uri="https://payments.vault.azure.net",
    location="westeurope",
    tenant_id="11111111-1111-1111-1111-111111111111",
    soft_delete_retention_days=90,
    purge_protection=False,
    rbac=True,
    observed_on=datetime(2026, 1, 1, tzinfo=UTC),
)

type Key = tuple[ListedKey, KeyVersion]


def _nothing(operation: str, name: str) -> None:
    """Let the call go through."""


@dataclass
class FakeVault:
    """Keys by name, deleted keys by name, and what a test sets to fail or to interfere.

    `before(operation, name)` runs before the work, `after(operation, name)` when it is done: an error there is an
    answer that got lost. While `slow`, a deletion, recovery or purge is under way until `settle`. Times are `now()`,
    and at least a second after the version before.
    """

    live: dict[str, list[KeyVersion]] = field(default_factory=dict)
    deleted: dict[str, tuple[list[KeyVersion], Deletion]] = field(default_factory=dict)
    page_size: int = 25
    empty_first_page: bool = False
    order: Callable[[list[str]], list[str]] = sorted
    before: Callable[[str, str], None] = _nothing
    after: Callable[[str, str], None] = _nothing
    calls: Counter[str] = field(default_factory=Counter)
    now: Callable[[], datetime] = lambda: NOW
    purge_protection: bool = False
    slow: bool = False
    policies: dict[str, RotationPolicy] = field(default_factory=dict)
    being_deleted: set[str] = field(default_factory=set)
    being_recovered: set[str] = field(default_factory=set)
    backups: dict[bytes, tuple[str, list[KeyVersion]]] = field(default_factory=dict)
    exchange_keys: ExchangeKeys = field(default_factory=ExchangeKeys)

    def list_keys(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        shown = {n: a_listed(n, self.live[n][-1]) for n in self.live if n.lower() not in self.being_recovered}
        return self._pages("list_keys", shown, token)

    def list_deleted(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        settled = {name: key for name, key in self.deleted.items() if name.lower() not in self.being_deleted}
        shown = {name: a_listed(name, versions[-1], deletion) for name, (versions, deletion) in settled.items()}
        return self._pages("list_deleted", shown, token)

    async def list_versions(self, name: str) -> tuple[ListedVersion, ...]:
        with self._call("list_versions", name):
            return tuple(sorted((listed_version(version) for version in self._versions(name)), key=lambda v: v.id))

    async def get_version(self, name: str, version: str | None) -> Key:
        with self._call("get_version", name):
            return self._shown(name, self._version(name, version))

    async def get_deleted(self, name: str) -> Key:
        with self._call("get_deleted", name):
            known = self._deleted_name(name)
            versions, deletion = self.deleted[known]
            return a_listed(known, versions[-1], deletion), versions[-1]

    async def back_up(self, name: str) -> SecretBytes:
        with self._call("back_up", name):
            versions = self._versions(name)
            digest = hashlib.sha256(repr(versions).encode()).hexdigest()[:16]
            blob = f"backup of {name}: {[v.id for v in versions]} {digest}".encode()
            self.backups[blob] = _known(self.live, name), list(versions)
            return SecretBytes(blob)

    async def create(self, name: str, new: NewVersion) -> Key:
        with self._call("create", name):
            return self._add(name, new, lambda id_: self.exchange_keys.made(new, id_))

    async def import_key(self, name: str, new: NewVersion, private_key: SecretBytes) -> Key:
        with self._call("import_key", name):
            return self._add(name, new, lambda _: public_key_of(new.kind, private_key))

    async def import_transfer_blob(self, name: str, new: NewVersion, blob: bytes) -> Key:
        with self._call("import_transfer_blob", name):
            return self._add(name, new, lambda _: self.exchange_keys.taken_in(new, blob))

    async def update(self, name: str, version: str, changes: VersionChanges) -> Key:
        with self._call("update", name):
            self._check(name, being_recovered=True, deleted=True)
            versions, found = self._versions(name), self._version(name, version)
            updated = replace(changed(found, changes), updated_on=max(self.now(), found.updated_on))
            versions[versions.index(found)] = updated
            return self._shown(name, updated)

    async def rotate(self, name: str) -> Key:
        with self._call("rotate", name):
            self._check(name, being_recovered=True, deleted=True)
            newest, policy = self._versions(name)[-1], self.policies.get(name.lower(), RotationPolicy())
            created = max(self.now(), newest.created_on + timedelta(seconds=1))
            lifetime = re.fullmatch(r"P(\d+)D", policy.expires_after or "")
            expires_on = created + timedelta(days=int(lifetime[1])) if lifetime else None
            made = replace(
                newest,
                id=new_version_id(),
                created_on=created,
                updated_on=created,
                validity=Validity(expires_on=expires_on),
                public_key=another_public_key(newest),
            )
            self._versions(name).append(made)
            return self._shown(name, made)

    def delete(self, name: str, deletion: Deletion | None = None) -> Coroutine[Any, Any, Key] | None:
        """The port's deletion; with a `deletion`, and not awaited, one by somebody else that is long done."""
        if deletion is None:
            return self._delete(name)
        self.deleted[name] = (self.live.pop(name), deletion)
        return None

    async def recover(self, name: str) -> Key:
        with self._call("recover", name):
            self._check(name, being_recovered=True)
            known = self._deleted_name(name)
            self.live[known] = self.deleted.pop(known)[0]
            if self.slow:
                self.being_recovered.add(known.lower())
            return a_listed(known, self.live[known][-1]), self.live[known][-1]

    async def purge(self, name: str) -> None:
        with self._call("purge", name):
            if self.purge_protection:
                raise ConflictError("purge protection", code="purge_protected")
            self._check(name)
            del self.deleted[self._deleted_name(name)]
            if self.slow:
                self.being_deleted.add(name.lower())

    async def restore(self, backup: SecretBytes) -> Key:
        with self._call("restore"):
            if backup.reveal() not in self.backups:
                raise VaultAnswerError("no backup of this vault", code="restore_refused")
            name, versions = self.backups[backup.reveal()]
            taken = _known(self.live, name) in self.live or _known(self.deleted, name) in self.deleted
            if taken or name.lower() in self.being_deleted:
                raise ConflictError("the name is taken", code="vault_conflict")
            self.live[name] = list(versions)
            return a_listed(name, versions[-1]), versions[-1]

    async def rotation_policy(self, name: str) -> RotationPolicy:
        with self._call("rotation_policy", name):
            self._versions(name)
            return self.policies.get(name.lower(), RotationPolicy())

    async def set_rotation_policy(self, name: str, policy: RotationPolicy) -> RotationPolicy:
        with self._call("set_rotation_policy", name):
            self._check(name, being_recovered=True, deleted=True)
            self._versions(name)
            self.policies[name.lower()] = policy
            return policy

    def settle(self) -> None:
        """End what is under way."""
        self.being_deleted.clear()
        self.being_recovered.clear()

    async def _delete(self, name: str) -> Key:
        with self._call("delete", name):
            self._check(name, being_recovered=True)
            versions, known = self._versions(name), _known(self.live, name)
            if versions[-1].managed:
                raise ConflictError("a certificate's key", code="key_managed")
            deletion = Deletion(self.now(), self.now() + timedelta(days=FACTS.soft_delete_retention_days))
            self.deleted[known] = (self.live.pop(known), deletion)
            if self.slow:
                self.being_deleted.add(known.lower())
            return a_listed(known, versions[-1], deletion), versions[-1]

    def _add(self, name: str, new: NewVersion, material: Callable[[str], PublicKey]) -> Key:
        self._check(name, being_recovered=True, deleted=True)
        versions = self.live.get(_known(self.live, name), [])
        id_ = new_version_id()
        created = max([self.now(), *(version.created_on + timedelta(seconds=1) for version in versions[-1:])])
        made = made_version(new, id_, created, material(id_))
        self.live.setdefault(_known(self.live, name), []).append(made)
        return self._shown(name, made)

    def _versions(self, name: str) -> list[KeyVersion]:
        known = _known(self.live, name)
        if known not in self.live or known.lower() in self.being_recovered:
            raise NotFoundError("no such key", code="key_not_found")
        return self.live[known]

    def _version(self, name: str, version: str | None) -> KeyVersion:
        versions = self._versions(name)
        found = versions[-1] if version is None else next((v for v in versions if v.id == version), None)
        if found is None:
            raise NotFoundError("no such version", code="key_not_found")
        return found

    def _shown(self, name: str, version: KeyVersion) -> Key:
        listed = a_listed(_known(self.live, name), version)
        return replace(listed, exportable=version.exportable, managed=version.managed), version

    def _deleted_name(self, name: str) -> str:
        known = _known(self.deleted, name)
        if known not in self.deleted or known.lower() in self.being_deleted:
            raise NotFoundError("no such deleted key", code="key_not_found")
        return known

    def _check(self, name: str, *, being_recovered: bool = False, deleted: bool = False) -> None:
        if name.lower() in self.being_deleted:
            raise ConflictError("being deleted", code="key_being_deleted")
        if deleted and _known(self.deleted, name) in self.deleted:
            raise ConflictError("soft-deleted", code="key_soft_deleted")
        if being_recovered and name.lower() in self.being_recovered:
            raise ConflictError("being recovered", code="key_being_recovered")

    @contextmanager
    def _call(self, operation: str, name: str = "") -> Iterator[None]:
        self.calls[operation] += 1
        self.before(operation, name)
        yield
        self.after(operation, name)

    async def _pages(self, operation: str, shown: dict[str, ListedKey], token: str | None) -> AsyncIterator[KeyPage]:
        names = self.order(list(shown))
        at = int(token or 0)
        if self.empty_first_page and at == 0:
            with self._call(operation):
                pass
            yield KeyPage(None, "0", ())
        while True:
            with self._call(operation):
                chunk = names[at : at + self.page_size]
            more = at + self.page_size < len(names)
            here = str(at) if at else None
            yield KeyPage(here, str(at + self.page_size) if more else None, tuple(shown[n] for n in chunk))
            if not more:
                return
            at += self.page_size


class FakeVaults:
    """Opens one fake vault; `report` is what a test of the connection says, `error` what opening raises."""

    def __init__(self, vault: FakeVault) -> None:
        self.vault = vault
        self.report = ConnectionReport(NOW)
        self.error: KeystewardError | None = None

    def keys(self, group: str, connection: OpenConnection, vault: VaultFacts) -> AbstractAsyncContextManager[VaultKeys]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[VaultKeys]:
            yield self.vault

        return opened()

    async def facts(self, connection: OpenConnection, vault: VaultFacts) -> VaultFacts:
        if self.error is not None:
            raise self.error
        return replace(vault, observed_on=NOW)

    async def test(self, connection: OpenConnection, vault: VaultFacts | None) -> ConnectionReport:
        return self.report


def _known(names: dict[str, Any], name: str) -> str:
    """The spelling of a name that is there, whatever its case; else the name itself."""
    return name if name in names else next((known for known in names if known.lower() == name.lower()), name)
