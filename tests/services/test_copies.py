"""Copies: ordered whole or not at all, made each by itself, and linked at both ends."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.groups import Group
from core.domain.identifiers import IdKind, derived_id
from core.domain.jobs import Job, JobStatus, ResultStatus
from core.domain.key_kinds import KeyFamily, KeyKind, Protection
from core.domain.keys import KeyOrigin, Validity
from core.domain.new_keys import KeyNames, KeySettings
from core.domain.source_keys import MaterialOrigin, SourceKey
from core.errors import (
    ConflictError,
    KeystewardError,
    PolicyViolationError,
    VaultDeniedError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)
from core.services.copies import TARGETS_LIMIT, WantedCopy
from core.services.source_keys import SourceUse
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW
from tests.builders.new_keys import (
    AES,
    GROUPS,
    MORE_SOURCES,
    PREMIUM,
    RSA,
    SOURCES,
    KeyStage,
    a_source_group,
    only_version,
    use_of,
)
from tests.fakes.interleaved import InterleavedCollection
from tests.fakes.vault import FakeVault

EVERYWHERE = (GROUP, PREMIUM, MORE_SOURCES)
AWAY = VaultUnavailableError("away")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between two looks."""
    monkeypatch.setattr("core.services.placements._SECONDS_BETWEEN_LOOKS", 0)


@pytest.fixture
async def stage() -> KeyStage:
    stage = KeyStage()
    await stage.set_up()
    return stage


def wanted(group: str | Group, name: str | None = None, azure_name: str | None = None, **asked: object) -> WantedCopy:
    names = KeyNames(name, azure_name, bool(asked.pop("reuse_purged", False)))
    return WantedCopy(GROUPS[group] if isinstance(group, str) else group, names, KeySettings(**asked))


async def order(stage: KeyStage, copies: Sequence[WantedCopy], request: str = "int_order") -> Job:
    return await stage.copies.start(request, ACCOUNT, use_of(await source_of(stage)), copies, ALICE)


async def copied(stage: KeyStage, copies: Sequence[WantedCopy], **asked: object) -> Job:
    await order(stage, copies, **asked)
    (job,) = await stage.work()
    return job


async def refusal(stage: KeyStage, copies: Sequence[WantedCopy], **asked: object) -> tuple[str, str | None]:
    with pytest.raises(KeystewardError) as refused:
        await order(stage, copies, **asked)
    assert not stage.outbox
    return refused.value.code, refused.value.field


async def source_of(stage: KeyStage) -> SourceKey:
    """The source key of these tests."""
    return next(key for key in await stage.source_keys() if key.name == "master")


def statuses(job: Job) -> list[str]:
    return [result.code or result.status.value for result in job.results]


def refuse(vault: FakeVault, error: KeystewardError, *operations: str, after: bool = False) -> None:
    def hook(operation: str, name: str) -> None:
        if operation in operations:
            raise error

    setattr(vault, "after" if after else "before", hook)


def heal(vault: FakeVault) -> None:
    vault.before = vault.after = lambda operation, name: None


# --- made ---------------------------------------------------------------------------------------------------------


async def test_one_key_is_copied_to_vaults_and_groups_with_a_link_at_both_ends(stage: KeyStage) -> None:
    source = await stage.a_source_key(tags=(("team", "cards"),))
    job = await copied(stage, [wanted(group) for group in EVERYWHERE])
    assert (job.status, statuses(job)) == (JobStatus.SUCCEEDED, ["done"] * 3)
    assert (job.progress.done, job.progress.total, job.progress.errors_total) == (3, 3, 0)
    (in_vault,) = await stage.virtual_keys()
    (in_hsm,) = [key for key in await stage.virtual_keys(PREMIUM) if not key.azure_name.startswith("keysteward-kek-")]
    (in_group,) = await stage.source_keys(MORE_SOURCES)
    assert [result.key for result in job.results] == [in_vault.id, in_hsm.id, in_group.id]
    assert [in_vault.name, in_hsm.name, in_group.name] == ["master_copy1", "master_copy2", "master_copy3"]
    assert [in_vault.azure_name, in_hsm.azure_name] == ["master-copy1", "master-copy2"]
    for key, vault, type_ in ((in_vault, stage.vault, "EC"), (in_hsm, stage.premium, "EC-HSM")):
        version = only_version(vault, key.azure_name)
        assert (version.public_key, version.type) == (source.current.public_key, type_)
        assert (version.operations, version.tags) == (("sign", "verify"), (("team", "cards"),))
        assert (key.origin, key.created_by, key.history[0].event) == (KeyOrigin.KEYSTEWARD, ALICE, "key.copied")
    assert in_group.current.origin is MaterialOrigin.COPIED
    assert (in_group.permissions, in_group.tags) == (source.permissions, source.tags)
    with await stage.material_of(in_group) as copy, await stage.material_of(source) as material:
        assert copy == material
    for one in (in_vault, in_hsm, in_group):
        assert one.copied_from is not None
        assert (one.copied_from.group, one.copied_from.key, one.copied_from.name) == (SOURCES, source.id, "master")
        assert (one.copied_from.copied_by, one.copied_from.copied_on) == (ALICE, NOW)
        assert [version.source_version for version in one.copied_from.versions] == [1]
    links = (await source_of(stage)).copies
    assert {(link.key, link.name, link.azure_name, link.group, link.group_title) for link in links} == {
        (in_vault.id, "master_copy1", "master-copy1", GROUP, "Payments"),
        (in_hsm.id, "master_copy2", "master-copy2", PREMIUM, "Premium"),
        (in_group.id, "master_copy3", None, MORE_SOURCES, GROUPS[MORE_SOURCES].title),
    }
    await stage.check_lists()


async def test_the_version_that_was_asked_for_is_copied_whatever_comes_meanwhile(stage: KeyStage) -> None:
    first = await stage.a_source_key()
    await stage.another_version(first)
    await stage.copies.start("int_order", ACCOUNT, use_of(first, 1), [wanted(GROUP)], ALICE)
    await stage.work()
    (key,) = await stage.virtual_keys()
    assert key.versions[-1].public_key == first.current.public_key
    await stage.copies.start("int_other", ACCOUNT, use_of(first), [wanted(GROUP)], ALICE)
    third = await stage.another_version(await source_of(stage))
    await stage.work()
    newest = next(one for one in await stage.virtual_keys() if one.id != key.id)
    # The current one when the copy was ordered.
    assert newest.versions[-1].public_key == third.versions[1].public_key
    assert [link.source_version for link in (await source_of(stage)).copies] == [1, 2]


async def test_what_is_said_of_a_copy_counts(stage: KeyStage) -> None:
    await stage.a_source_key(tags=(("a", "1"),))
    validity = Validity(enabled=False, expires_on=NOW + timedelta(days=9))
    job = await copied(
        stage,
        [
            wanted(PREMIUM, "In software", "soft", protection=Protection.SOFTWARE, operations=("verify",), tags=()),
            wanted(MORE_SOURCES, "In a group", permissions=(), validity=validity),
            wanted(GROUP, azure_name="Unnamed"),
        ],
    )
    assert job.status is JobStatus.SUCCEEDED
    version = only_version(stage.premium, "soft")
    assert (version.type, version.operations, version.tags) == ("EC", ("verify",), ())
    (in_group,) = await stage.source_keys(MORE_SOURCES)
    assert (in_group.name, in_group.permissions, in_group.current.validity) == ("In a group", (), validity)
    assert [key.name for key in await stage.virtual_keys()] == ["payments/Unnamed"]


async def test_many_copies_of_one_key_at_once_are_all_linked(stage: KeyStage) -> None:
    stage.source_rows = InterleavedCollection()
    stage.wire()
    await stage.a_source_key(kind=AES)
    groups = [a_source_group(f"grp_{number:024d}") for number in range(60)]
    for group in groups:
        await stage.groups.insert(ACCOUNT, group.id, group)
    job = await copied(stage, [wanted(group) for group in groups])
    assert (job.status, job.attempts, job.progress.errors_total) == (JobStatus.SUCCEEDED, 1, 0)
    source = await source_of(stage)
    assert {link.group for link in source.copies} == {group.id for group in groups}
    assert [entry.event for entry in source.history].count("key.copied_to") == len(groups)


# --- ordered ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("copies", "code", "field"),
    [
        ([], "invalid_field", "targets"),
        ([wanted(GROUP)] * (TARGETS_LIMIT + 1), "invalid_field", "targets"),
        ([wanted(GROUP), wanted(GROUP, "a/b")], "key_name_invalid", "targets.1.name"),
        ([wanted(GROUP, "ok", "not ok")], "azure_name_invalid", "targets.0.azure_name"),
        ([wanted(MORE_SOURCES, "ok", "ok")], "field_for_other_kind", "targets.0.azure_name"),
        ([wanted(GROUP, "one"), wanted(MORE_SOURCES, "ONE")], "key_display_name_taken", "targets.1.name"),
        ([wanted(GROUP, "one", "x"), wanted(GROUP, "two", "X")], "key_display_name_taken", "targets.1.name"),
        ([wanted(GROUP), wanted(GROUP, permissions=("sign",))], "field_for_other_kind", "targets.1.permissions"),
        ([wanted(MORE_SOURCES, operations=("sign",))], "field_for_other_kind", "targets.0.operations"),
        ([wanted(MORE_SOURCES, permissions=("wrap",))], "key_not_allowed", "targets.0.permissions"),
        ([wanted(GROUP, operations=("encrypt",))], "key_not_allowed", "targets.0.operations"),
        ([wanted(GROUP, protection=Protection.HSM)], "key_not_allowed", "targets.0.protection"),
        ([wanted(GROUP, tags=(("", ""),))], "tags_invalid", "targets.0.tags"),
        ([wanted(MORE_SOURCES, validity=Validity(expires_on=NOW))], "dates_invalid", "targets.0.expires_on"),
        ([wanted(replace(GROUPS[GROUP], vault=None))], "vault_not_selected", "targets.0"),
    ],
)
async def test_what_cannot_be_copied_so_is_refused_with_the_number_of_the_target(
    stage: KeyStage, copies: list[WantedCopy], code: str, field: str
) -> None:
    await stage.a_source_key()
    assert await refusal(stage, copies) == (code, field)
    assert [row.value.holder async for _, row in stage.name_rows.scan(ACCOUNT)] == ["int_source_master"]
    assert [row async for row in stage.job_rows.scan(ACCOUNT)] == []


@pytest.mark.parametrize(
    ("kind", "group", "field"),
    [(AES, GROUP, "type"), (AES, PREMIUM, "type"), (KeyKind(KeyFamily.EC, curve="P-256K"), PREMIUM, "curve")],
    ids=str,
)
async def test_a_kind_that_a_target_does_not_take_is_not_copied_there(
    stage: KeyStage, kind: KeyKind, group: str, field: str
) -> None:
    await stage.a_source_key(kind=kind)
    assert await refusal(stage, [wanted(MORE_SOURCES), wanted(group)]) == ("key_not_allowed", f"targets.1.{field}")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"permissions": ("sign",)}, "key_permission_missing"),
        ({"validity": Validity(enabled=False)}, "key_not_active"),
    ],
)
async def test_a_key_that_may_not_leave_is_not_copied(stage: KeyStage, settings: dict[str, object], code: str) -> None:
    await stage.a_source_key(**settings)
    assert (await refusal(stage, [wanted(GROUP)]))[0] == code


async def test_a_key_that_may_do_nothing_but_leave_needs_operations_for_a_vault(stage: KeyStage) -> None:
    await stage.a_source_key(permissions=("export",))
    assert await refusal(stage, [wanted(GROUP)]) == ("key_not_allowed", "targets.0.operations")
    job = await copied(stage, [wanted(GROUP, operations=("sign",)), wanted(MORE_SOURCES)])
    assert job.status is JobStatus.SUCCEEDED


async def test_what_is_not_there_is_not_copied(stage: KeyStage) -> None:
    key = await stage.a_source_key()
    for use, code in ((SourceUse(SOURCES, "key_nobodys"), "key_not_found"), (use_of(key, 2), "key_version_not_found")):
        with pytest.raises(KeystewardError) as refused:
            await stage.copies.start("int_order", ACCOUNT, use, [wanted(GROUP)], ALICE)
        assert refused.value.code == code


async def test_an_order_of_which_one_name_is_taken_holds_none_of_the_others(stage: KeyStage) -> None:
    await stage.a_source_key()
    await stage.a_source_key("Taken")
    found = await refusal(stage, [wanted(GROUP, "Free", "free"), wanted(PREMIUM, "taken", "x")])
    assert found == ("key_display_name_taken", "targets.1.name")
    job = await copied(stage, [wanted(GROUP, "Free", "free"), wanted(PREMIUM, "Other", "x")], request="int_again")
    assert job.status is JobStatus.SUCCEEDED


async def test_names_that_are_ordered_are_held_until_the_job_has_made_them(stage: KeyStage) -> None:
    await stage.a_source_key()
    await order(stage, [wanted(GROUP, "Mine", "mine")])
    with pytest.raises(ConflictError):
        await stage.a_source_key("mine")
    (job,) = await stage.work()
    assert job.status is JobStatus.SUCCEEDED


async def test_suggested_names_go_on_from_the_copies_that_there_are(stage: KeyStage) -> None:
    await stage.a_source_key()
    await copied(stage, [wanted(GROUP), wanted(MORE_SOURCES)])
    assert await stage.copies.suggested_name(ACCOUNT, await source_of(stage)) == "master_copy3"
    job = await copied(stage, [wanted(GROUP, "master_copy3", "x"), wanted(GROUP)], request="int_again")
    assert [result.name for result in job.results] == ["master_copy3", "master_copy4"]


async def test_the_same_order_again_is_the_same_job(stage: KeyStage) -> None:
    await stage.a_source_key()
    first = await order(stage, [wanted(GROUP)])
    assert await order(stage, [wanted(GROUP)]) == first
    jobs = await stage.work()
    assert {job.id for job in jobs} == {first.id} == {derived_id(IdKind.JOB, ACCOUNT, "int_order")}
    assert (await order(stage, [wanted(GROUP)])).status is JobStatus.SUCCEEDED
    assert not stage.outbox
    assert len(await stage.virtual_keys()) == 1
    listed, _ = await stage.jobs.page(ACCOUNT, after=None, limit=10)
    assert [job.id for job in listed] == [first.id]


@pytest.mark.parametrize("again", [True, False], ids=["repeated", "reconciled"])
async def test_an_order_that_was_cut_off_before_its_job_was_launched_is_launched_later(
    stage: KeyStage, again: bool
) -> None:
    await stage.a_source_key()
    applied = stage.index.apply

    async def lost(tree: str, changes: object) -> None:
        if tree.startswith("jobs/"):
            raise VaultUnavailableError("away", code="storage_unavailable")
        await applied(tree, changes)

    stage.index.apply = lost
    with pytest.raises(VaultUnavailableError):
        await order(stage, [wanted(GROUP)])
    stage.index.apply = applied
    assert not stage.outbox
    if again:
        await order(stage, [wanted(GROUP)])
    else:
        stage.clock.move(timedelta(minutes=5))
        assert await stage.jobs.reconcile() == 1
    (job,) = await stage.work()
    assert job.status is JobStatus.SUCCEEDED
    listed, _ = await stage.jobs.page(ACCOUNT, after=None, limit=10)
    assert [one.id for one in listed] == [job.id]


async def test_the_same_order_many_times_at_once_is_one_job(stage: KeyStage) -> None:
    stage.job_rows = InterleavedCollection()
    stage.name_rows = InterleavedCollection()
    stage.wire()
    await stage.a_source_key()
    jobs = await asyncio.gather(*(order(stage, [wanted(group) for group in EVERYWHERE]) for _ in range(4)))
    assert len({job.id for job in jobs}) == 1
    await stage.work()
    assert len((await source_of(stage)).copies) == 3
    await stage.check_lists()


# --- targets that fail --------------------------------------------------------------------------------------------


async def test_a_target_that_fails_does_not_stop_the_others(stage: KeyStage) -> None:
    await stage.a_source_key()
    refuse(stage.premium, PolicyViolationError("bad", code="vault_refused"), "import_transfer_blob")
    job = await copied(stage, [wanted(group) for group in EVERYWHERE])
    assert (job.status, statuses(job)) == (JobStatus.FAILED, ["done", "vault_refused", "done"])
    assert [(error.code, error.key) for error in job.progress.errors] == [
        ("vault_refused", "master_copy2"), ("targets_failed", None),
    ]  # fmt: skip
    assert {link.name for link in (await source_of(stage)).copies} == {"master_copy1", "master_copy3"}
    # The name of what failed is free.
    await stage.a_source_key("master_copy2")
    await stage.check_lists()


@pytest.mark.parametrize(
    ("error", "code"),
    [(VaultDeniedError("no import"), "vault_denied"), (ConflictError("busy", code="vault_conflict"), "vault_conflict")],
)
async def test_every_target_says_why_it_failed(stage: KeyStage, error: KeystewardError, code: str) -> None:
    await stage.a_source_key()
    refuse(stage.vault, error, "import_key")
    job = await copied(stage, [wanted(GROUP), wanted(GROUP)])
    assert statuses(job) == [code, code]
    assert all(result.detail == error.detail and result.key is None for result in job.results)
    assert await stage.open_intents() == 0
    assert (await source_of(stage)).copies == ()


async def test_a_group_that_is_gone_by_then_fails_alone(stage: KeyStage) -> None:
    await stage.a_source_key()
    await order(stage, [wanted(GROUP), wanted(PREMIUM)])
    await stage.groups.delete(ACCOUNT, PREMIUM)
    (job,) = await stage.work()
    assert statuses(job) == ["done", "group_not_found"]


async def test_a_source_key_that_may_not_leave_any_more_does_not(stage: KeyStage) -> None:
    source = await stage.a_source_key()
    await order(stage, [wanted(GROUP)])
    stored = await stage.made.source_keys.get(ACCOUNT, SOURCES, source.id)
    await stage.source_rows.replace(SOURCES, source.id, replace(stored.value, permissions=("sign",)), stored.etag)
    (job,) = await stage.work()
    assert statuses(job) == ["key_permission_missing"]
    assert not stage.vault.live


async def test_a_target_whose_vault_is_away_is_tried_again_and_the_others_are_not(stage: KeyStage) -> None:
    await stage.a_source_key()
    refuse(stage.premium, AWAY, "get_version")
    await order(stage, [wanted(group) for group in EVERYWHERE])
    (job,) = await stage.work()
    assert (job.status, job.results[1].status) == (JobStatus.QUEUED, ResultStatus.PENDING)
    assert statuses(job) == ["done", "vault_unavailable", "done"]
    imported = stage.vault.calls["import_key"]
    heal(stage.premium)
    stage.clock.move(timedelta(minutes=2))
    (job,) = await stage.work()
    assert (job.status, statuses(job)) == (JobStatus.SUCCEEDED, ["done"] * 3)
    assert stage.vault.calls["import_key"] == imported == 1
    assert len((await source_of(stage)).copies) == 3


@pytest.mark.parametrize("after", [True, False])
async def test_a_target_whose_answer_was_lost_is_made_once(stage: KeyStage, after: bool) -> None:
    await stage.a_source_key()
    refuse(stage.vault, VaultOutcomeUnknownError("no answer"), "import_key", after=after)
    await order(stage, [wanted(GROUP)])
    (job,) = await stage.work()
    if not after:
        assert statuses(job) == ["vault_outcome_unknown"]
        heal(stage.vault)
        stage.clock.move(timedelta(minutes=2))
        (job,) = await stage.work()
    assert (job.status, statuses(job)) == (JobStatus.SUCCEEDED, ["done"])
    (key,) = await stage.virtual_keys()
    assert key.versions == (only_version(stage.vault, "master-copy1"),)
    assert [link.key for link in (await source_of(stage)).copies] == [key.id]


# --- cancelled ----------------------------------------------------------------------------------------------------


async def test_a_job_that_is_cancelled_begins_nothing_more_and_leaves_nothing_half_done(stage: KeyStage) -> None:
    stage.source_rows = InterleavedCollection()
    stage.wire()
    await stage.a_source_key(kind=RSA)
    job = await order(stage, [wanted(MORE_SOURCES) for _ in range(30)])
    begun = 0
    whole = stage.material_rows.insert

    async def slow(partition: str, id_: str, value: object) -> object:
        nonlocal begun
        begun += 1
        if begun == 3:
            await stage.jobs.cancel(ACCOUNT, job.id)
        await asyncio.sleep(0)
        return await whole(partition, id_, value)

    stage.material_rows.insert = slow
    (job,) = await stage.work()
    assert job.status is JobStatus.CANCELLED
    made = await stage.source_keys(MORE_SOURCES)
    assert 3 <= len(made) < 30
    done = [result for result in job.results if result.status is ResultStatus.DONE]
    assert {result.key for result in done} == {key.id for key in made}
    assert {link.key for link in (await source_of(stage)).copies} == {key.id for key in made}
    await stage.check_lists()


async def test_a_job_that_is_cancelled_before_it_begins_makes_nothing(stage: KeyStage) -> None:
    await stage.a_source_key()
    job = await order(stage, [wanted(GROUP)])
    await stage.jobs.cancel(ACCOUNT, job.id)
    (job,) = await stage.work()
    assert (job.status, statuses(job)) == (JobStatus.CANCELLED, ["target_not_tried"])
    assert not stage.vault.live
    stage.clock.move(timedelta(minutes=11))
    await stage.a_source_key("master_copy1")


async def test_a_copy_of_a_cancelled_job_that_the_vault_had_made_is_recorded_and_linked(stage: KeyStage) -> None:
    await stage.a_source_key()

    def lost(operation: str, name: str) -> None:
        if operation == "import_key":
            refuse(stage.vault, AWAY, "list_versions")
            raise VaultOutcomeUnknownError("no answer")

    stage.vault.after = lost
    job = await order(stage, [wanted(GROUP)])
    (job,) = await stage.work()
    assert job.status is JobStatus.QUEUED
    await stage.jobs.cancel(ACCOUNT, job.id)
    heal(stage.vault)
    stage.clock.move(timedelta(minutes=6))
    assert await stage.made.placements.reconcile() == 1
    (key,) = await stage.virtual_keys()
    assert (key.name, key.origin) == ("master_copy1", KeyOrigin.KEYSTEWARD)
    assert [link.key for link in (await source_of(stage)).copies] == [key.id]
