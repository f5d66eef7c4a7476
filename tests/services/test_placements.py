"""New keys in vaults, once: what becomes of a request whose answer was lost, that was refused, or that met another."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.copies import link_of
from core.domain.groups import EscrowSettings
from core.domain.key_kinds import Protection
from core.domain.keys import KeyOrigin, Presence, Validity, VirtualKey
from core.domain.new_keys import NewVersion
from core.errors import (
    ConflictError,
    KeystewardError,
    PolicyViolationError,
    VaultAnswerError,
    VaultDeniedError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)
from core.services.findings import FindingCode, FindingFilter
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW, a_deletion
from tests.builders.new_keys import EC, MORE_SOURCES, PREMIUM, RSA, SOURCES, KeyStage, only_version, use_of
from tests.builders.syncs import a_group
from tests.fakes.vault import FakeVault
from tests.material.keys import a_key as material_of_kind

NAME, AZURE_NAME = "Card key", "card-key"
UNKNOWN = VaultOutcomeUnknownError("no answer")
FAILED = VaultOutcomeUnknownError("a failure", answered=True)
UNUSABLE = VaultAnswerError("half an answer")
AWAY = VaultUnavailableError("throttled", code="vault_throttled")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between two looks."""
    monkeypatch.setattr("core.services.placements._SECONDS_BETWEEN_LOOKS", 0)


@pytest.fixture
async def stage() -> KeyStage:
    stage = KeyStage()
    await stage.set_up()
    return stage


async def generate(stage: KeyStage, request: str = "int_1", name: str = NAME, **asked: object) -> VirtualKey:
    asked = {"azure_name": AZURE_NAME} | asked
    made = await stage.made.new_keys.generate(stage.key(request, name=name, **asked), RSA)
    assert isinstance(made, VirtualKey)
    return made


async def refusal(stage: KeyStage, **asked: object) -> KeystewardError:
    with pytest.raises(KeystewardError) as refused:
        await generate(stage, **asked)
    return refused.value


def fail(vault: FakeVault, error: KeystewardError, *operations: str, after: bool = False, times: int = 1) -> None:
    """Have the vault's next calls of these operations fail, before the work or after it."""
    left = dict.fromkeys(operations, times)

    def hook(operation: str, name: str) -> None:
        if left.get(operation, 0) > 0:
            left[operation] -= 1
            raise error

    setattr(vault, "after" if after else "before", hook)


def heal(vault: FakeVault) -> None:
    vault.before = vault.after = lambda operation, name: None


async def check_nothing_left(stage: KeyStage) -> None:
    """Whoever asks next can have both names."""
    assert await stage.open_intents() == 0
    assert not await stage.virtual_keys()
    assert AZURE_NAME not in stage.vault.live
    await generate(stage, "int_next")


# --- the straight way ---------------------------------------------------------------------------------------------


async def test_a_key_is_made_escrowed_and_recorded_with_what_was_asked_for(stage: KeyStage) -> None:
    validity = Validity(enabled=False, not_before=NOW, expires_on=NOW + timedelta(days=30))
    key = await generate(stage, operations=("sign", "verify"), validity=validity, tags=(("team", "cards"),))
    version = only_version(stage.vault, AZURE_NAME)
    assert (version.operations, version.validity, version.tags) == (("sign", "verify"), validity, (("team", "cards"),))
    assert (key.name, key.azure_name, key.origin, key.created_by) == (NAME, AZURE_NAME, KeyOrigin.NATIVE, ALICE)
    assert (key.versions, key.presence) == ((version,), Presence.LIVE)
    assert [entry.event for entry in key.history] == ["key.created", "key.escrowed"]
    assert {entry.actor for entry in key.history} == {ALICE}
    manifest, content = await stage.escrows.open(key.escrow[-1])
    assert (manifest.key, manifest.versions) == (key.id, (version.id,))
    assert content == await stage.vault.back_up(AZURE_NAME)
    await stage.check_lists()


async def test_a_key_that_was_made_needs_nothing_from_the_next_sync(stage: KeyStage) -> None:
    key = await generate(stage)
    stage.vault.calls.clear()
    await stage.sync_all()
    assert set(stage.vault.calls) == {"list_keys", "list_deleted"}
    assert (await stage.virtual_keys()) == [key]


async def test_a_key_that_nobody_named_has_the_name_that_a_sync_would_give_it(stage: KeyStage) -> None:
    key = await generate(stage, name=None)
    assert key.name == "payments/card-key"
    assert [stored.value.holder async for _, stored in stage.name_rows.scan(ACCOUNT)] == []


async def test_the_same_request_again_returns_the_same_key_and_asks_the_vault_nothing(stage: KeyStage) -> None:
    key = await generate(stage)
    stage.vault.calls.clear()
    assert await generate(stage) == key
    assert not stage.vault.calls
    assert (await stage.made.intents.find(ACCOUNT, "int_1")) is not None


async def test_imported_material_is_the_public_key_that_the_vault_shows(stage: KeyStage) -> None:
    with material_of_kind(EC) as material:
        key = await stage.made.new_keys.bring(stage.key(azure_name=AZURE_NAME), material)
        in_hsm = await stage.made.new_keys.bring(
            stage.key("int_2", PREMIUM, name=NAME, azure_name=AZURE_NAME), material
        )
    assert isinstance(key, VirtualKey)
    assert isinstance(in_hsm, VirtualKey)
    for made, vault, type_ in ((key, stage.vault, "EC"), (in_hsm, stage.premium, "EC-HSM")):
        assert only_version(vault, AZURE_NAME).public_key == material.public_key
        assert (made.versions[-1].type, made.origin) == (type_, KeyOrigin.IMPORTED)
        assert made.history[0].event == "key.imported"


@pytest.mark.parametrize(
    ("protection", "type_", "call"),
    [
        (None, "EC-HSM", "import_transfer_blob"),
        (Protection.HSM, "EC-HSM", "import_transfer_blob"),
        (Protection.SOFTWARE, "EC", "import_key"),
    ],
)
async def test_material_for_an_hsm_travels_wrapped_and_only_for_software_in_the_clear(
    stage: KeyStage, protection: Protection | None, type_: str, call: str
) -> None:
    with material_of_kind(EC) as material:
        new = stage.key(group=PREMIUM, name=NAME, azure_name=AZURE_NAME, protection=protection)
        await stage.made.new_keys.bring(new, material)
    assert only_version(stage.premium, AZURE_NAME).type == type_
    sent = {name for name in ("import_key", "import_transfer_blob") if stage.premium.calls[name]}
    assert sent == {call}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"operations": ("export",)}, "key_not_allowed"),
        ({"permissions": ("sign",)}, "field_for_other_kind"),
        ({"validity": Validity(expires_on=NOW)}, "dates_invalid"),
        ({"tags": (("", ""),)}, "tags_invalid"),
        ({"azure_name": "not ok"}, "azure_name_invalid"),
        ({"name": "a/b"}, "key_name_invalid"),
        ({"name": None, "azure_name": None}, "key_name_invalid"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_happens(
    stage: KeyStage, asked: dict[str, object], code: str
) -> None:
    assert (await refusal(stage, **asked)).code == code
    assert not stage.vault.calls
    assert [row async for row in stage.name_rows.scan(ACCOUNT)] == []
    await check_nothing_left(stage)


# --- answers that are lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UNKNOWN, UNUSABLE])
async def test_a_key_whose_answer_was_lost_is_found_at_once(stage: KeyStage, error: KeystewardError) -> None:
    fail(stage.vault, error, "create", after=True)
    key = await generate(stage)
    assert key.versions == (only_version(stage.vault, AZURE_NAME),)
    assert (key.name, [entry.event for entry in key.history]) == (NAME, ["key.created", "key.escrowed"])
    assert stage.vault.calls["create"] == 1
    assert await stage.open_intents() == 0


@pytest.mark.parametrize("error", [FAILED, UNUSABLE])
async def test_a_request_that_was_answered_with_a_failure_is_sent_again_at_once(
    stage: KeyStage, error: KeystewardError
) -> None:
    fail(stage.vault, error, "create")
    assert await refusal(stage) is error
    assert await stage.open_intents() == 1
    key = await generate(stage)
    assert key.versions == (only_version(stage.vault, AZURE_NAME),)
    assert await stage.open_intents() == 0


async def test_a_request_that_may_yet_arrive_is_not_sent_again_before_it_cannot_any_more(stage: KeyStage) -> None:
    fail(stage.vault, UNKNOWN, "create")
    await refusal(stage)
    stage.clock.move(timedelta(seconds=20))
    refused = await refusal(stage)
    assert isinstance(refused, VaultOutcomeUnknownError)
    assert (refused.code, refused.retry_after) == ("vault_outcome_unknown", timedelta(seconds=40))
    assert (stage.vault.calls["create"], await stage.open_intents()) == (1, 1)
    stage.clock.move(timedelta(seconds=40))
    fail(stage.vault, UNKNOWN, "create")
    assert await refusal(stage) is UNKNOWN
    assert stage.vault.calls["create"] == 2
    assert isinstance(await refusal(stage), VaultOutcomeUnknownError), "the second may yet arrive, too"
    stage.clock.move(timedelta(minutes=1))
    key = await generate(stage)
    assert key.versions == (only_version(stage.vault, AZURE_NAME),)
    assert await stage.open_intents() == 0
    await stage.check_lists()


@pytest.mark.parametrize("looks", ["list_versions", "get_version"])
@pytest.mark.parametrize("error", [AWAY, UNUSABLE, VaultDeniedError("no list")])
async def test_a_vault_that_cannot_be_asked_has_not_said_that_nothing_was_made(
    stage: KeyStage, looks: str, error: KeystewardError
) -> None:
    def lost(operation: str, name: str) -> None:
        if operation == "create":
            fail(stage.vault, error, looks, times=9)
            raise UNKNOWN

    stage.vault.after = lost
    assert await refusal(stage) is UNKNOWN
    heal(stage.vault)
    key = await generate(stage)
    assert key.versions == (only_version(stage.vault, AZURE_NAME),)
    assert stage.vault.calls["create"] == 1


async def test_a_request_that_the_vault_carries_out_late_is_found_by_its_repetition(stage: KeyStage) -> None:
    fail(stage.vault, UNKNOWN, "create")
    await refusal(stage)
    heal(stage.vault)
    await stage.vault.create(AZURE_NAME, NewVersion("RSA", RSA, wanted_operations()))
    key = await generate(stage)
    assert (key.name, key.versions) == (NAME, (only_version(stage.vault, AZURE_NAME),))


def wanted_operations() -> tuple[str, ...]:
    return ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")


@pytest.mark.parametrize(
    "error",
    [AWAY, VaultDeniedError("no create"), PolicyViolationError("bad", code="vault_refused"),
     ConflictError("busy", code="vault_conflict")],
    ids=lambda error: error.code,
)  # fmt: skip
async def test_a_refusal_of_the_repetition_does_not_forget_the_first_request(
    stage: KeyStage, error: KeystewardError
) -> None:
    fail(stage.vault, UNKNOWN, "create")
    await refusal(stage)
    stage.clock.move(timedelta(minutes=1))
    fail(stage.vault, error, "create")
    assert await refusal(stage) is error
    heal(stage.vault)
    # The first one is carried out after all.
    await stage.vault.create(AZURE_NAME, NewVersion("RSA", RSA, wanted_operations()))
    stage.clock.move(timedelta(minutes=6))
    assert await stage.made.placements.reconcile() == 1
    (key,) = await stage.virtual_keys()
    assert (key.name, key.created_by, key.versions) == (NAME, ALICE, (only_version(stage.vault, AZURE_NAME),))
    assert await stage.open_intents() == 0


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [AWAY, VaultDeniedError("no create"), PolicyViolationError("bad", code="vault_refused"),
     ConflictError("busy", code="vault_conflict"), ConflictError("going", code="key_being_deleted")],
    ids=lambda error: error.code,
)  # fmt: skip
@pytest.mark.parametrize("operation", ["create", "get_version"])
async def test_a_vault_that_refuses_leaves_nothing_behind(
    stage: KeyStage, error: KeystewardError, operation: str
) -> None:
    fail(stage.vault, error, operation)
    assert await refusal(stage) is error
    await check_nothing_left(stage)


async def test_a_taken_name_is_told_with_the_ways_out(stage: KeyStage) -> None:
    first = await generate(stage)
    refused = await refusal(stage, request="int_2", name="Other", azure_name=AZURE_NAME.upper())
    assert (refused.code, refused.field, refused.facts["key"]) == ("key_name_taken", "azure_name", first.id)
    assert ways(refused) == ["rotate", "another_name"]
    only_version(stage.vault, AZURE_NAME)
    await generate(stage, "int_3", "Other", azure_name="other")


async def test_a_name_that_is_taken_in_the_vault_alone_is_taken(stage: KeyStage) -> None:
    await stage.vault.create(AZURE_NAME, NewVersion("RSA", RSA, ("sign",)))
    refused = await refusal(stage)
    assert (refused.code, "key" in refused.facts) == ("key_name_taken", False)
    only_version(stage.vault, AZURE_NAME)


async def test_the_name_of_a_soft_deleted_key_is_told_with_its_date_and_the_ways_out(stage: KeyStage) -> None:
    first = await generate(stage)
    stage.vault.delete(AZURE_NAME, a_deletion())
    refused = await refusal(stage, request="int_2", name="Other")
    assert (refused.code, refused.facts["key"]) == ("key_name_soft_deleted", first.id)
    assert refused.facts["scheduled_purge_on"] == (NOW + timedelta(days=90)).isoformat()
    assert ways(refused) == ["recover", "purge", "another_name"]
    assert stage.vault.calls["create"] == 1


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("reuse_purged", [True, False])
async def test_who_may_not_look_at_deleted_keys_learns_of_one_by_its_record_or_by_the_vaults_answer(
    stage: KeyStage, recorded: bool, reuse_purged: bool
) -> None:
    if recorded:
        await generate(stage)
    else:
        await stage.vault.create(AZURE_NAME, NewVersion("RSA", RSA, ("sign",)))
    stage.vault.delete(AZURE_NAME, a_deletion())
    fail(stage.vault, VaultDeniedError("no get deleted"), "get_deleted", times=9)
    refused = await refusal(stage, request="int_2", name="Other", reuse_purged=reuse_purged)
    assert refused.code == "key_name_soft_deleted"
    assert ways(refused) == ["recover", "purge", "another_name"]
    assert await stage.open_intents() == 0
    await generate(stage, "int_3", "Other", azure_name="other")


async def test_the_name_of_a_purged_key_is_free_for_who_gives_up_restoring_it(stage: KeyStage) -> None:
    first = await generate(stage)
    del stage.vault.live[AZURE_NAME]
    await stage.sync_all()
    refused = await refusal(stage, request="int_2", name="Other")
    assert (refused.code, refused.facts["key"]) == ("key_name_purged", first.id)
    assert ways(refused) == ["restore", "reuse", "another_name"]
    assert stage.vault.calls["create"] == 1
    second = await generate(stage, "int_2", "Other", reuse_purged=True)
    gone = next(key for key in await stage.virtual_keys() if key.id == first.id)
    assert (gone.presence, gone.escrow, gone.name) == (Presence.PURGED, first.escrow, NAME)
    assert second.id != first.id
    await stage.check_lists()
    await stage.sync_all()
    await stage.check_lists()
    assert {key.id for key in await stage.virtual_keys()} == {first.id, second.id}
    assert next(key for key in await stage.virtual_keys() if key.id == second.id).drift == ()


async def test_a_key_that_vanished_and_no_sync_has_missed_yet_holds_its_name_like_a_purged_one(stage: KeyStage) -> None:
    first = await generate(stage)
    del stage.vault.live[AZURE_NAME]
    assert (await refusal(stage, request="int_2", name="Other")).code == "key_name_purged"
    await generate(stage, "int_2", "Other", reuse_purged=True)
    gone = next(key for key in await stage.virtual_keys() if key.id == first.id)
    assert gone.presence is Presence.PURGED
    await stage.check_lists()


async def test_a_record_that_moves_while_it_makes_way_makes_way_all_the_same(stage: KeyStage) -> None:
    first = await generate(stage)
    del stage.vault.live[AZURE_NAME]
    await stage.sync_all()
    whole, moved = stage.key_rows.write_many, []

    async def moving(partition: str, values: object) -> set[str]:
        if not moved:
            stored = await stage.key_rows.get(GROUP, first.id)
            assert stored is not None
            moved.append(
                await stage.key_rows.replace(GROUP, first.id, replace(stored.value, name="Moved"), stored.etag)
            )
        return await whole(partition, values)

    stage.key_rows.write_many = moving
    second = await generate(stage, "int_2", "Other", reuse_purged=True)
    by_id = {key.id: key for key in await stage.virtual_keys()}
    assert (by_id[first.id].name, by_id[first.id].presence) == ("Moved", Presence.PURGED)
    entries = await stage.index.page(f"keys/{GROUP}")
    assert {place: entry["id"] for place, entry in entries.entries} == {
        AZURE_NAME: second.id,
        f"{AZURE_NAME}!{first.id}": first.id,
    }


def ways(refused: KeystewardError) -> list[str]:
    offered = refused.facts["ways_out"]
    assert isinstance(offered, list)
    assert all(way["detail"] for way in offered)
    return [way["way"] for way in offered]


async def test_a_display_name_that_another_key_has_is_refused_before_the_vault_is_asked(stage: KeyStage) -> None:
    await generate(stage)
    stage.vault.calls.clear()
    refused = await refusal(stage, request="int_2", name="CARD KEY", azure_name="other")
    assert (refused.code, refused.field) == ("key_display_name_taken", "name")
    assert not stage.vault.calls
    # The Azure name is not held by what came to nothing.
    await generate(stage, "int_3", "Other", azure_name="other")


# --- escrow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (VaultAnswerError("refused", code="backup_refused"), "backup_refused"),
        (VaultDeniedError("no backup"), None),
        (AWAY, None),
    ],
)
async def test_a_key_that_cannot_be_escrowed_now_is_made_and_the_next_sync_escrows_it(
    stage: KeyStage, error: KeystewardError, problem: str | None
) -> None:
    fail(stage.vault, error, "back_up")
    key = await generate(stage)
    assert (key.escrow, key.escrow_problem) == ((), problem)
    # A sync of changes would not ask for a refused backup again, so it is known at once.
    assert await codes_of(stage) == ([FindingCode.ESCROW_FAILED] if problem else [])
    job = await stage.syncs.start(ACCOUNT, GROUP, mode="full", actor=ALICE)
    await stage.jobs.run(ACCOUNT, job.id)
    (key,) = await stage.virtual_keys()
    assert (len(key.escrow), key.escrow_problem, key.drift) == (1, None, ())
    assert await codes_of(stage) == []
    await stage.check_lists()


async def codes_of(stage: KeyStage) -> list[FindingCode]:
    """The codes of all findings about keys."""
    findings, _ = await stage.findings.page(ACCOUNT, FindingFilter())
    return [finding.code for finding in findings if finding.key]


async def test_an_archive_that_cannot_be_written_leaves_the_escrow_to_the_next_sync(stage: KeyStage) -> None:
    whole = stage.blobs.create

    async def broken(name: str, content: bytes) -> str:
        raise VaultAnswerError("Storage refused.", code="storage_refused")

    stage.blobs.create = broken
    key = await generate(stage)
    # It is no word of the vault that there is no backup.
    assert (key.escrow, key.escrow_problem) == ((), None)
    stage.blobs.create = whole
    await stage.sync_all()
    assert len((await stage.virtual_keys())[0].escrow) == 1


async def test_an_escrow_is_recorded_once_though_the_answer_to_the_write_was_lost(stage: KeyStage) -> None:
    whole, lost = stage.key_rows.write_many, []

    async def losing(group: str, values: dict[str, tuple[VirtualKey, str | None]]) -> set[str]:
        refused = await whole(group, values)
        if not lost:
            # The storage SDK repeats what it got no answer to, and finds its own row.
            lost.extend(values)
            return set(values)
        return refused

    stage.key_rows.write_many = losing
    key = await generate(stage)
    assert len(lost) == len(key.escrow) == 1
    assert [entry.event for entry in key.history] == ["key.created", "key.escrowed"]
    await stage.escrows.open(key.escrow[0])


async def test_a_group_that_escrows_nothing_makes_no_backup() -> None:
    stage = KeyStage()
    group = replace(a_group(), escrow=EscrowSettings(enabled=False))
    await stage.set_up(group)
    new = replace(stage.key(name=NAME, azure_name=AZURE_NAME), group=group)
    key = await stage.made.new_keys.generate(new, RSA)
    assert isinstance(key, VirtualKey)
    assert (key.escrow, key.escrow_problem, stage.vault.calls["back_up"]) == ((), None, 0)


# --- reconciliation -----------------------------------------------------------------------------------------------


async def test_a_key_that_was_made_is_recorded_though_nobody_asks_again(stage: KeyStage) -> None:
    await left_over(stage)
    assert await stage.made.placements.reconcile() == 0
    stage.clock.move(timedelta(minutes=6))
    assert await stage.made.placements.reconcile() == 1
    (key,) = await stage.virtual_keys()
    assert (key.name, key.origin, key.created_by) == (NAME, KeyOrigin.NATIVE, ALICE)
    assert len(key.escrow) == 1
    assert await stage.made.placements.reconcile() == 0
    assert await generate(stage) == key
    await stage.check_lists()


async def left_over(stage: KeyStage, *, made: bool = True, **asked: object) -> None:
    """Leave an intent open, whose key the vault has made or not."""

    def gone(operation: str, name: str) -> None:
        if operation == "create":
            fail(stage.vault, AWAY, "list_versions", times=1)
            raise UNKNOWN

    setattr(stage.vault, "after" if made else "before", gone)
    await refusal(stage, **asked)
    heal(stage.vault)
    assert (AZURE_NAME in stage.vault.live) is made


async def test_a_key_that_somebody_rotated_meanwhile_is_still_the_one_that_was_asked_for(stage: KeyStage) -> None:
    await left_over(stage)
    stage.clock.move(timedelta(minutes=6))
    await stage.vault.rotate(AZURE_NAME)
    assert await stage.made.placements.reconcile() == 1
    await stage.sync_all()
    (key,) = await stage.virtual_keys()
    assert (key.name, len(key.versions)) == (NAME, 2)
    assert [change.kind.value for change in key.drift] == ["new_version"]
    assert not key.unescrowed


async def test_an_intent_of_which_nothing_comes_is_given_up_after_an_hour(stage: KeyStage) -> None:
    await left_over(stage, made=False)
    stage.clock.move(timedelta(minutes=59))
    assert await stage.made.placements.reconcile() == 0
    assert await stage.open_intents() == 1
    stage.clock.move(timedelta(minutes=2))
    assert await stage.made.placements.reconcile() == 1
    await check_nothing_left(stage)


async def test_an_intent_whose_name_is_somebody_elses_by_now_is_given_up_at_once(stage: KeyStage) -> None:
    await left_over(stage, made=False)
    await stage.vault.create(AZURE_NAME, NewVersion("RSA", RSA, ("sign",)))
    stage.clock.move(timedelta(minutes=6))
    assert await stage.made.placements.reconcile() == 1
    assert await stage.open_intents() == 0
    assert not await stage.virtual_keys()
    await generate(stage, "int_2", azure_name="other")


async def test_an_intent_whose_group_is_gone_is_given_up(stage: KeyStage) -> None:
    await left_over(stage, made=False)
    await stage.groups.delete(ACCOUNT, GROUP)
    stage.clock.move(timedelta(minutes=6))
    assert await stage.made.placements.reconcile() == 1
    assert await stage.open_intents() == 0


async def test_a_vault_that_cannot_be_asked_keeps_no_other_waiting_and_ends_nothing(stage: KeyStage) -> None:
    await left_over(stage)
    stage.vault, kept = stage.premium, stage.vault
    await left_over(stage, request="int_2", group=PREMIUM, name="Other")
    stage.vault = kept
    fail(stage.vault, AWAY, "list_versions", times=9)
    stage.clock.move(timedelta(hours=2))
    assert await stage.made.placements.reconcile() == 1
    assert await stage.open_intents() == 1
    heal(stage.vault)
    assert await stage.made.placements.reconcile() == 1
    assert [key.name for key in await stage.virtual_keys()] == [NAME]


async def test_a_clock_that_is_turned_back_keeps_no_intent_open(stage: KeyStage) -> None:
    stage.clock.move(timedelta(days=300))
    await left_over(stage)
    stage.clock.move(-timedelta(days=300))
    assert await stage.made.placements.reconcile() == 1
    assert [key.name for key in await stage.virtual_keys()] == [NAME]
    assert await stage.open_intents() == 0


async def test_a_clock_that_is_turned_back_gives_nothing_up_early(stage: KeyStage) -> None:
    stage.clock.move(timedelta(days=300))
    await left_over(stage, made=False)
    stage.clock.move(-timedelta(days=300))
    assert await stage.made.placements.reconcile() == 0
    assert await stage.open_intents() == 1


async def test_a_display_name_that_another_took_meanwhile_stays_with_that_one(stage: KeyStage) -> None:
    fail(stage.vault, UNKNOWN, "create", after=True)
    await left_over(stage)
    # The vault cannot be asked for longer than a name is held for who does nothing with it.
    stage.clock.move(timedelta(minutes=11))
    await generate(stage, "int_2", azure_name="other")
    await stage.made.placements.reconcile()
    names = {key.azure_name: key.name for key in await stage.virtual_keys()}
    assert names == {AZURE_NAME: "payments/card-key", "other": NAME}
    await stage.check_lists()


async def test_a_repetition_does_not_send_anything_under_a_name_that_another_request_has(stage: KeyStage) -> None:
    await left_over(stage, made=False)
    stage.clock.move(timedelta(minutes=11))
    twin, sent = stage.twin(), stage.vault.calls["create"]

    async def meanwhile() -> None:
        fail(stage.vault, UNKNOWN, "create")
        with pytest.raises(VaultOutcomeUnknownError):
            await generate(twin, "int_2", "Other")
        heal(stage.vault)

    await meanwhile()
    assert (await refusal(stage)).code == "key_name_taken"
    assert stage.vault.calls["create"] == sent + 1


async def test_intents_that_are_done_are_kept_for_a_day(stage: KeyStage) -> None:
    key = await generate(stage)
    stage.clock.move(timedelta(hours=23))
    assert await stage.made.intents.expire() == 0
    assert await generate(stage) == key
    stage.clock.move(timedelta(hours=2))
    assert await stage.made.intents.expire() == 1
    assert await stage.made.intents.find(ACCOUNT, "int_1") is None
    assert await stage.made.intents.expire() == 0
    assert (await refusal(stage)).code in {"key_name_taken", "key_display_name_taken"}


async def test_a_copy_that_reconciliation_records_is_linked_at_both_ends(stage: KeyStage) -> None:
    source = await stage.a_source_key()
    link = link_of(source, source.current, ALICE, NOW)
    with await stage.material_of(source) as material:
        fail(stage.vault, UNKNOWN, "import_key", after=True)
        twin = stage.twin()

        def gone(operation: str, name: str) -> None:
            if operation == "import_key":
                fail(stage.vault, AWAY, "list_versions")
                raise UNKNOWN

        stage.vault.after = gone
        with pytest.raises(VaultOutcomeUnknownError):
            await twin.made.new_keys.bring(stage.key(name=NAME, azure_name=AZURE_NAME), material, link)
    heal(stage.vault)
    stage.clock.move(timedelta(minutes=6))
    assert await stage.made.placements.reconcile() == 1
    (key,), (source,) = await stage.virtual_keys(), await stage.source_keys()
    assert key.copied_from is not None
    assert key.copied_from.key == source.id
    assert [(copy.key, copy.name, copy.azure_name) for copy in source.copies] == [(key.id, NAME, AZURE_NAME)]


@pytest.mark.parametrize("group", [SOURCES, MORE_SOURCES])
async def test_no_vault_is_asked_for_a_source_key(stage: KeyStage, group: str) -> None:
    key = await stage.made.new_keys.generate(stage.key(group=group, name=NAME), EC)
    assert not isinstance(key, VirtualKey)
    assert use_of(key).group == group
    assert not stage.vault.calls
    assert not stage.premium.calls
