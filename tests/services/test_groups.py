"""Groups: created, linked once, edited, listed and deleted."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.accounts import GroupRole
from core.domain.clouds import CLOUDS, CloudName
from core.domain.connection_drafts import KEEP, CredentialDraft, ProxyDraft, TlsDraft
from core.domain.connections import ConnectionCause, CredentialKind
from core.domain.group_drafts import GroupChanges, NewGroup
from core.domain.groups import ConnectionState, EscrowSettings, Group, GroupKind, SyncSchedule
from core.domain.reservations import GRACE, Reservation
from core.domain.secrets import SecretText
from core.domain.summaries import group_tree
from core.errors import ConflictError, InvalidRequestError, NotFoundError, StaleWriteError
from tests.builders.azure import an_identity
from tests.builders.groups import ACTOR, GUID, SECRET, Registry, a_draft
from tests.fakes.vault import FACTS

OTHER = replace(FACTS, resource_id=FACTS.resource_id.replace("payments", "billing"), name="billing")
OTHER_GUID = "22222222-2222-2222-2222-222222222222"


@pytest.fixture
async def registry() -> Registry:
    registry = Registry()
    await registry.open()
    return registry


async def refused(work: object, code: str) -> ConflictError:
    with pytest.raises(ConflictError) as caught:
        await work  # type: ignore[misc]
    assert caught.value.code == code
    return caught.value


async def test_a_group_is_created_with_its_vault(registry: Registry) -> None:
    group = (await registry.azure_group(vault=FACTS.resource_id.upper())).value
    assert (group.vault, group.connection_state) == (FACTS, ConnectionState.CONNECTED)
    assert group.report is not None
    assert group.report.permissions
    assert group.report.vaults == ()
    assert group.next_sync_on is not None


async def test_whoever_creates_a_group_is_its_admin(registry: Registry) -> None:
    group = (await registry.azure_group()).value
    admin = await registry.office.principal_rows.get(registry.account, registry.admin.id)
    assert admin is not None
    assert admin.value.groups[group.id].role is GroupRole.ADMIN


async def test_a_secret_is_stored_sealed_and_shown_by_its_end(registry: Registry) -> None:
    group = (await registry.azure_group()).value
    assert group.connection is not None
    credential = group.connection.credential
    assert (credential.hint, SECRET in repr(group)) == ("wxyz", False)
    opened = await registry.connections.open(group)
    assert opened.credential_secret is not None
    assert opened.credential_secret.reveal() == SECRET


async def test_a_sealed_secret_opens_in_its_own_group_only(registry: Registry) -> None:
    group = (await registry.azure_group()).value
    stolen = replace(group, id="grp_another")
    with pytest.raises(Exception, match=r".") as caught:
        await registry.connections.open(stolen)
    assert SECRET not in str(caught.value)


async def test_a_group_is_saved_while_not_connected_and_says_why(registry: Registry) -> None:
    registry.vaults.cause = ConnectionCause.SECRET_WRONG
    group = (await registry.azure_group()).value
    assert (group.connection_state, group.vault) == (ConnectionState.NOT_CONNECTED, None)
    assert await registry.found() == {"not_connected"}


async def test_a_vault_cannot_be_linked_while_not_connected(registry: Registry) -> None:
    registry.vaults.cause = ConnectionCause.SECRET_WRONG
    error = await refused(registry.azure_group(vault=FACTS.resource_id), "not_connected")
    assert error.facts["cause"] == "secret_wrong"


async def test_a_vault_that_is_not_shown_cannot_be_linked(registry: Registry) -> None:
    await refused(registry.azure_group(vault=OTHER.resource_id), "vault_not_offered")


async def test_a_vault_is_linked_once_in_an_account(registry: Registry) -> None:
    await registry.azure_group(vault=FACTS.resource_id)
    await refused(registry.azure_group(vault=FACTS.resource_id.lower()), "vault_already_linked")
    other = Registry(office=registry.office)
    await other.open()
    await other.azure_group(vault=FACTS.resource_id)


async def test_of_two_who_link_a_vault_at_once_one_wins(registry: Registry) -> None:
    outcomes = await asyncio.gather(
        *(registry.azure_group(vault=FACTS.resource_id) for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert {getattr(outcome, "code", None) for outcome in outcomes if isinstance(outcome, BaseException)} == {
        "vault_already_linked"
    }


async def test_a_link_that_a_crash_left_over_is_taken_after_a_while(registry: Registry) -> None:
    await registry.azure_group(vault=FACTS.resource_id)
    id_ = next(id_ for _, id_ in registry.names._rows if id_.startswith("vault-"))
    stored = await registry.names.get(registry.account, id_)
    assert stored is not None
    await registry.names.replace(
        registry.account, id_, Reservation("grp_never_made", registry.clock.now()), stored.etag
    )
    await refused(registry.azure_group(vault=FACTS.resource_id), "vault_already_linked")
    registry.clock.move(GRACE + timedelta(seconds=1))
    assert (await registry.azure_group(vault=FACTS.resource_id)).value.vault == FACTS


async def test_a_vault_is_selected_later_and_once(registry: Registry) -> None:
    registry.vaults.vaults.append(OTHER)
    group = await registry.azure_group()
    selected = await registry.groups.select_vault(registry.account, group.value.id, FACTS.resource_id, group.etag)
    assert (selected.value.vault, selected.value.next_sync_on is None) == (FACTS, False)
    again = await registry.groups.select_vault(registry.account, group.value.id, FACTS.resource_id)
    assert again.etag == selected.etag
    await refused(registry.groups.select_vault(registry.account, group.value.id, OTHER.resource_id), "field_fixed")


async def test_a_selection_that_came_too_late_frees_the_vault(registry: Registry) -> None:
    group = await registry.azure_group()

    async def test_and_lose(*_: object) -> object:
        await registry.rows.replace(registry.account, group.value.id, group.value, group.etag)
        return report

    report = await registry.vaults.test(await registry.connections.open(group.value), FACTS)
    registry.vaults.test = test_and_lose  # type: ignore[assignment,method-assign]
    with pytest.raises(StaleWriteError):
        await registry.groups.select_vault(registry.account, group.value.id, FACTS.resource_id)
    assert registry.names._rows == {}


async def test_a_source_group_has_no_connection(registry: Registry) -> None:
    group = (await registry.source_group()).value
    assert group.connection_state is ConnectionState.NOT_APPLICABLE
    await refused(registry.groups.select_vault(registry.account, group.id, FACTS.resource_id), "group_kind")
    await refused(registry.connections.test_saved(registry.account, group.id), "group_kind")
    await refused(registry.groups.update(registry.account, group.id, GroupChanges(tls=TlsDraft()), None), "group_kind")


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (NewGroup(GroupKind.AZURE, "No connection"), "connection_invalid"),
        (NewGroup(GroupKind.SOURCE, "With connection", connection=a_draft()), "group_invalid"),
        (NewGroup(GroupKind.SOURCE, " "), "title_invalid"),
        (NewGroup(GroupKind.SOURCE, "x", description="d" * 2_001), "group_invalid"),
        (NewGroup(GroupKind.SOURCE, "x", escrow=EscrowSettings(keep_generations=0)), "group_invalid"),
        (NewGroup(GroupKind.SOURCE, "x", schedule=SyncSchedule(cron="never", paused=True)), "schedule_invalid"),
        (NewGroup(GroupKind.SOURCE, "x", schedule=SyncSchedule(time_zone="Mars/Olympus")), "schedule_invalid"),
        (NewGroup(GroupKind.SOURCE, "x", schedule=SyncSchedule(full_every_days=0)), "group_invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_cannot_be_created(registry: Registry, new: NewGroup, code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await registry.groups.create(registry.admin, ACTOR, new)
    assert caught.value.code == code
    assert [row async for row in registry.rows.scan(registry.account)] == []


async def test_title_description_schedule_and_escrow_change(registry: Registry) -> None:
    group = await registry.azure_group(vault=FACTS.resource_id)
    registry.vaults.tested.clear()
    changes = GroupChanges(
        title=" New ",
        description="What it is for",
        schedule=SyncSchedule(cron="30 4 * * *"),
        escrow=EscrowSettings(keep_generations=7),
    )
    changed = (await registry.groups.update(registry.account, group.value.id, changes, group.etag)).value
    assert (changed.title, changed.description, changed.escrow.keep_generations) == ("New", "What it is for", 7)
    assert changed.next_sync_on is not None
    assert (changed.next_sync_on.hour, changed.next_sync_on.minute) == (4, 30)
    assert changed.connection == group.value.connection
    assert registry.vaults.tested == []


async def test_a_paused_schedule_plans_nothing(registry: Registry) -> None:
    group = await registry.azure_group(vault=FACTS.resource_id)
    changes = GroupChanges(schedule=SyncSchedule(paused=True))
    assert (await registry.groups.update(registry.account, group.value.id, changes, None)).value.next_sync_on is None


async def test_an_edit_over_a_newer_state_is_refused(registry: Registry) -> None:
    group = await registry.azure_group()
    await registry.groups.update(registry.account, group.value.id, GroupChanges(title="One"), group.etag)
    with pytest.raises(StaleWriteError):
        await registry.groups.update(registry.account, group.value.id, GroupChanges(title="Two"), group.etag)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (GroupChanges(subscription_id=OTHER_GUID), "connection.subscription_id"),
        (GroupChanges(vault=OTHER.resource_id), "vault"),
        (GroupChanges(vault=None), "vault"),
        (GroupChanges(cloud=CLOUDS[CloudName.CHINA]), "connection.cloud"),
    ],
)
async def test_subscription_vault_and_cloud_are_fixed(registry: Registry, changes: GroupChanges, field: str) -> None:
    group = await registry.azure_group(vault=FACTS.resource_id)
    error = await refused(registry.groups.update(registry.account, group.value.id, changes, None), "field_fixed")
    assert error.field == field


async def test_what_is_fixed_may_be_repeated(registry: Registry) -> None:
    group = await registry.azure_group(vault=FACTS.resource_id)
    same = GroupChanges(
        title="New", subscription_id=GUID.upper(), vault=FACTS.resource_id.upper(), cloud=CLOUDS[CloudName.PUBLIC]
    )
    assert (await registry.groups.update(registry.account, group.value.id, same, None)).value.title == "New"


async def test_an_edit_keeps_the_secrets_that_it_does_not_mention(registry: Registry) -> None:
    tls = TlsDraft(client_certificate=SecretText(an_identity()[0]))
    proxy = ProxyDraft("http://proxy.example:3128", "me", SecretText("proxy-password"))
    group = (await registry.azure_group(connection=a_draft(tls=tls, proxy=proxy))).value
    assert group.connection is not None
    ca = an_identity()[0].partition("-----BEGIN PRIVATE")[0]
    changes = GroupChanges(
        credential=CredentialDraft(CredentialKind.CLIENT_SECRET, OTHER_GUID, GUID),
        tls=TlsDraft(),
        proxy=ProxyDraft("http://proxy.example:3128", "me"),
    )
    elsewhere = (
        (TlsDraft(custom_ca=ca, validate_host=False), KEEP),
        (KEEP, ProxyDraft("http://other.example:3128", "me")),
    )
    for tls_change, proxy_change in elsewhere:
        wanted = GroupChanges(tls=tls_change, proxy=proxy_change)
        with pytest.raises(InvalidRequestError) as caught:
            await registry.groups.update(registry.account, group.id, wanted, None)
        assert caught.value.code == "secret_required"
    changed = (await registry.groups.update(registry.account, group.id, changes, None)).value
    assert changed.connection is not None
    assert changed.connection.credential.sealed == group.connection.credential.sealed
    assert changed.connection.credential.tenant_id == OTHER_GUID
    # None, the default, takes a client certificate and a password away; KEEP leaves them.
    assert changed.connection.tls.sealed_client_certificate is None
    assert changed.connection.proxy is not None
    assert changed.connection.proxy.sealed_password is None


async def test_untouched_parts_keep_their_secrets(registry: Registry) -> None:
    pem, certificate = an_identity()
    tls = TlsDraft(client_certificate=SecretText(pem))
    proxy = ProxyDraft("http://proxy.example:3128", "me", SecretText("proxy-password"))
    group = (await registry.azure_group(connection=a_draft(tls=tls, proxy=proxy))).value
    new = CredentialDraft(CredentialKind.CLIENT_SECRET, GUID, GUID, SecretText("another-secret-of-19"))
    changed = (await registry.groups.update(registry.account, group.id, GroupChanges(credential=new), None)).value
    opened = await registry.connections.open(changed)
    assert opened.credential_secret is not None
    assert opened.credential_secret.reveal() == "another-secret-of-19"
    assert opened.client_certificate is not None
    assert opened.client_certificate.reveal() == pem
    assert opened.proxy_password is not None
    assert opened.proxy_password.reveal() == "proxy-password"
    assert changed.connection is not None
    assert (
        changed.connection.tls.client_certificate_thumbprint
        == certificate.fingerprint(
            certificate.signature_hash_algorithm  # type: ignore[arg-type]
        ).hex()
    )


async def test_another_kind_of_credential_needs_its_own_secret(registry: Registry) -> None:
    group = (await registry.azure_group()).value
    changes = GroupChanges(credential=CredentialDraft(CredentialKind.CLIENT_CERTIFICATE, GUID, GUID))
    with pytest.raises(InvalidRequestError) as caught:
        await registry.groups.update(registry.account, group.id, changes, None)
    assert caught.value.field == "connection.credential.secret"


async def test_a_kind_without_secret_drops_the_old_one(registry: Registry) -> None:
    group = (await registry.azure_group()).value
    changes = GroupChanges(credential=CredentialDraft(CredentialKind.MANAGED_IDENTITY, client_id=GUID))
    changed = (await registry.groups.update(registry.account, group.id, changes, None)).value
    assert changed.connection is not None
    assert (changed.connection.credential.sealed, changed.connection.credential.hint) == (None, None)


async def test_an_edited_connection_is_tested_with_its_vault(registry: Registry) -> None:
    group = (await registry.azure_group(vault=FACTS.resource_id)).value
    registry.vaults.cause = ConnectionCause.TENANT_UNKNOWN
    registry.vaults.tested.clear()
    changes = GroupChanges(credential=CredentialDraft(CredentialKind.CLIENT_SECRET, OTHER_GUID, GUID))
    changed = (await registry.groups.update(registry.account, group.id, changes, None)).value
    assert changed.connection_state is ConnectionState.NOT_CONNECTED
    assert [vault for _, vault in registry.vaults.tested] == [FACTS]
    assert "not_connected" in await registry.found()


async def test_groups_are_paged_by_id(registry: Registry) -> None:
    made = sorted([(await registry.source_group()).value.id for _ in range(5)])
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await registry.groups.page(registry.account, visible=None, after=after, limit=2)
        seen += [stored.value.id for stored in page.items]
        after = page.next
        if after is None:
            break
    assert seen == made


async def test_only_visible_groups_are_listed(registry: Registry) -> None:
    made = [(await registry.source_group()).value.id for _ in range(3)]
    page = await registry.groups.page(registry.account, visible={made[1], "grp_unknown"})
    assert [stored.value.id for stored in page.items] == [made[1]]


async def test_an_empty_group_is_deleted_and_its_vault_freed(registry: Registry) -> None:
    group = await registry.azure_group(vault=FACTS.resource_id)
    assert "no_purge_protection" in await registry.found()
    await registry.groups.delete(registry.account, group.value.id, group.etag)
    with pytest.raises(NotFoundError):
        await registry.groups.get(registry.account, group.value.id)
    assert await registry.found() == set()
    assert (await registry.azure_group(vault=FACTS.resource_id)).value.vault == FACTS


async def test_a_group_with_keys_is_not_deleted(registry: Registry) -> None:
    group = await registry.azure_group(vault=FACTS.resource_id)
    await registry.index.apply(group_tree(group.value.id), {"k": {"id": "key_x"}})
    await refused(registry.groups.delete(registry.account, group.value.id), "group_not_empty")


async def test_a_saved_connection_is_tested_and_the_outcome_recorded(registry: Registry) -> None:
    group = (await registry.azure_group(vault=FACTS.resource_id)).value
    registry.vaults.vaults = [replace(FACTS, purge_protection=True)]
    registry.clock.move(timedelta(hours=1))
    report = await registry.connections.test_saved(registry.account, group.id)
    recorded = await current(registry, group)
    assert report.connected
    assert recorded.report is not None
    assert recorded.report.tested_on == registry.clock.now()
    assert recorded.vault is not None
    assert recorded.vault.purge_protection
    assert await registry.found() == set()


async def test_a_test_of_a_connection_that_was_edited_meanwhile_is_not_recorded(registry: Registry) -> None:
    group = (await registry.azure_group()).value
    assert group.report is not None
    assert group.connection is not None
    edited = replace(group, connection=replace(group.connection, subscription_id=OTHER_GUID))
    real = registry.vaults.test

    async def test_while_edited(*arguments: object) -> object:
        report = await real(*arguments)  # type: ignore[arg-type]
        stored = await registry.groups.get(registry.account, group.id)
        await registry.rows.replace(registry.account, group.id, edited, stored.etag)
        return report

    registry.vaults.test = test_while_edited  # type: ignore[assignment,method-assign]
    registry.clock.move(timedelta(hours=1))
    await registry.connections.test_saved(registry.account, group.id)
    assert (await current(registry, group)).report == group.report


async def test_an_unsaved_connection_is_tested_in_the_open(registry: Registry) -> None:
    report = await registry.connections.test_unsaved(registry.account, a_draft(), FACTS.resource_id)
    assert report.permissions
    (first, _), (_, vault) = registry.vaults.tested
    assert first.credential_secret is not None
    assert first.credential_secret.reveal() == SECRET
    assert first.connection.credential.sealed is None
    assert vault == FACTS
    missing = await registry.connections.test_unsaved(registry.account, a_draft(), OTHER.resource_id)
    assert missing.cause is ConnectionCause.VAULT_NOT_FOUND


async def test_an_unsaved_connection_needs_its_secret(registry: Registry) -> None:
    draft = a_draft(credential=CredentialDraft(CredentialKind.CLIENT_SECRET, GUID, GUID))
    with pytest.raises(InvalidRequestError):
        await registry.connections.test_unsaved(registry.account, draft)


async def test_a_credential_near_its_end_is_a_finding(registry: Registry) -> None:
    ends = registry.clock.now() + timedelta(days=20)
    credential = CredentialDraft(CredentialKind.CLIENT_SECRET, GUID, GUID, SecretText(SECRET), ends)
    await registry.azure_group(connection=a_draft(credential=credential))
    assert await registry.found() == {"credential_expiring"}


async def current(registry: Registry, group: Group) -> Group:
    return (await registry.groups.get(registry.account, group.id)).value
