"""Material as it is given, in the clear or wrapped under a source key: whole and consistent, or refused by its code."""

import base64

import pytest

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import Validity
from core.domain.source_keys import SourceKey
from core.errors import KeystewardError
from core.material.material import KeyMaterial
from core.material.reading import Expected, GivenMaterial
from core.material.wrapping import OaepHash, WrapAlgorithm, wrap
from core.services.given_keys import GivenKey, Unwrapping
from core.services.source_keys import SourceUse
from tests.builders.keys import ACCOUNT, NOW
from tests.builders.new_keys import AES, EC, RSA, SOURCES, KeyStage, use_of
from tests.material.keys import ANYTHING, PASSPHRASE, content_of, expected_of, given, given_file, pem_of
from tests.material.keys import a_key as material_of_kind


@pytest.fixture
async def stage() -> KeyStage:
    stage = KeyStage()
    await stage.set_up()
    return stage


async def read(
    stage: KeyStage, material: GivenMaterial, expected: Expected = ANYTHING, unwrapping: Unwrapping | None = None
) -> KeyMaterial:
    return await stage.made.given_keys.read(ACCOUNT, GivenKey(material, expected, unwrapping))


async def wrapped(
    stage: KeyStage,
    key: SourceKey,
    kind: KeyKind,
    algorithm: WrapAlgorithm,
    oaep_hash: OaepHash = OaepHash.SHA256,
) -> GivenMaterial:
    with await stage.material_of(key) as wrapping_key, material_of_kind(kind) as material:
        return given_file(wrap(wrapping_key, material, algorithm, oaep_hash))


@pytest.mark.parametrize("kind", [EC, RSA], ids=str)
async def test_material_in_the_clear_is_read_as_it_is(stage: KeyStage, kind: KeyKind) -> None:
    for material in (given(pem_of(kind)), given_file(content_of(kind)), given(content_of(kind).hex())):
        with await read(stage, material, expected_of(kind)) as found:
            assert found == material_of_kind(kind)


async def test_octets_are_a_symmetric_key_where_that_is_said(stage: KeyStage) -> None:
    with await read(stage, given(content_of(AES).hex()), expected_of(AES)) as found:
        assert found == material_of_kind(AES)


@pytest.mark.parametrize(
    ("material", "expected", "code"),
    [
        (given("what is this?"), ANYTHING, "material_encoding_invalid"),
        (given(base64.b64encode(b"\x30\x03\x02\x01\x00")), ANYTHING, "material_corrupt"),
        (given_file(content_of(EC)), expected_of(RSA), "material_type_mismatch"),
        (given_file(content_of(EC)), Expected(KeyFamily.EC, curve="P-384"), "material_curve_mismatch"),
        (given_file(content_of(EC), PASSPHRASE), ANYTHING, "material_passphrase_unexpected"),
    ],
)
async def test_bad_material_is_refused_by_its_code(
    stage: KeyStage, material: GivenMaterial, expected: Expected, code: str
) -> None:
    with pytest.raises(KeystewardError) as refusal:
        await read(stage, material, expected)
    assert (refusal.value.code, refusal.value.field) == (code, "material")


@pytest.mark.parametrize("kind", [EC, RSA, AES], ids=str)
@pytest.mark.parametrize(
    ("wrapping_kind", "algorithm"),
    [(AES, WrapAlgorithm.AES_KWP), (RSA, WrapAlgorithm.RSA_AES_KEY_WRAP)],
    ids=["AES-KWP", "RSA-AES"],
)
@pytest.mark.parametrize("said", [True, False])
async def test_wrapped_material_is_read_as_it_is(
    stage: KeyStage, kind: KeyKind, wrapping_kind: KeyKind, algorithm: WrapAlgorithm, said: bool
) -> None:
    key = await stage.a_source_key("wrapping", wrapping_kind)
    material = await wrapped(stage, key, kind, algorithm)
    unwrapping = Unwrapping(use_of(key), algorithm if said else None, OaepHash.SHA256 if said else None)
    with await read(stage, material, expected_of(kind), unwrapping) as found:
        assert found == material_of_kind(kind)


async def test_a_wrapping_key_that_expired_still_unwraps(stage: KeyStage) -> None:
    key = await stage.a_source_key("wrapping", AES, validity=Validity(expires_on=NOW.replace(hour=13)))
    material = await wrapped(stage, key, EC, WrapAlgorithm.AES_KWP)
    stage.clock.move(NOW.replace(hour=14) - NOW)
    with await read(stage, material, ANYTHING, Unwrapping(use_of(key))) as found:
        assert found == material_of_kind(EC)


@pytest.mark.parametrize("number", [1, None])
async def test_only_the_version_that_wrapped_unwraps(stage: KeyStage, number: int | None) -> None:
    key = await stage.a_source_key("wrapping", AES)
    material = await wrapped(stage, key, EC, WrapAlgorithm.AES_KWP)
    await stage.another_version(key)
    unwrapping = Unwrapping(use_of(key, number))
    if number == 1:
        (await read(stage, material, ANYTHING, unwrapping)).wipe()
        return
    with pytest.raises(KeystewardError) as refusal:
        await read(stage, material, ANYTHING, unwrapping)
    assert (refusal.value.code, refusal.value.field) == ("unwrap_failed", "material")


@pytest.mark.parametrize(
    ("kind", "settings", "algorithm", "code"),
    [
        (AES, {"permissions": ("export", "wrap")}, None, "key_permission_missing"),
        (EC, {}, None, "key_permission_missing"),
        (AES, {"validity": Validity(enabled=False)}, None, "key_not_active"),
        (AES, {}, WrapAlgorithm.RSA_AES_KEY_WRAP, "wrapping_key_unsuitable"),
        (RSA, {}, WrapAlgorithm.AES_KWP, "wrapping_key_unsuitable"),
        (RSA, {}, None, "wrapped_material_malformed"),
    ],
)
async def test_a_key_that_cannot_unwrap_so_unwraps_nothing(
    stage: KeyStage, kind: KeyKind, settings: dict[str, object], algorithm: WrapAlgorithm | None, code: str
) -> None:
    wrapping_key = await stage.a_source_key("wrapping", AES)
    material = await wrapped(stage, wrapping_key, EC, WrapAlgorithm.AES_KWP)
    key = await stage.a_source_key("other", kind, **settings)
    with pytest.raises(KeystewardError) as refusal:
        await read(stage, material, ANYTHING, Unwrapping(use_of(key), algorithm))
    assert refusal.value.code == code


async def test_what_was_wrapped_has_to_be_what_is_said(stage: KeyStage) -> None:
    key = await stage.a_source_key("wrapping", AES)
    material = await wrapped(stage, key, EC, WrapAlgorithm.AES_KWP)
    for expected, code in ((expected_of(RSA), "material_type_mismatch"), (expected_of(AES), None)):
        with pytest.raises(KeystewardError) as refusal:
            await read(stage, material, expected, Unwrapping(use_of(key)))
        assert code in {None, refusal.value.code}


@pytest.mark.parametrize("use", [SourceUse(SOURCES, "key_nobodys"), SourceUse("grp_nobodys", "key_nobodys")])
async def test_a_key_that_is_not_there_unwraps_nothing(stage: KeyStage, use: SourceUse) -> None:
    with pytest.raises(KeystewardError) as refusal:
        await read(stage, given_file(b"x" * 40), ANYTHING, Unwrapping(use))
    assert refusal.value.code == "key_not_found"


async def test_wrapped_material_is_no_pem(stage: KeyStage) -> None:
    key = await stage.a_source_key("wrapping", AES)
    with pytest.raises(KeystewardError) as refusal:
        await read(stage, given(pem_of(EC)), ANYTHING, Unwrapping(use_of(key)))
    assert refusal.value.code == "material_encoding_invalid"
