"""Exports: only what may leave leaves, in the form that was asked for, and the key's history says so before."""

import base64

import pytest

from core.domain.keys import Validity
from core.domain.secrets import SecretText
from core.domain.source_keys import SourceKey
from core.errors import KeystewardError, VaultUnavailableError
from core.material.exporting import ExportFormat
from core.material.reading import GivenMaterial, read_material
from core.material.wrapping import OaepHash, WrapAlgorithm, unwrap
from core.ports import Stored
from core.services.exports import Exported, Wrapping
from core.services.source_keys import SourceUse
from tests.builders.keys import ACCOUNT, ALICE, NOW
from tests.builders.new_keys import AES, EC, RSA, SOURCES, KeyStage, use_of
from tests.material.keys import expected_of

PASSPHRASE = SecretText("correct horse")


@pytest.fixture
async def stage() -> KeyStage:
    stage = KeyStage()
    await stage.set_up()
    return stage


async def plain(
    stage: KeyStage,
    use: SourceUse,
    format_: ExportFormat = ExportFormat.PEM,
    passphrase: SecretText | None = None,
) -> Exported:
    return await stage.made.exports.plain(ACCOUNT, use, format_, passphrase, ALICE)


async def taken(stage: KeyStage, key: SourceKey) -> list[tuple[str, str]]:
    """What the key's history says of exports."""
    found = (await stage.made.source_keys.get(ACCOUNT, key.group, key.id)).value
    entries = [entry for entry in found.history if entry.event.startswith("key.exported")]
    assert {entry.actor for entry in entries} <= {ALICE}
    return [(entry.event, entry.detail) for entry in entries]


@pytest.mark.parametrize(
    ("kind", "format_", "passphrase"),
    [
        (EC, ExportFormat.PEM, None),
        (EC, ExportFormat.DER, None),
        (RSA, ExportFormat.PEM, None),
        (EC, ExportFormat.PEM, PASSPHRASE),
        (EC, ExportFormat.DER, PASSPHRASE),
        (AES, ExportFormat.RAW, None),
    ],
    ids=str,
)
async def test_what_leaves_is_the_key(
    stage: KeyStage, kind: object, format_: ExportFormat, passphrase: SecretText | None
) -> None:
    key = await stage.a_source_key(kind=kind)
    exported = await plain(stage, use_of(key), format_, passphrase)
    assert (exported.name, exported.version, exported.wrapped_with) == ("master", 1, None)
    content = exported.content.reveal()
    text = content.decode() if format_ is ExportFormat.PEM else base64.b64encode(content).decode()
    given = GivenMaterial(SecretText(text), passphrase=passphrase)
    with read_material(given, expected_of(key.kind)) as read, await stage.material_of(key) as material:
        assert read == material
    assert base64.b64decode(exported.base64()) == content
    how = "under a passphrase" if passphrase else "in the clear"
    assert await taken(stage, key) == [("key.exported", f"version 1, {how}")]
    assert str(exported).count("********") == 1
    await stage.check_lists()


async def test_the_version_that_was_asked_for_leaves(stage: KeyStage) -> None:
    first = await stage.a_source_key(kind=AES)
    key = await stage.another_version(first)
    contents = [await plain(stage, use_of(key, number), ExportFormat.RAW) for number in (1, 2, None)]
    assert [one.version for one in contents] == [1, 2, 2]
    assert contents[1].content == contents[2].content != contents[0].content
    assert [detail for _, detail in await taken(stage, key)] == [
        f"version {number}, in the clear" for number in (1, 2, 2)
    ]


@pytest.mark.parametrize(
    ("kind", "format_", "passphrase", "code"),
    [
        (AES, ExportFormat.PEM, None, "export_format_unsuitable"),
        (AES, ExportFormat.DER, None, "export_format_unsuitable"),
        (AES, ExportFormat.RAW, PASSPHRASE, "export_format_unsuitable"),
        (EC, ExportFormat.RAW, None, "export_format_unsuitable"),
        (EC, ExportFormat.PEM, SecretText(""), "export_passphrase_empty"),
    ],
)
async def test_an_export_that_is_refused_is_none_in_the_history(
    stage: KeyStage, kind: object, format_: ExportFormat, passphrase: SecretText | None, code: str
) -> None:
    key = await stage.a_source_key(kind=kind)
    with pytest.raises(KeystewardError) as refusal:
        await plain(stage, use_of(key), format_, passphrase)
    assert refusal.value.code == code
    assert await taken(stage, key) == []


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"permissions": ("sign",)}, "key_permission_missing"),
        ({"permissions": ()}, "key_permission_missing"),
        ({"validity": Validity(enabled=False)}, "key_not_active"),
        ({"validity": Validity(not_before=NOW.replace(year=2030))}, "key_not_active"),
    ],
)
async def test_a_key_that_may_not_leave_does_not(stage: KeyStage, settings: dict[str, object], code: str) -> None:
    key = await stage.a_source_key(**settings)
    wrapping_key = await stage.a_source_key("wrapping", AES)
    for export in (
        plain(stage, use_of(key)),
        stage.made.exports.wrapped(ACCOUNT, use_of(key), Wrapping(use_of(wrapping_key)), ALICE),
    ):
        with pytest.raises(KeystewardError) as refusal:
            await export
        assert refusal.value.code == code
    assert await taken(stage, key) == []


async def test_what_cannot_be_written_into_the_history_does_not_leave(stage: KeyStage) -> None:
    key = await stage.a_source_key()
    wrapping_key = await stage.a_source_key("wrapping", AES)

    async def away(partition: str, id_: str, value: SourceKey, etag: str) -> Stored[SourceKey]:
        raise VaultUnavailableError("away", code="storage_unavailable")

    stage.source_rows.replace = away
    with pytest.raises(VaultUnavailableError):
        await plain(stage, use_of(key))
    with pytest.raises(VaultUnavailableError):
        await stage.made.exports.wrapped(ACCOUNT, use_of(key), Wrapping(use_of(wrapping_key)), ALICE)


@pytest.mark.parametrize(
    ("wrapping_kind", "algorithm", "oaep_hash", "used"),
    [
        (AES, None, OaepHash.SHA256, WrapAlgorithm.AES_KWP),
        (AES, WrapAlgorithm.AES_KWP, OaepHash.SHA1, WrapAlgorithm.AES_KWP),
        (RSA, None, OaepHash.SHA256, WrapAlgorithm.RSA_AES_KEY_WRAP),
        (RSA, WrapAlgorithm.RSA_AES_KEY_WRAP, OaepHash.SHA512, WrapAlgorithm.RSA_AES_KEY_WRAP),
    ],
)
@pytest.mark.parametrize("kind", [EC, AES], ids=str)
async def test_what_leaves_wrapped_is_the_key_for_who_has_the_wrapping_key(
    stage: KeyStage,
    kind: object,
    wrapping_kind: object,
    algorithm: WrapAlgorithm | None,
    oaep_hash: OaepHash,
    used: WrapAlgorithm,
) -> None:
    key = await stage.a_source_key(kind=kind)
    wrapping_key = await stage.a_source_key("wrapping", wrapping_kind)
    wrapping = Wrapping(use_of(wrapping_key), algorithm, oaep_hash)
    exported = await stage.made.exports.wrapped(ACCOUNT, use_of(key), wrapping, ALICE)
    assert exported.wrapped_with is used
    with await stage.material_of(wrapping_key, "unwrap") as unwrapping, await stage.material_of(key) as material:
        assert unwrap(unwrapping, exported.content.reveal(), used, oaep_hash) == material.canonical()
    assert await taken(stage, key) == [("key.exported_wrapped", f"version 1, wrapped under {wrapping_key.id}")]
    assert await taken(stage, wrapping_key) == []


@pytest.mark.parametrize(
    ("wrapping_kind", "settings", "algorithm", "code"),
    [
        (EC, {}, None, "key_permission_missing"),
        (AES, {"permissions": ("export", "unwrap")}, None, "key_permission_missing"),
        (AES, {"validity": Validity(enabled=False)}, None, "key_not_active"),
        (AES, {}, WrapAlgorithm.RSA_AES_KEY_WRAP, "wrapping_key_unsuitable"),
        (RSA, {}, WrapAlgorithm.AES_KWP, "wrapping_key_unsuitable"),
    ],
)
async def test_a_key_that_cannot_wrap_so_wraps_nothing(
    stage: KeyStage, wrapping_kind: object, settings: dict[str, object], algorithm: WrapAlgorithm | None, code: str
) -> None:
    key = await stage.a_source_key()
    wrapping_key = await stage.a_source_key("wrapping", wrapping_kind, **settings)
    with pytest.raises(KeystewardError) as refusal:
        await stage.made.exports.wrapped(ACCOUNT, use_of(key), Wrapping(use_of(wrapping_key), algorithm), ALICE)
    assert refusal.value.code == code
    assert await taken(stage, key) == []


async def test_keys_that_are_not_there_are_not_exported(stage: KeyStage) -> None:
    key = await stage.a_source_key()
    nobodys = SourceUse(SOURCES, "key_nobodys")
    for export in (
        plain(stage, nobodys),
        plain(stage, use_of(key, 2)),
        stage.made.exports.wrapped(ACCOUNT, use_of(key), Wrapping(nobodys), ALICE),
        stage.made.exports.plain("acc_other", use_of(key), ExportFormat.PEM, None, ALICE),
    ):
        with pytest.raises(KeystewardError) as refusal:
            await export
        assert refusal.value.code in {"key_not_found", "key_version_not_found"}
    assert await taken(stage, key) == []
