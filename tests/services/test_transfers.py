"""Transfer blobs: made under a key exchange key of the vault that they are for, checked before anything is sent."""

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.connections import VaultType
from core.domain.groups import Group
from core.domain.key_kinds import KeyFamily, KeyKind, KeyPolicy, Protection
from core.domain.keys import KeyOrigin, Validity, VirtualKey
from core.domain.new_keys import NewKey, NewVersion
from core.errors import InvalidRequestError, KeystewardError, VaultOutcomeUnknownError, VaultUnavailableError
from core.ports import Stored
from core.services.source_keys import SourceUse
from core.services.transfers import MadeBlob
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW
from tests.builders.new_keys import AES, EC, GROUPS, PREMIUM, RSA, SOURCES, KeyStage, only_version, use_of

RSA_HSM = NewVersion("RSA-HSM", KeyKind(KeyFamily.RSA, 2048), ("import",))
NAME, AZURE_NAME = "Card key", "card-key"
MAKES_VERSIONS = ("create", "import_key", "import_transfer_blob", "rotate", "restore")


@pytest.fixture
async def stage() -> KeyStage:
    stage = KeyStage()
    await stage.set_up()
    return stage


def managed_hsm() -> Group:
    group = GROUPS[PREMIUM]
    assert group.vault is not None
    return replace(group, vault=replace(group.vault, type=VaultType.MANAGED_HSM))


async def make(stage: KeyStage, use: SourceUse, named: str | None = None, group: Group = GROUPS[PREMIUM]) -> MadeBlob:
    return await stage.made.transfers.make(group, use, named, ALICE)


def new(stage: KeyStage, request: str = "int_1", group: Group = GROUPS[PREMIUM], **asked: object) -> NewKey:
    return replace(stage.key(request, PREMIUM, **{"name": NAME, "azure_name": AZURE_NAME} | asked), group=group)


async def bring(stage: KeyStage, content: bytes, kind: KeyKind = EC, wanted: NewKey | None = None) -> VirtualKey:
    return await stage.made.transfers.bring(wanted or new(stage), kind, content)


async def check(
    stage: KeyStage, content: bytes, kind: KeyKind | None = None, group: Group = GROUPS[PREMIUM]
) -> set[str]:
    return {problem.code for problem in (await stage.made.transfers.check(group, content, kind)).problems}


def edited(content: bytes, **members: object) -> bytes:
    """A blob with other members; those of the header are `kid`, `alg` and `enc`."""
    blob = json.loads(content)
    header = {name: members.pop(name) for name in ("kid", "alg", "enc") if name in members}
    return json.dumps({**blob, **members, "header": {**blob["header"], **header}}).encode()


# --- made ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EC, RSA], ids=str)
async def test_a_blob_that_is_made_brings_the_source_keys_material_into_the_vault(
    stage: KeyStage, kind: KeyKind
) -> None:
    source = await stage.a_source_key("Zürich/1".replace("/", " "), kind)
    made = await make(stage, use_of(source))
    (known,) = await stage.made.exchange_keys.list(ACCOUNT, PREMIUM)
    assert made.filename == "Zurich-1.byok"
    assert made.kid == f"https://premium.vault.azure.net/keys/{known.azure_name}/{known.version}"
    assert json.loads(made.content)["header"]["kid"] == made.kid
    assert await check(stage, made.content, kind) == set()
    key = await bring(stage, made.content, kind)
    version = only_version(stage.premium, AZURE_NAME)
    assert version.public_key == source.current.public_key
    assert (key.versions, key.origin, key.name) == ((version,), KeyOrigin.IMPORTED, NAME)
    assert key.history[0].event == "key.imported"
    assert len(key.escrow) == 1
    await stage.check_lists()


async def test_a_symmetric_key_goes_to_a_managed_hsm_and_to_no_vault(stage: KeyStage) -> None:
    source = await stage.a_source_key(kind=AES)
    made = await make(stage, use_of(source), group=managed_hsm())
    key = await bring(stage, made.content, AES, new(stage, group=managed_hsm()))
    assert key.versions[-1].type == "oct-HSM"
    with pytest.raises(KeystewardError) as refusal:
        await make(stage, use_of(source))
    assert (refusal.value.code, refusal.value.field) == ("key_not_allowed", "type")


async def test_a_curve_that_only_the_groups_policy_allows_needs_it(stage: KeyStage) -> None:
    source = await stage.a_source_key(kind=KeyKind(KeyFamily.EC, curve="P-256K"))
    with pytest.raises(KeystewardError) as refusal:
        await make(stage, use_of(source))
    assert refusal.value.code == "key_not_allowed"
    allowed = replace(GROUPS[PREMIUM], key_policy=KeyPolicy(("P-256K",)))
    await make(stage, use_of(source), group=allowed)


async def test_who_takes_a_blob_is_in_the_source_keys_history_before_it_is_given(stage: KeyStage) -> None:
    source = await stage.a_source_key()
    made = await make(stage, use_of(source))
    (found,) = await stage.source_keys()
    entry = found.history[-1]
    assert (entry.event, entry.actor, entry.detail) == (
        "key.transfer_blob_made", ALICE, f"version 1, for {made.kid}",
    )  # fmt: skip

    async def away(*_: object) -> Stored[object]:
        raise VaultUnavailableError("away", code="storage_unavailable")

    stage.source_rows.replace = away
    with pytest.raises(VaultUnavailableError):
        await make(stage, use_of(source))


async def test_a_blob_can_be_made_under_a_key_exchange_key_that_is_named(stage: KeyStage) -> None:
    await stage.premium.create("their-kek", RSA_HSM)
    source = await stage.a_source_key()
    made = await make(stage, use_of(source), "their-kek")
    assert "/their-kek/" in made.kid
    assert await stage.made.exchange_keys.list(ACCOUNT, PREMIUM) == ()
    await bring(stage, made.content)
    assert only_version(stage.premium, AZURE_NAME).public_key == source.current.public_key


@pytest.mark.parametrize(
    ("settings", "named", "group", "code"),
    [
        ({"permissions": ("sign",)}, None, GROUPS[PREMIUM], "key_permission_missing"),
        ({"validity": Validity(enabled=False)}, None, GROUPS[PREMIUM], "key_not_active"),
        ({}, None, GROUPS[GROUP], "vault_without_hsm"),
        ({}, None, GROUPS[SOURCES], "group_kind"),
        ({}, None, replace(GROUPS[PREMIUM], vault=None), "vault_not_selected"),
        ({}, "nobodys", GROUPS[PREMIUM], "key_exchange_key_not_found"),
        ({}, "can-decrypt", GROUPS[PREMIUM], "key_exchange_key_unsuitable"),
        ({}, "not a name", GROUPS[PREMIUM], "azure_name_invalid"),
    ],
)
async def test_no_blob_is_made_of_what_may_not_leave_or_for_what_cannot_take_it(
    stage: KeyStage, settings: dict[str, object], named: str | None, group: Group, code: str
) -> None:
    await stage.premium.create("can-decrypt", replace(RSA_HSM, operations=("import", "decrypt")))
    source = await stage.a_source_key(**settings)
    with pytest.raises(KeystewardError) as refusal:
        await make(stage, use_of(source), named, group)
    assert refusal.value.code == code
    (found,) = await stage.source_keys()
    assert found.history == source.history


# --- checked ------------------------------------------------------------------------------------------------------


async def test_every_problem_of_a_blob_is_named_and_nothing_is_sent(stage: KeyStage) -> None:
    source = await stage.a_source_key()
    made = (await make(stage, use_of(source))).content
    kid = json.loads(made)["header"]["kid"]
    short = base64.urlsafe_b64encode(b"x" * 601).decode()
    cases: list[tuple[bytes, set[str]]] = [
        (made, set()),
        (b"", {"transfer_blob_unreadable"}),
        (b"{}", {"transfer_blob_unreadable"}),
        (b"\xff\xfe\x00", {"transfer_blob_unreadable"}),
        (edited(made, schema_version="2.0"), {"transfer_blob_schema"}),
        (edited(made, alg="RSA-OAEP", enc="A256KW"), {"transfer_blob_algorithm", "transfer_blob_encryption"}),
        (edited(made, kid="x", alg="x"), {"transfer_blob_kid", "transfer_blob_algorithm"}),
        (edited(made, kid=kid.rpartition("/")[0]), {"transfer_blob_kid"}),
        (edited(made, kid=kid.replace("premium", "other")), {"transfer_blob_other_vault"}),
        (edited(made, kid=kid[:-1] + "x"), {"key_exchange_key_not_found"}),
        (edited(made, ciphertext=short), {"transfer_blob_length"}),
    ]
    stage.premium.calls.clear()
    for content, problems in cases:
        assert await check(stage, content, EC) == problems
        assert await check(stage, content) == problems - {"transfer_blob_length"}
    assert await check(stage, made, RSA) == {"transfer_blob_key_type"}
    assert set(stage.premium.calls) == {"get_version"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"operations": ("decrypt",)}, "key_exchange_key_operations"),
        ({"validity": Validity(enabled=False)}, "key_exchange_key_disabled"),
        ({"validity": Validity(expires_on=NOW)}, "key_exchange_key_expired"),
        ({"type": "RSA"}, "key_exchange_key_type"),
    ],
)
async def test_the_key_exchange_key_is_checked_as_the_vault_shows_it_now(
    stage: KeyStage, changes: dict[str, object], problem: str
) -> None:
    made = await make(stage, use_of(await stage.a_source_key()))
    name = made.kid.split("/")[-2]
    stage.premium.live[name][0] = replace(stage.premium.live[name][0], **changes)
    assert await check(stage, made.content, EC) == {problem}
    with pytest.raises(InvalidRequestError) as refusal:
        await bring(stage, made.content)
    assert (refusal.value.code, refusal.value.field) == ("transfer_blob_refused", "blob")
    named = refusal.value.facts["problems"]
    assert isinstance(named, list)
    assert [one["code"] for one in named] == [problem]


@pytest.mark.parametrize("group", [GROUPS[GROUP], GROUPS[SOURCES], replace(GROUPS[PREMIUM], vault=None)])
async def test_nothing_is_checked_where_nothing_can_be_imported(stage: KeyStage, group: Group) -> None:
    with pytest.raises(KeystewardError) as refusal:
        await check(stage, b"{}", group=group)
    assert refusal.value.code in {"vault_without_hsm", "group_kind", "vault_not_selected"}


# --- imported -----------------------------------------------------------------------------------------------------


async def test_a_blob_with_a_problem_is_refused_before_anything_is_sent(stage: KeyStage) -> None:
    made = await make(stage, use_of(await stage.a_source_key()))
    stage.premium.calls.clear()
    with pytest.raises(InvalidRequestError) as refusal:
        await bring(stage, made.content, RSA)
    assert (refusal.value.code, refusal.value.field) == ("transfer_blob_refused", "blob")
    assert not any(stage.premium.calls[name] for name in MAKES_VERSIONS)
    assert await stage.open_intents() == 0
    assert [row.value.holder async for _, row in stage.name_rows.scan(ACCOUNT)] == ["int_source_master"]


async def test_a_blob_that_holds_something_else_is_refused_by_the_vault_and_leaves_nothing(stage: KeyStage) -> None:
    made = await make(stage, use_of(await stage.a_source_key()))
    blob = json.loads(made.content)
    ciphertext = blob["ciphertext"]
    broken = edited(
        made.content, ciphertext=ciphertext[:-8] + ("AAAAAAAA" if ciphertext[-8:] != "AAAAAAAA" else "B" * 8)
    )
    assert await check(stage, broken, EC) == set()
    with pytest.raises(KeystewardError) as refusal:
        await bring(stage, broken)
    assert refusal.value.code == "vault_refused"
    assert await stage.open_intents() == 0
    await bring(stage, made.content, wanted=new(stage, "int_2"))


@pytest.mark.parametrize(
    "form",
    [
        lambda content: content,
        base64.b64encode,
        lambda content: content.decode().encode("utf-16"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: edited(content, generator="Something else; 1.0"),
    ],
    ids=["as made", "base64", "utf-16", "with a mark", "by another tool"],
)
async def test_a_blob_in_any_form_that_tools_make_comes_into_the_vault_as_specified(
    stage: KeyStage, form: object
) -> None:
    assert callable(form)
    source = await stage.a_source_key()
    made = await make(stage, use_of(source))
    sent: list[bytes] = []
    whole = stage.premium.import_transfer_blob

    async def importing(name: str, version: NewVersion, blob: bytes) -> object:
        sent.append(blob)
        return await whole(name, version, blob)

    stage.premium.import_transfer_blob = importing
    await bring(stage, form(made.content))
    (blob,) = map(json.loads, sent)
    assert (blob["header"], blob["ciphertext"]) == (
        json.loads(made.content)["header"], json.loads(made.content)["ciphertext"],
    )  # fmt: skip
    assert only_version(stage.premium, AZURE_NAME).public_key == source.current.public_key


@pytest.mark.parametrize("protection", [None, Protection.HSM])
async def test_what_comes_in_a_blob_is_protected_by_an_hsm(stage: KeyStage, protection: Protection | None) -> None:
    made = await make(stage, use_of(await stage.a_source_key()))
    await bring(stage, made.content, wanted=new(stage, protection=protection))
    assert only_version(stage.premium, AZURE_NAME).type == "EC-HSM"
    with pytest.raises(InvalidRequestError) as refusal:
        await bring(stage, made.content, wanted=new(stage, "int_2", protection=Protection.SOFTWARE))
    assert (refusal.value.code, refusal.value.field) == ("field_for_other_kind", "protection")


async def test_a_blob_that_comes_twice_under_one_request_makes_one_version(stage: KeyStage) -> None:
    made = await make(stage, use_of(await stage.a_source_key()))
    key = await bring(stage, made.content)
    assert await bring(stage, made.content) == key
    only_version(stage.premium, AZURE_NAME)


async def test_a_blob_whose_answer_was_lost_makes_one_version(stage: KeyStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.services.placements._SECONDS_BETWEEN_LOOKS", 0)
    made = await make(stage, use_of(await stage.a_source_key()))

    def lost(operation: str, name: str) -> None:
        if operation == "import_transfer_blob":
            raise VaultOutcomeUnknownError("no answer")

    stage.premium.after = lost
    key = await bring(stage, made.content)
    assert key.versions == (only_version(stage.premium, AZURE_NAME),)


async def test_a_blob_under_a_key_exchange_key_that_was_renewed_can_be_imported_while_it_lives(stage: KeyStage) -> None:
    source = await stage.a_source_key()
    made = await make(stage, use_of(source))
    stage.clock.move(timedelta(days=31))
    assert (await make(stage, use_of(source))).kid != made.kid
    await bring(stage, made.content)
    stage.clock.move(timedelta(days=6))
    assert await stage.made.exchange_keys.retire_due() == 1
    assert "key_exchange_key_disabled" in await check(stage, made.content)
