"""Source keys: made once, with material that opens to the key it belongs to and to no other."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.key_kinds import KeyKind, permissions_of
from core.domain.keys import KeyState, Validity
from core.domain.new_keys import NewKey
from core.domain.secrets import SecretBytes
from core.domain.source_keys import MaterialOrigin, SourceKey
from core.errors import (
    ConflictError,
    IntegrityError,
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultUnavailableError,
)
from core.material.material import KeyMaterial, WipedMaterialError
from core.ports import Binding, Stored
from core.services.source_keys import NewSourceVersion, SourceUse
from tests.builders.keys import ACCOUNT, ALICE, NOW
from tests.builders.new_keys import AES, EC, GROUP, MORE_SOURCES, RSA, SOURCES, KeyStage, use_of
from tests.builders.source_keys import a_link
from tests.builders.syncs import ReversingSealer
from tests.fakes.interleaved import InterleavedCollection
from tests.material.keys import ALL_KINDS
from tests.material.keys import a_key as material_of_kind

NAME = "Card key"
DAY = timedelta(days=1)
ALWAYS = Validity()


@pytest.fixture
async def stage() -> KeyStage:
    stage = KeyStage()
    stage.source_rows = InterleavedCollection()
    stage.wire()
    await stage.set_up()
    return stage


def new(stage: KeyStage, request: str = "int_1", group: str = SOURCES, **asked: object) -> NewKey:
    return stage.key(request, group, **{"name": NAME} | asked)


async def generate(stage: KeyStage, request: str = "int_1", kind: KeyKind = EC, **asked: object) -> SourceKey:
    return (await stage.made.source_keys.generate(new(stage, request, **asked), kind)).value


async def rows_of(stage: KeyStage, key: SourceKey) -> list[str]:
    return [id_ async for id_, _ in stage.material_rows.scan(key.id)]


async def add(
    stage: KeyStage,
    key: SourceKey,
    request: str = "int_v",
    material: KeyMaterial | None = None,
    if_match: str | None = None,
    validity: Validity = ALWAYS,
) -> SourceKey:
    version = NewSourceVersion(request, material, validity, ALICE)
    return (await stage.made.source_keys.add_version(ACCOUNT, key.group, key.id, version, if_match)).value


async def stored(stage: KeyStage, key: SourceKey) -> Stored[SourceKey]:
    return await stage.made.source_keys.get(ACCOUNT, key.group, key.id)


# --- made ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if str(kind) not in {"RSA 3072", "RSA 4096"}], ids=str)
async def test_a_generated_key_has_material_that_opens_to_its_public_key(stage: KeyStage, kind: KeyKind) -> None:
    key = await generate(stage, kind=kind, permissions=("export",), tags=(("b", "2"), ("a", "1")))
    assert (key.name, key.kind, key.permissions) == (NAME, kind, ("export",))
    assert (key.tags, key.created_by, key.created_on) == ((("a", "1"), ("b", "2")), ALICE, NOW)
    assert [(one.number, one.origin, one.created_by) for one in key.versions] == [(1, MaterialOrigin.GENERATED, ALICE)]
    assert [(entry.event, entry.actor) for entry in key.history] == [("key.created", ALICE)]
    with await stage.material_of(key) as material:
        assert (material.kind, material.public_key) == (kind, key.current.public_key)
    assert await rows_of(stage, key) == [key.current.material]
    await stage.check_lists()


async def test_imported_material_is_the_keys_and_is_not_left_with_who_brought_it(stage: KeyStage) -> None:
    given = material_of_kind(EC)
    key = (await stage.made.source_keys.bring(new(stage, permissions=("export",)), given)).value
    assert (key.current.origin, key.current.public_key) == (MaterialOrigin.IMPORTED, given.public_key)
    assert key.history[0].event == "key.imported"
    with await stage.material_of(key) as kept:
        assert kept == material_of_kind(EC)
    with pytest.raises(WipedMaterialError):
        given.canonical()


async def test_a_key_that_nobody_named_permissions_for_is_not_exported(stage: KeyStage) -> None:
    key = await generate(stage)
    assert key.permissions == permissions_of(EC.family)
    with pytest.raises(ConflictError) as refusal:
        await stage.material_of(key)
    assert refusal.value.code == "key_permission_missing"


async def test_the_same_request_again_returns_the_same_key(stage: KeyStage) -> None:
    key = await generate(stage)
    assert await generate(stage) == key
    # Whatever became of it since.
    changed = await add(stage, key)
    assert await generate(stage) == changed
    assert len(await rows_of(stage, key)) == 2
    assert len(await stage.source_keys()) == 1


async def test_the_same_request_many_times_at_once_makes_one_key(stage: KeyStage) -> None:
    stage.material_rows = InterleavedCollection()
    stage.name_rows = InterleavedCollection()
    stage.wire()
    made = await asyncio.gather(*(generate(stage) for _ in range(5)))
    assert {key.current.public_key.thumbprint for key in made} == {made[0].current.public_key.thumbprint}
    (key,) = await stage.source_keys()
    assert len(key.versions) == len(key.history) == len(await rows_of(stage, key)) == 1
    await stage.check_lists()


@pytest.mark.parametrize(
    ("asked", "code", "field"),
    [
        ({"name": None}, "key_name_invalid", "name"),
        ({"name": "a/b"}, "key_name_invalid", "name"),
        ({"azure_name": "card-key"}, "field_for_other_kind", "azure_name"),
        ({"operations": ("sign",)}, "field_for_other_kind", "operations"),
        ({"permissions": ("wrap",)}, "key_not_allowed", "permissions"),
        ({"validity": Validity(expires_on=NOW)}, "dates_invalid", "expires_on"),
        ({"tags": (("", ""),)}, "tags_invalid", "tags"),
        ({"group": GROUP}, "group_kind", None),
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_nothing(
    stage: KeyStage, asked: dict[str, object], code: str, field: str | None
) -> None:
    with pytest.raises(KeystewardError) as refusal:
        await stage.made.source_keys.generate(new(stage, **asked), EC)
    assert (refusal.value.code, refusal.value.field) == (code, field)
    assert not await stage.source_keys()
    assert [row async for row in stage.name_rows.scan(ACCOUNT)] == []


async def test_a_name_is_one_keys_in_all_groups_of_the_account(stage: KeyStage) -> None:
    await generate(stage)
    with pytest.raises(ConflictError) as refusal:
        await generate(stage, "int_2", name="card KEY", group=MORE_SOURCES)
    assert (refusal.value.code, refusal.value.field) == ("key_display_name_taken", "name")
    assert not await stage.source_keys(MORE_SOURCES)


async def test_a_key_whose_material_cannot_be_sealed_is_not_made_and_holds_no_name(stage: KeyStage) -> None:
    class Away(ReversingSealer):
        async def seal(self, binding: Binding, content: SecretBytes) -> str:
            raise VaultUnavailableError("away", code="sealing_key_unavailable")

    stage.sealer, whole = Away(), stage.sealer
    stage.wire()
    with pytest.raises(VaultUnavailableError):
        await generate(stage)
    stage.sealer = whole
    stage.wire()
    assert not await stage.source_keys()
    await generate(stage, "int_2")


# --- opened -------------------------------------------------------------------------------------------------------


async def test_material_opens_only_for_the_key_and_version_that_it_was_stored_for(stage: KeyStage) -> None:
    one = await add(stage, await generate(stage, permissions=("export",)))
    other = await generate(stage, "int_2", name="Other", permissions=("export",))

    async def moved(row: str, key: SourceKey, to: str) -> None:
        found = await stage.material_rows.get(one.id, row)
        assert found is not None
        await stage.material_rows.delete(key.id, to)
        await stage.material_rows.insert(key.id, to, found.value)

    first, second = (version.material for version in one.versions)
    await moved(first, other, other.current.material)
    await moved(first, one, second)
    for key in (one, other):
        with pytest.raises((IntegrityError, AssertionError)):  # the fake sealer asserts that bindings are the same
            await stage.material_of(key)


async def test_material_that_is_not_what_the_record_says_is_not_handed_out(stage: KeyStage) -> None:
    key = await add(stage, await generate(stage, permissions=("export",)))
    found = await stored(stage, key)
    first, second = key.versions
    exchanged = replace(key, versions=(first, replace(second, material=first.material)))
    await stage.source_rows.replace(key.group, key.id, exchanged, found.etag)
    with pytest.raises(IntegrityError) as refusal:
        await stage.material_of(key)
    assert (refusal.value.code, refusal.value.facts) == ("material_altered", {"key": key.id, "version": 2})


async def test_material_that_is_gone_is_said_to_be(stage: KeyStage) -> None:
    key = await generate(stage, permissions=("export",))
    await stage.material_rows.delete(key.id, key.current.material)
    with pytest.raises(IntegrityError) as refusal:
        await stage.material_of(key)
    assert refusal.value.code == "material_missing"


@pytest.mark.parametrize(
    ("use", "account", "code"),
    [
        (SourceUse(SOURCES, "key_other"), ACCOUNT, "key_not_found"),
        (SourceUse(MORE_SOURCES, ""), ACCOUNT, "key_not_found"),
        (SourceUse(SOURCES, ""), "acc_other", "key_not_found"),
        (SourceUse(SOURCES, "", 2), ACCOUNT, "key_version_not_found"),
        (SourceUse(SOURCES, "", 0), ACCOUNT, "key_version_not_found"),
    ],
)
async def test_what_is_not_there_for_the_caller_is_not_opened(
    stage: KeyStage, use: SourceUse, account: str, code: str
) -> None:
    key = await generate(stage, permissions=("export",))
    with pytest.raises(NotFoundError) as refusal:
        await stage.made.source_keys.opened(account, replace(use, key=use.key or key.id), "export")
    assert refusal.value.code == code


async def test_a_version_that_is_not_active_yet_is_not_opened(stage: KeyStage) -> None:
    key = await generate(stage, permissions=("export",))
    later = await add(stage, key, validity=Validity(not_before=NOW + DAY))
    assert later.state(NOW) is KeyState.PRE_ACTIVE
    with pytest.raises(ConflictError) as refusal:
        await stage.material_of(later)
    assert refusal.value.code == "key_not_active"
    _, version, material = await stage.made.source_keys.opened(ACCOUNT, use_of(later, 1), "export")
    with material:
        assert version.number == 1
    stage.clock.move(DAY)
    (await stage.material_of(later)).wipe()


# --- versions -----------------------------------------------------------------------------------------------------


async def test_a_new_version_is_current_and_the_older_one_still_opens(stage: KeyStage) -> None:
    key = await generate(stage, permissions=("export",), tags=(("a", "1"),))
    stage.clock.move(DAY)
    added = await add(stage, key, material=material_of_kind(EC), validity=Validity(expires_on=NOW + 9 * DAY))
    assert [(v.number, v.origin) for v in added.versions] == [
        (1, MaterialOrigin.GENERATED),
        (2, MaterialOrigin.IMPORTED),
    ]
    assert (added.versions[0], added.tags, added.permissions) == (key.current, key.tags, key.permissions)
    assert (added.updated_on, added.current.validity.expires_on) == (NOW + DAY, NOW + 9 * DAY)
    assert [(entry.event, entry.detail) for entry in added.history[1:]] == [("key.version_added", "2")]
    for number in (1, 2):
        _, version, material = await stage.made.source_keys.opened(ACCOUNT, use_of(added, number), "export")
        with material:
            assert material.public_key == version.public_key == added.versions[number - 1].public_key
    await stage.check_lists()


@pytest.mark.parametrize("kind", [AES, RSA, KeyKind(EC.family, curve="P-384")], ids=str)
async def test_a_version_is_of_the_keys_kind(stage: KeyStage, kind: KeyKind) -> None:
    key = await generate(stage)
    with pytest.raises(InvalidRequestError) as refusal:
        await add(stage, key, material=material_of_kind(kind))
    assert (refusal.value.code, refusal.value.field) == ("material_type_mismatch", "material")
    assert (await stored(stage, key)).value == key
    assert len(await rows_of(stage, key)) == 1


async def test_the_same_version_again_is_there_once(stage: KeyStage) -> None:
    key = await generate(stage)
    etag = (await stored(stage, key)).etag
    once = await add(stage, key, if_match=etag)
    assert await add(stage, key, if_match=etag) == once
    await add(stage, key, "int_w")
    again = await add(stage, key)
    assert [version.number for version in again.versions] == [1, 2, 3]
    assert len(await rows_of(stage, key)) == 3


async def test_a_version_for_a_key_that_moved_is_refused_where_its_state_was_named(stage: KeyStage) -> None:
    key = await generate(stage)
    etag = (await stored(stage, key)).etag
    await add(stage, key)
    with pytest.raises(StaleWriteError):
        await add(stage, key, "int_w", if_match=etag)
    assert len((await stored(stage, key)).value.versions) == 2


async def test_versions_that_come_at_once_all_come_each_with_its_number(stage: KeyStage) -> None:
    key = await generate(stage, permissions=("export",))
    await asyncio.gather(
        *(add(stage, key, f"int_v{number}") for number in range(4)),
        *(stage.made.source_keys.note(ACCOUNT, use_of(key), "key.exported", ALICE, "") for _ in range(2)),
    )
    found = (await stored(stage, key)).value
    assert [version.number for version in found.versions] == [1, 2, 3, 4, 5]
    assert [entry.detail for entry in found.history if entry.event == "key.version_added"] == ["2", "3", "4", "5"]
    for number in range(1, 6):
        (await stage.made.source_keys.opened(ACCOUNT, use_of(found, number), "export"))[2].wipe()
    await stage.check_lists()


async def test_a_version_whose_first_answer_was_lost_is_not_added_twice(stage: KeyStage) -> None:
    key = await generate(stage)
    etag = (await stored(stage, key)).etag
    whole, lost = stage.source_rows.replace, []

    async def losing(partition: str, id_: str, value: SourceKey, etag: str) -> Stored[SourceKey]:
        written = await whole(partition, id_, value, etag)
        if not lost:
            lost.append(written)
            raise StaleWriteError("The record")
        return written

    stage.source_rows.replace = losing
    added = await add(stage, key, if_match=etag)
    assert [version.number for version in added.versions] == [1, 2]
    assert (await stored(stage, key)).value == added


async def test_material_that_is_stored_before_its_version_is_the_versions(stage: KeyStage) -> None:
    key = await generate(stage, permissions=("export",))
    version = NewSourceVersion("int_v", None, Validity(), ALICE)
    for _ in range(2):
        await stage.made.source_keys.prepare(ACCOUNT, key.group, key.id, version)
    assert (await stored(stage, key)).value == key
    added = await add(stage, key)
    assert len(await rows_of(stage, key)) == 2
    with await stage.material_of(added) as material:
        assert material.public_key == added.current.public_key


# --- links and lists ----------------------------------------------------------------------------------------------


async def test_a_copy_is_linked_once_however_often_it_is_said(stage: KeyStage) -> None:
    key = await generate(stage)
    for _ in range(3):
        await stage.made.source_keys.link(ACCOUNT, use_of(key), a_link())
    found = (await stored(stage, key)).value
    assert found.copies == (a_link(),)
    assert [(entry.event, entry.detail) for entry in found.history[1:]] == [("key.copied_to", "key_copy")]


async def test_links_that_come_at_once_are_all_there(stage: KeyStage) -> None:
    key = await generate(stage)
    copies = [a_link(f"key_{number:02d}") for number in range(40)]
    await asyncio.gather(*(stage.made.source_keys.link(ACCOUNT, use_of(key), copy) for copy in copies))
    found = (await stored(stage, key)).value
    assert sorted(copy.key for copy in found.copies) == [copy.key for copy in copies]
    assert len(found.history) == 1 + len(copies)


async def test_a_link_is_forgotten_once(stage: KeyStage) -> None:
    key = await generate(stage)
    await stage.made.source_keys.link(ACCOUNT, use_of(key), a_link())
    for _ in range(2):
        await stage.made.source_keys.unlink(ACCOUNT, use_of(key), "key_copy", ALICE)
    found = (await stored(stage, key)).value
    assert found.copies == ()
    assert [entry.event for entry in found.history[1:]] == ["key.copied_to", "key.copy_unlinked"]


async def test_a_key_that_a_crash_kept_from_the_lists_is_listed_a_moment_later(stage: KeyStage) -> None:
    applied = stage.index.apply

    async def lost(tree: str, changes: object) -> None:
        if tree.startswith("keys"):
            raise VaultUnavailableError("away", code="storage_unavailable")
        await applied(tree, changes)

    stage.index.apply = lost
    with pytest.raises(VaultUnavailableError):
        await generate(stage)
    stage.index.apply = applied
    with pytest.raises(AssertionError):
        await stage.check_lists()
    assert await stage.made.source_keys.reconcile() == 0
    stage.clock.move(timedelta(minutes=2))
    assert await stage.made.source_keys.reconcile() == 1
    await stage.check_lists()
    assert await stage.made.source_keys.reconcile() == 0


@pytest.mark.parametrize("versions", [1, 2])
async def test_a_request_that_comes_back_has_the_lists_show_what_a_crash_kept_from_them(
    stage: KeyStage, versions: int
) -> None:
    if versions == 2:
        key = await generate(stage)
    applied = stage.index.apply

    async def lost(tree: str, changes: object) -> None:
        if tree.startswith("keys"):
            raise VaultUnavailableError("away", code="storage_unavailable")
        await applied(tree, changes)

    async def asked() -> None:
        await (generate(stage) if versions == 1 else add(stage, key))

    stage.index.apply = lost
    with pytest.raises(VaultUnavailableError):
        await asked()
    stage.index.apply = applied
    await asked()
    await stage.check_lists()


async def test_writes_that_are_cut_off_one_after_the_other_leave_nothing_in_the_lists(stage: KeyStage) -> None:
    applied, cut = stage.index.apply, "keys/"

    async def lost(tree: str, changes: object) -> None:
        if tree.startswith(cut):
            raise VaultUnavailableError("away", code="storage_unavailable")
        await applied(tree, changes)

    stage.index.apply = lost
    with pytest.raises(VaultUnavailableError):
        await generate(stage)
    (key,) = await stage.source_keys()
    cut = "keys"
    stage.clock.move(DAY)
    with pytest.raises(VaultUnavailableError):
        await add(stage, key)
    cut = "none"
    stage.clock.move(DAY)
    await add(stage, key, "int_w")
    await stage.check_lists()


async def test_a_key_that_is_listed_leaves_nothing_to_reconcile(stage: KeyStage) -> None:
    await add(stage, await generate(stage))
    stage.clock.move(DAY)
    assert await stage.made.source_keys.reconcile() == 0


async def test_whoever_comes_back_for_a_key_whose_name_another_took_meanwhile_is_told(stage: KeyStage) -> None:
    applied = stage.index.apply

    async def lost(tree: str, changes: object) -> None:
        if tree.startswith("keys"):
            raise VaultUnavailableError("away", code="storage_unavailable")
        await applied(tree, changes)

    stage.index.apply = lost
    with pytest.raises(VaultUnavailableError):
        await generate(stage)
    stage.index.apply = applied
    stage.clock.move(timedelta(minutes=11))
    await generate(stage, "int_2")
    with pytest.raises(ConflictError) as refusal:
        await generate(stage)
    assert refusal.value.code == "key_display_name_taken"
