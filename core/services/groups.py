"""Groups: created, listed, edited, linked to their vault once, and deleted while they are empty.

Invariants: a vault is linked to one group of an account at most; subscription and vault never change; whoever creates a
group is its admin; a group that cannot connect can be saved, and says why it cannot.
"""

from collections.abc import AsyncIterator
from collections.abc import Collection as Container
from dataclasses import replace
from datetime import timedelta

from core.domain.accounts import Principal
from core.domain.callers import Actor
from core.domain.connection_drafts import KEEP, ConnectionDraft, CredentialDraft, ProxyDraft, TlsDraft
from core.domain.connections import Connection, ConnectionCause
from core.domain.drills import DrillOrder, check_drill
from core.domain.group_drafts import GroupChanges, NewGroup, check_fixed, check_new, check_settings
from core.domain.groups import Group, GroupKind, SyncSchedule
from core.domain.identifiers import IdKind, new_id
from core.domain.summaries import group_tree
from core.domain.titles import checked_title
from core.errors import ConflictError, StaleWriteError
from core.ports import Clock, Collection, OrderedIndex, Stored
from core.services.access import group_not_found
from core.services.conditional import require_match
from core.services.connections import Connections, find_vault, reported
from core.services.drills import Drills
from core.services.group_members import GroupMembers
from core.services.pages import Page, page_by_id
from core.services.syncs import Syncs, next_run
from core.services.vault_links import VaultLinks
from core.timed_cache import TimedCache

_GLIMPSED = timedelta(seconds=5)
_GLIMPSES = 1_000


class Groups:
    """The groups of accounts. Permissions are decided before anything here is called."""

    def __init__(  # noqa: PLR0913 - the collaborators of a group
        self,
        groups: Collection[Group],
        index: OrderedIndex,
        *,
        connections: Connections,
        links: VaultLinks,
        members: GroupMembers,
        syncs: Syncs,
        drills: Drills,
        clock: Clock,
    ) -> None:
        self._groups = groups
        self._index = index
        self._connections = connections
        self._links = links
        self._members = members
        self._syncs = syncs
        self._drills = drills
        self._clock = clock
        self._glimpses: TimedCache[tuple[str, str], Group] = TimedCache(clock, _GLIMPSED, _GLIMPSES)

    async def create(self, creator: Principal, actor: Actor, new: NewGroup) -> Stored[Group]:
        """Create a group, of which `creator` becomes admin.

        Raises InvalidRequestError (`title_invalid`, `group_invalid`, `connection_invalid`, `schedule_invalid`) and
        ConflictError (`not_connected` where a vault was named but cannot be reached, `vault_not_offered`,
        `vault_already_linked`), and those of Drills.check.
        """
        check_new(new)
        self._check_schedule(new.schedule)
        group = await self._drafted(creator.account, actor, new)
        if new.connection is not None:
            group = await self._connected(group, new.connection, new.vault)
        await self._check_drill(group)
        # A grant on a group that never came to be harms nobody; a group without an admin would.
        await self._members.enrol_creator(creator, group.id)
        stored = await self._groups.insert(group.account, group.id, await self._planned(group))
        await self._connections.note(stored.value)
        return stored

    async def get(self, account: str, group: str) -> Stored[Group]:
        """Return a group; NotFoundError `group_not_found`."""
        stored = await self._groups.get(account, group)
        if stored is None:
            raise group_not_found()
        return stored

    async def glimpse(self, account: str, group: str) -> Group:
        """Return a group as it was at most five seconds ago: what is shown beside its keys, without a read for each."""
        return await self._glimpses.get((account, group), lambda: self._load(account, group))

    async def page(
        self, account: str, *, visible: Container[str] | None, after: str | None = None, limit: int = 100
    ) -> Page[Stored[Group]]:
        """Return a page of groups by id: of those in `visible`, or (None) of all."""
        rows = self._groups.scan(account) if visible is None else self._those(account, visible)
        return await page_by_id(rows, lambda _: True, after=after, limit=limit)

    async def update(self, account: str, group: str, changes: GroupChanges, if_match: str | None) -> Stored[Group]:
        """Change a group; a changed connection is tested.

        Raises StaleWriteError, ConflictError (`field_fixed`, `group_kind`) and what `create` raises of its members.
        """
        stored = await self.get(account, group)
        require_match(stored.etag, if_match, "The group")
        present = stored.value
        check_fixed(present, changes)
        changed = replace(
            present,
            title=present.title if changes.title is KEEP else checked_title(changes.title),
            description=present.description if changes.description is KEEP else changes.description.strip(),
            schedule=present.schedule if changes.schedule is KEEP else changes.schedule,
            escrow=present.escrow if changes.escrow is KEEP else changes.escrow,
            key_policy=present.key_policy if changes.key_policy is KEEP else changes.key_policy,
            drill=present.drill if changes.drill is KEEP else changes.drill,
            updated_on=self._clock.now(),
        )
        check_settings(changed.description, changed.schedule, changed.escrow)
        if (changed.schedule, changed.drill) != (present.schedule, present.drill):
            self._check_schedule(changed.schedule)
            await self._check_drill(changed)
            changed = await self._planned(changed)
        if present.connection is not None and changes.connects:
            changed = await self._reconnected(changed, present.connection, changes)
        written = await self._groups.replace(account, group, changed, stored.etag)
        self._forget(account, group)
        await self._connections.note(written.value)
        return written

    async def select_vault(self, account: str, group: str, vault: str, if_match: str | None = None) -> Stored[Group]:
        """Link a group that has no vault to one that its connection discovers, by resource id.

        Raises StaleWriteError and ConflictError (`group_kind`, `field_fixed`, `not_connected`, `vault_not_offered`,
        `vault_already_linked`).
        """
        stored = await self.get(account, group)
        require_match(stored.etag, if_match, "The group")
        if stored.value.kind is not GroupKind.AZURE:
            raise ConflictError("A source group has no vault.", code="group_kind")
        check_fixed(stored.value, GroupChanges(vault=vault if stored.value.vault else KEEP))
        if stored.value.vault is not None:
            return stored
        linked = await self._planned(await self._linked(stored.value, vault))
        try:
            written = await self._groups.replace(
                account, group, replace(linked, updated_on=self._clock.now()), stored.etag
            )
        except StaleWriteError:
            await self._links.release(linked)
            raise
        self._forget(account, group)
        await self._connections.note(written.value)
        return written

    async def delete(self, account: str, group: str, if_match: str | None = None) -> None:
        """Delete a group without keys; ConflictError `group_not_empty`, StaleWriteError."""
        stored = await self.get(account, group)
        require_match(stored.etag, if_match, "The group")
        if (await self._index.page(group_tree(group), limit=1)).entries:
            raise ConflictError("The group holds keys.", code="group_not_empty")
        await self._groups.delete(account, group, stored.etag)
        self._forget(account, group)
        await self._links.release(stored.value)
        await self._connections.forget(stored.value)

    async def _load(self, account: str, group: str) -> Group:
        return (await self.get(account, group)).value

    def _forget(self, account: str, group: str) -> None:
        self._glimpses.drop(lambda key: key == (account, group))

    async def _drafted(self, account: str, actor: Actor, new: NewGroup) -> Group:
        now = self._clock.now()
        return Group(
            id=new_id(IdKind.GROUP),
            account=account,
            kind=new.kind,
            title=checked_title(new.title),
            created_by=actor,
            created_on=now,
            updated_on=now,
            description=new.description.strip(),
            schedule=new.schedule,
            escrow=new.escrow,
            key_policy=new.key_policy,
            drill=new.drill,
        )

    async def _connected(self, group: Group, draft: ConnectionDraft, vault: str | None) -> Group:
        connection = await self._connections.seal(group.account, group.id, draft, None)
        group = replace(group, connection=connection)
        if vault is not None:
            return await self._linked(group, vault)
        return reported(group, await self._connections.test_group(group))

    async def _linked(self, group: Group, vault: str) -> Group:
        """The group with its vault, which no other group of the account can have from here on."""
        report = await self._connections.test_group(group, vault)
        facts = find_vault(report, vault)
        if facts is None and report.cause is not ConnectionCause.VAULT_NOT_FOUND:
            raise ConflictError(
                f"The connection does not work: {report.detail}",
                code="not_connected",
                facts={"cause": str(report.cause)},
            )
        if facts is None:
            raise ConflictError("The connection shows no vault with this resource id.", code="vault_not_offered")
        await self._links.reserve(group.account, facts.resource_id, group.id)
        label = await self._links.label(group.account, facts.name, group.id)
        return reported(replace(group, vault=facts, label=label), report)

    async def _reconnected(self, group: Group, present: Connection, changes: GroupChanges) -> Group:
        draft = ConnectionDraft(
            cloud=present.cloud,
            credential=_as_it_is(present) if changes.credential is KEEP else changes.credential,
            subscription_id=present.subscription_id,
            tls=_tls_as_it_is(present) if changes.tls is KEEP else changes.tls,
            proxy=_proxy_as_it_is(present) if changes.proxy is KEEP else changes.proxy,
        )
        connection = await self._connections.seal(group.account, group.id, draft, present)
        group = replace(group, connection=connection)
        return reported(group, await self._connections.test_group(group))

    def _check_schedule(self, schedule: SyncSchedule) -> None:
        """Refuse a schedule that could not run, also while it is paused."""
        next_run(replace(schedule, paused=False), self._clock.now())

    async def _check_drill(self, group: Group) -> None:
        """Refuse a scratch group into which nothing could be restored."""
        check_drill(group.drill)
        if group.drill.restore_into is not None:
            await self._drills.check(group, DrillOrder(restore_into=group.drill.restore_into))

    async def _planned(self, group: Group) -> Group:
        """The group with its next sync and drill in the trees of due times, if it has a vault."""
        if group.vault is None:
            return group
        planned = self._drills.planned(replace(group, next_sync_on=next_run(group.schedule, self._clock.now())))
        await self._syncs.plan(planned)
        await self._drills.plan(planned)
        return planned

    async def _those(self, account: str, ids: Container[str]) -> AsyncIterator[tuple[str, Stored[Group]]]:
        found = await self._groups.get_many(account, sorted(ids))
        for id_ in sorted(found):
            yield id_, found[id_]


def _as_it_is(connection: Connection) -> CredentialDraft:
    credential = connection.credential
    return CredentialDraft(credential.kind, credential.tenant_id, credential.client_id)


def _tls_as_it_is(connection: Connection) -> TlsDraft:
    return TlsDraft(connection.tls.custom_ca, connection.tls.validate_host, KEEP)


def _proxy_as_it_is(connection: Connection) -> ProxyDraft | None:
    proxy = connection.proxy
    return ProxyDraft(proxy.url, proxy.username, KEEP) if proxy else None
