"""A stage with groups of every kind for new keys, and what has to be true of keys that were made there."""

import copy
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from core.domain.connections import OpenConnection, VaultFacts, VaultType
from core.domain.groups import EscrowSettings, Group, GroupKind
from core.domain.jobs import Job
from core.domain.key_kinds import KeyFamily, KeyKind, Protection
from core.domain.keys import KeyVersion, Validity, VirtualKey
from core.domain.new_keys import KeyNames, KeySettings, NewKey
from core.domain.source_keys import SourceKey
from core.material.material import KeyMaterial
from core.ports import VaultKeys
from core.services.copies import Copies
from core.services.source_keys import NewSourceVersion, SourceUse
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW
from tests.builders.lists import check_lists
from tests.builders.syncs import SyncStage, a_group
from tests.fakes.vault import FACTS, FakeVault, FakeVaults

PREMIUM = "grp_cccccccccccccccccccccccc"
SOURCES = "grp_bbbbbbbbbbbbbbbbbbbbbbbb"
MORE_SOURCES = "grp_dddddddddddddddddddddddd"
EC = KeyKind(KeyFamily.EC, curve="P-256")
RSA = KeyKind(KeyFamily.RSA, 2048)
AES = KeyKind(KeyFamily.AES, 256)
NO_SETTINGS = KeySettings()
#: Everything that a process keeps outside of itself, but for its vaults.
STORES = (
    "groups", "job_rows", "key_rows", "lock_rows", "source_rows", "material_rows", "intent_rows", "exchange_rows",
    "name_rows", "index", "blobs", "queue", "sealer",
)  # fmt: skip


class SeveralVaults(FakeVaults):
    """Opens the vault of each group; `vault` is that of GROUP."""

    def __init__(self, vault: FakeVault, others: dict[str, FakeVault]) -> None:
        super().__init__(vault)
        self.others: dict[str, Any] = others

    def keys(self, group: str, connection: OpenConnection, vault: VaultFacts) -> AbstractAsyncContextManager[VaultKeys]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[VaultKeys]:
            if self.error is not None:
                raise self.error
            yield self.others.get(group, self.vault)

        return opened()


class KeyStage(SyncStage):
    """A standard vault (GROUP), a premium one (PREMIUM) and two source groups of one account."""

    def __init__(self) -> None:
        super().__init__()
        self.premium = FakeVault()
        self.vaults = SeveralVaults(self.vault, {PREMIUM: self.premium})
        for vault in (self.vault, self.premium):
            vault.now = self.clock.now
        self.outbox = self.queue.sent
        self.wire()

    def wire(self) -> None:
        super().wire()
        self.copies: Copies = self.made.copies(self.jobs)

    async def set_up(self, group: Group | None = None) -> None:
        """Put the groups in."""
        for one in (
            group or a_group(),
            an_azure_group(PREMIUM, "premium", VaultType.PREMIUM),
            a_source_group(),
            a_source_group(MORE_SOURCES),
        ):
            await self.groups.insert(ACCOUNT, one.id, one)

    def twin(self) -> "KeyStage":
        """Return another process over the same storage and vaults."""
        other = copy.copy(self)
        other.vaults = SeveralVaults(self.vault, dict(self.vaults.others))
        other.wire()
        return other

    def key(self, request: str = "int_1", group: str = GROUP, **asked: Any) -> NewKey:
        """Return what somebody asks for: `name`, `azure_name`, `reuse_purged` and the members of KeySettings."""
        names = KeyNames(asked.pop("name", None), asked.pop("azure_name", None), asked.pop("reuse_purged", False))
        return NewKey(request, GROUPS[group], names, KeySettings(**asked), ALICE)

    async def sync_all(self) -> None:
        """Sync both vaults."""
        for group in (GROUP, PREMIUM):
            job = await self.syncs.start(ACCOUNT, group, mode="changes", actor=ALICE)
            await self.jobs.run(ACCOUNT, job.id)
            assert (await self.jobs.get(ACCOUNT, job.id)).value.status == "succeeded"
        self.clock.move(timedelta(minutes=1))

    async def work(self) -> list[Job]:
        """Deliver every message; return the jobs as they are then."""
        messages, self.outbox[:] = list(self.outbox), []
        for message, _ in messages:
            await self.jobs.run(message["account"], message["job"])
        return [(await self.jobs.get(message["account"], message["job"])).value for message, _ in messages]

    async def virtual_keys(self, group: str = GROUP) -> list[VirtualKey]:
        return [stored.value async for _, stored in self.key_rows.scan(group)]

    async def source_keys(self, group: str = SOURCES) -> list[SourceKey]:
        return [stored.value async for _, stored in self.source_rows.scan(group)]

    async def a_source_key(self, name: str = "master", kind: KeyKind = EC, **settings: Any) -> SourceKey:
        """Make a source key, one that can be exported unless `permissions` say otherwise."""
        verbs = {KeyFamily.RSA: ("sign", "verify", "wrap", "unwrap"), KeyFamily.EC: ("sign", "verify")}
        permissions = ("export", *verbs.get(kind.family, ("encrypt", "decrypt", "wrap", "unwrap")))
        new = self.key(f"int_source_{name}", SOURCES, name=name, **{"permissions": permissions} | settings)
        made = await self.made.new_keys.generate(new, kind)
        assert isinstance(made, SourceKey)
        return made

    async def another_version(self, key: SourceKey) -> SourceKey:
        """Have a version generated."""
        new = NewSourceVersion(f"int_version_{len(key.versions)}_{key.id}", None, Validity(), ALICE)
        return (await self.made.source_keys.add_version(ACCOUNT, key.group, key.id, new)).value

    async def material_of(self, key: SourceKey, permission: str = "export") -> KeyMaterial:
        """Return a source key's material, or fail as its use fails."""
        _, _, material = await self.made.source_keys.opened(ACCOUNT, use_of(key), permission)
        return material

    async def open_intents(self) -> int:
        """Return how many intents are open."""
        return sum([stored.value.key is None async for _, stored in self.intent_rows.scan(ACCOUNT)])

    async def check_lists(self) -> None:
        """Every key is where it belongs in every list, as it is, and nothing else is there."""
        await check_lists(self, GROUPS)


def use_of(key: SourceKey, version: int | None = None) -> SourceUse:
    return SourceUse(key.group, key.id, version)


def a_source_group(id_: str = SOURCES) -> Group:
    return Group(id_, ACCOUNT, GroupKind.SOURCE, f"Sources {id_[-1]}", ALICE, NOW, NOW)


def an_azure_group(id_: str, name: str, type_: VaultType) -> Group:
    """Return a group with a vault of its own."""
    vault = replace(
        FACTS,
        resource_id=FACTS.resource_id.replace("payments", name),
        name=name,
        type=type_,
        uri=f"https://{name}.vault.azure.net",
    )
    return replace(a_group(), id=id_, title=name.title(), vault=vault, escrow=EscrowSettings(keep_generations=2))


GROUPS = {
    GROUP: a_group(),
    PREMIUM: an_azure_group(PREMIUM, "premium", VaultType.PREMIUM),
    SOURCES: a_source_group(),
    MORE_SOURCES: a_source_group(MORE_SOURCES),
}


def only_version(vault: FakeVault, azure_name: str) -> KeyVersion:
    """Return the one version that the vault has of a key."""
    versions = vault.live[azure_name]
    assert len(versions) == 1, f"{len(versions)} versions of {azure_name}"
    return versions[0]


def hardware(**settings: Any) -> dict[str, Any]:
    """Settings of a key that an HSM protects."""
    return {"protection": Protection.HSM, **settings}
