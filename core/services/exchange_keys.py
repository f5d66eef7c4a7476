"""Makes, reuses and retires the key exchange keys of groups' vaults."""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from weakref import WeakValueDictionary

from core.domain.callers import Actor, ActorKind
from core.domain.changes import changed_version
from core.domain.connections import VaultType
from core.domain.exchange_keys import ExchangeKey, GroupExchangeKeys, wanted
from core.domain.groups import Group, vault_of
from core.domain.identifiers import IdKind, new_id
from core.domain.key_names import checked_azure_name
from core.domain.keys import HistoryEntry, KeyOrigin, KeyVersion, VirtualKey
from core.domain.new_keys import KeyNames, KeySettings, NewKey, VersionChanges
from core.domain.public_keys import rsa_numbers
from core.domain.transfer_blobs import KeyExchangeKey, kid_parts, problems_of_use, same_vault
from core.errors import AlreadyExistsError, ConflictError, KeystewardError, NotFoundError
from core.ports import Clock, Collection, OrderedIndex, VaultKeys
from core.services.amend import amend
from core.services.due_times import DueTimes
from core.services.findings import FindingCode, Findings, Subject
from core.services.group_vaults import GroupVaults
from core.services.key_records import KeyRecords
from core.services.placements import Placement, Placements

_PREFIX = "keysteward-kek-"
_NOT_RETIRED = "The time of a key exchange key is over, and it could not be disabled"
_KEYSTEWARD = Actor(ActorKind.TIMER, "exchange-keys", "Keysteward")


class ExchangeKeys:
    """The key exchange keys of all groups; one row a group."""

    def __init__(
        self,
        rows: Collection[GroupExchangeKeys],
        index: OrderedIndex,
        *,
        placements: Placements,
        vaults: GroupVaults,
        records: KeyRecords,
        clock: Clock,
    ) -> None:
        self._rows = rows
        self._due = DueTimes(index, "due/exchange-keys")
        self._findings = Findings(index, clock)
        self._placements = placements
        self._vaults = vaults
        self._records = records
        self._clock = clock
        # Two requests of one process shall not make two.
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def list(self, account: str, group: str) -> tuple[ExchangeKey, ...]:
        """Return a group's key exchange keys, oldest first."""
        return (await self._of(account, group)).keys

    async def current(self, keys: VaultKeys, group: Group, actor: Actor) -> KeyExchangeKey:
        """Return the key exchange key to wrap under, as the vault shows it now; make one if there is none to use."""
        require_hardware(group)
        lock = self._making.setdefault(group.id, asyncio.Lock())
        async with lock:
            now = self._clock.now()
            known = (await self._of(group.account, group.id)).current(now)
            if known is not None:
                found = await self.shown(keys, group, known.azure_name, known.version)
                if found is not None and not problems_of_use(found, now):
                    return found
            return await self._made(keys, group, actor)

    async def shown(self, keys: VaultKeys, group: Group, azure_name: str, version: str | None) -> KeyExchangeKey | None:
        """Return a key of the vault as a key exchange key, as the vault shows it now; None if it is not there."""
        try:
            _, found = await keys.get_version(azure_name, version)
        except NotFoundError:
            return None
        return _key_exchange_key(group, azure_name, found)

    async def require(self, keys: VaultKeys, group: Group, named: str) -> KeyExchangeKey:
        """Return the vault's key exchange key with this Azure name or full id, to wrap under.

        NotFoundError `key_exchange_key_not_found`; ConflictError `key_exchange_key_unsuitable` with what is wrong.
        """
        name, version = named, None
        if named.lower().startswith("https://"):
            host, name, version = kid_parts(named)
            if not same_vault(host, vault_of(group).uri):
                raise _not_found()
        found = await self.shown(keys, group, checked_azure_name(name, "key_exchange_key"), version)
        if found is None:
            raise _not_found()
        problems = problems_of_use(found, self._clock.now())
        if problems:
            raise ConflictError(problems[0].detail, code="key_exchange_key_unsuitable", field="key_exchange_key")
        return found

    async def retire(self, account: str, group: str, key: str, actor: Actor) -> ExchangeKey:
        """Disable a key exchange key in its vault; NotFoundError `key_exchange_key_not_found`.

        Transfer blobs that were made under it cannot be imported any more; keys that were imported stay as they are.
        """
        known = (await self._of(account, group)).find(key)
        if known is None:
            raise _not_found()
        if known.retired_on is None:
            await self._disable(await self._vaults.group(account, group), known, actor)
            await amend(self._rows, account, group, lambda row: row.retired(key, self._clock.now()))
        retired = (await self._of(account, group)).find(key)
        return retired or known

    async def retire_due(self) -> int:
        """Retire what is due; return how many. The cost is that of what is due."""
        return sum([await self._retire_entry(*due) async for due in self._due.due(self._clock.now())])

    async def _retire_entry(self, position: str, entry: Mapping[str, object]) -> int:
        account, group, key = (str(entry[member]) for member in ("account", "group", "key"))
        try:
            await self.retire(account, group, key, _KEYSTEWARD)
        except NotFoundError:
            pass
        except KeystewardError as error:
            # It has expired in the vault anyway; the next tick tries again.
            await self._findings.settle(account, {_not_retired(group, key): f"{_NOT_RETIRED} ({error.code})."})
            return 0
        await self._findings.settle(account, {}, {_not_retired(group, key)})
        await self._due.done(position)
        return 1

    async def _made(self, keys: VaultKeys, group: Group, actor: Actor) -> KeyExchangeKey:
        name = f"{_PREFIX}{secrets.token_hex(4)}"
        new = wanted(self._clock.now())
        request = NewKey(new_id(IdKind.INTENT), group, KeyNames(azure_name=name), KeySettings(), actor)
        placement = Placement(
            request, f"{group.key_label}/{name}", name, new, KeyOrigin.NATIVE, "key.created_for_exchange"
        )
        key = await self._placements.place(keys, placement, lambda vault: vault.create(name, new))
        version = key.versions[-1]
        made = ExchangeKey(name, version.id, key.id, version.created_on)
        # The hint first: a crash in between leaves a hint too many.
        entry = {"account": group.account, "group": group.id, "key": key.id}
        await self._due.plan(made.retire_on, name, entry)
        await self._remember(group, made)
        # Not the record: what material is wrapped under is what the vault says at this moment.
        return await self.require(keys, group, f"{vault_of(group).uri}/keys/{name}/{version.id}")

    async def _remember(self, group: Group, made: ExchangeKey) -> None:
        with suppress(AlreadyExistsError):
            first = GroupExchangeKeys(group.account, group.id, (made,))
            await self._rows.insert(group.account, group.id, first)
            return
        await amend(self._rows, group.account, group.id, lambda row: row.with_key(made))

    async def _disable(self, group: Group, known: ExchangeKey, actor: Actor) -> None:
        async with self._vaults.opened(group) as keys:
            try:
                listed, version = await keys.update(known.azure_name, known.version, VersionChanges(enabled=False))
            except NotFoundError:
                return
        entry = HistoryEntry(self._clock.now(), "key.deactivated", actor, "retired as key exchange key")

        def disabled(present: VirtualKey | None) -> VirtualKey:
            if present is None:
                raise NotFoundError("There is no such key.", code="key_not_found")
            return changed_version(present, listed, version, entry)

        with suppress(NotFoundError):
            await self._records.amend(group.account, group.id, known.key, disabled)

    async def _of(self, account: str, group: str) -> GroupExchangeKeys:
        stored = await self._rows.get(account, group)
        return stored.value if stored else GroupExchangeKeys(account, group)


def _not_retired(group: str, key: str) -> tuple[FindingCode, Subject]:
    return FindingCode.EXCHANGE_KEY_NOT_RETIRED, Subject(group, key)


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such key exchange key.", code="key_exchange_key_not_found")


def require_hardware(group: Group) -> None:
    """Raise ConflictError `vault_without_hsm` for a group whose vault cannot hold key exchange keys."""
    if vault_of(group).type is VaultType.STANDARD:
        raise ConflictError("A standard vault has no hardware-protected keys.", code="vault_without_hsm")


def _key_exchange_key(group: Group, azure_name: str, version: KeyVersion) -> KeyExchangeKey:
    n, e = rsa_numbers(version.public_key)
    return KeyExchangeKey(
        kid=f"{vault_of(group).uri}/keys/{azure_name}/{version.id}",
        size=version.size or 0,
        n=n,
        e=e,
        enabled=version.validity.enabled,
        not_before=version.validity.not_before,
        expires_on=version.validity.expires_on,
        type=version.type,
        operations=version.operations,
    )
