"""A vault in memory behind `ports.Vaults`: pages, versions, deletion and the ways in which it can misbehave."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from core.domain.connections import ConnectionReport, OpenConnection, VaultFacts, VaultType
from core.domain.keys import Deletion, KeyVersion
from core.domain.observed import KeyPage, ListedKey, ListedVersion
from core.domain.secrets import SecretBytes
from core.errors import KeystewardError, NotFoundError
from core.ports import VaultKeys
from tests.builders.keys import NOW, a_listed, listed_version

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


def _nothing(operation: str, name: str) -> None:
    """Let the call go through."""


@dataclass
class FakeVault:
    """Keys by name, deleted keys by name, and `before(operation, name)`, which a test sets to fail or to interfere."""

    live: dict[str, list[KeyVersion]] = field(default_factory=dict)
    deleted: dict[str, tuple[list[KeyVersion], Deletion]] = field(default_factory=dict)
    page_size: int = 25
    empty_first_page: bool = False
    order: Callable[[list[str]], list[str]] = sorted
    before: Callable[[str, str], None] = _nothing
    calls: Counter[str] = field(default_factory=Counter)

    def list_keys(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        return self._pages("list_keys", {name: a_listed(name, self.live[name][-1]) for name in self.live}, token)

    def list_deleted(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        shown = {name: a_listed(name, versions[-1], deletion) for name, (versions, deletion) in self.deleted.items()}
        return self._pages("list_deleted", shown, token)

    async def list_versions(self, name: str) -> tuple[ListedVersion, ...]:
        self._call("list_versions", name)
        return tuple(sorted((listed_version(version) for version in self._versions(name)), key=lambda v: v.id))

    async def get_version(self, name: str, version: str | None) -> tuple[ListedKey, KeyVersion]:
        self._call("get_version", name)
        versions = self._versions(name)
        found = versions[-1] if version is None else next(v for v in versions if v.id == version)
        return a_listed(name, found), found

    async def get_deleted(self, name: str) -> tuple[ListedKey, KeyVersion]:
        self._call("get_deleted", name)
        if name not in self.deleted:
            raise NotFoundError("no such deleted key", code="key_not_found")
        versions, deletion = self.deleted[name]
        return a_listed(name, versions[-1], deletion), versions[-1]

    async def back_up(self, name: str) -> SecretBytes:
        self._call("back_up", name)
        return SecretBytes(f"backup of {name}: {[v.id for v in self._versions(name)]}".encode())

    def delete(self, name: str, deletion: Deletion) -> None:
        self.deleted[name] = (self.live.pop(name), deletion)

    def _versions(self, name: str) -> list[KeyVersion]:
        if name not in self.live:
            raise NotFoundError("no such key", code="key_not_found")
        return self.live[name]

    def _call(self, operation: str, name: str = "") -> None:
        self.calls[operation] += 1
        self.before(operation, name)

    async def _pages(self, operation: str, shown: dict[str, ListedKey], token: str | None) -> AsyncIterator[KeyPage]:
        names = self.order(list(shown))
        at = int(token or 0)
        if self.empty_first_page and at == 0:
            self._call(operation)
            yield KeyPage(None, "0", ())
        while True:
            self._call(operation)
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
