"""Material that nothing shows, and its canonical form."""

import base64
import copy
import dataclasses
import json
import logging
import pickle
import pprint
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import PublicKey
from core.domain.public_keys import as_jwk, ec_public_key, rsa_public_key
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError
from core.material.material import KeyMaterial, WipedMaterialError

from .keys import AES_KINDS, ALL_KINDS, EC_KINDS, RSA_2048, a_key, content_of, rsa_numbers

AES_256 = AES_KINDS[2]
SHOWN = "KeyMaterial(********)"


@dataclasses.dataclass(frozen=True)
class Holder:
    material: KeyMaterial


@pytest.mark.parametrize("kind", ALL_KINDS, ids=str)
def test_what_was_canonical_is_read_as_it_is(kind: KeyKind) -> None:
    material = a_key(kind)
    assert material.kind == kind
    assert material.canonical().reveal() == content_of(kind)
    assert material == a_key(kind)
    assert material != KeyMaterial.generate(KeyKind(KeyFamily.AES, 256))


@pytest.mark.parametrize("kind", [one for one in ALL_KINDS if one.family is not KeyFamily.AES], ids=str)
def test_the_private_jwk_has_what_azure_takes(kind: KeyKind) -> None:
    material = a_key(kind)
    jwk = json.loads(material.private_jwk().reveal())
    numbers = material.private_key().private_numbers()
    public = {**as_jwk(material.public_key), "crv": kind.curve} if kind.curve else as_jwk(material.public_key)
    assert {name: jwk[name] for name in public} == public
    if isinstance(numbers, rsa.RSAPrivateNumbers):
        assert set(jwk) == {"kty", "n", "e", "d", "p", "q", "dp", "dq", "qi"}
        assert number(jwk["d"]) == numbers.d
        assert number(jwk["p"]) * number(jwk["q"]) == number(jwk["n"])
        assert [number(jwk[name]) for name in ("dp", "dq", "qi")] == [numbers.dmp1, numbers.dmq1, numbers.iqmp]
    else:
        assert set(jwk) == {"kty", "crv", "x", "y", "d"}
        assert number(jwk["d"]) == numbers.private_value
        assert len({len(jwk[name]) for name in ("x", "y", "d")}) == 1


def test_coordinates_and_private_values_have_full_width() -> None:
    material = KeyMaterial.of_private_key(ec.derive_private_key(5, ec.SECP521R1()))
    jwk = json.loads(material.private_jwk().reveal())
    assert {len(octets(jwk[name])) for name in ("x", "y", "d")} == {66}
    assert octets(jwk["d"]) == bytes(65) + b"\5"


def test_numbers_of_rsa_have_no_leading_zeros() -> None:
    jwk = json.loads(a_key(RSA_2048).private_jwk().reveal())
    assert jwk["e"] == "AQAB"
    assert all(octets(jwk[name])[0] for name in ("n", "d", "p", "q", "dp", "dq", "qi"))


def test_symmetric_keys_have_neither_public_half_nor_jwk() -> None:
    material = a_key(AES_256)
    assert material.public_key == PublicKey()
    with pytest.raises(TypeError):
        material.private_jwk()
    with pytest.raises(TypeError):
        material.private_key()


@pytest.mark.parametrize(
    "kind",
    [
        KeyKind(KeyFamily.RSA, 1024),
        KeyKind(KeyFamily.RSA),
        KeyKind(KeyFamily.EC, curve="P-224"),
        KeyKind(KeyFamily.EC, 256),
        KeyKind(KeyFamily.AES, 512),
    ],
    ids=str,
)
def test_other_kinds_are_not_made(kind: KeyKind) -> None:
    with pytest.raises(ValueError, match="no keys of this kind"):
        KeyMaterial.generate(kind)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (AES_256, bytes(31)),
        (AES_256, b""),
        (RSA_2048, b""),
        (RSA_2048, content_of(RSA_2048)[:-1]),
        (KeyKind(KeyFamily.RSA, 3072), content_of(RSA_2048)),
        (RSA_2048, content_of(EC_KINDS[0])),
        (EC_KINDS[0], content_of(EC_KINDS[3])),
        (EC_KINDS[0], content_of(RSA_2048)),
        (
            EC_KINDS[0],
            ec.generate_private_key(ec.SECP224R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        ),
    ],
    ids=range(9),
)
def test_canonical_content_of_another_kind_is_an_alarm(kind: KeyKind, content: bytes) -> None:
    with pytest.raises(IntegrityError) as refused:
        KeyMaterial.from_canonical(kind, SecretBytes(content))
    assert refused.value.code == "material_altered"


def test_equality_is_of_content() -> None:
    one = KeyMaterial.of_octets(b"0123456789abcdef")
    assert one == KeyMaterial.of_octets(b"0123456789abcdef")
    assert one != KeyMaterial.of_octets(b"0123456789abcdeF")
    assert one != b"0123456789abcdef"


def test_with_overwrites_at_the_end() -> None:
    with a_key(RSA_2048) as material:
        held = material._content
        assert any(held)
    assert held == bytes(len(held))
    assert material.kind == RSA_2048
    assert material.public_key.thumbprint
    material.wipe()


def test_an_error_wipes_too() -> None:
    material = a_key(AES_256)
    held = material._content
    with pytest.raises(RuntimeError, match="boom"), material:
        raise RuntimeError("boom")
    assert not any(held)


def test_what_nobody_wiped_is_overwritten_when_it_is_collected() -> None:
    material = a_key(AES_256)
    held = material._content
    del material
    assert held == bytes(32)


def test_wiped_material_is_of_no_use() -> None:
    material, other = a_key(RSA_2048), a_key(RSA_2048)
    material.wipe()
    for use in (material.canonical, material.private_jwk, material.private_key, material.__enter__):
        with pytest.raises(WipedMaterialError):
            use()
    with pytest.raises(WipedMaterialError):
        assert material == other
    with pytest.raises(WipedMaterialError):
        assert other == material


def test_no_text_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    material = a_key(AES_256)
    logging.getLogger("test").warning("%s %r", material, Holder(material), extra={"material": material})
    texts = [repr(material), str(material), f"{material}", f"{material:>80}", pprint.pformat(material), caplog.text]
    assert all(SHOWN in text for text in texts)
    for text in texts:
        for secret in (content_of(AES_256).hex(), str(content_of(AES_256)), str(list(content_of(AES_256)))):
            assert secret not in text


@pytest.mark.parametrize(
    "leave",
    [
        pickle.dumps,
        lambda material: pickle.dumps(material, protocol=0),
        lambda material: pickle.dumps({"key": material}),
        copy.copy,
        copy.deepcopy,
        lambda material: dataclasses.asdict(Holder(material)),
        lambda material: dataclasses.astuple(Holder(material)),
        json.dumps,
        bytes,
        list,
        memoryview,
        vars,
        hash,
        lambda material: {material},
        lambda material: material.__getstate__(),
        lambda material: material.__reduce__(),
        lambda material: material.__reduce_ex__(2),
        lambda _: TypeAdapter(KeyMaterial),
    ],
)
def test_nothing_takes_it_out_by_accident(leave: Any) -> None:
    with pytest.raises(TypeError):
        leave(a_key(AES_256))


def test_pydantic_does_not_write_it() -> None:
    class Model(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        anything: Any

    material = a_key(AES_256)
    for write in (Model(anything=material).model_dump_json, lambda: TypeAdapter(Any).dump_json(material)):
        with pytest.raises(PydanticSerializationError):
            write()
    assert TypeAdapter(Any).dump_json(material, fallback=str) == f'"{SHOWN}"'.encode()
    with pytest.raises(TypeError):

        class Typed(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            material: KeyMaterial


def test_thumbprints_are_those_of_rfc_7638() -> None:
    # The example of RFC 7638, 3.1, and the EC key of RFC 7517, A.1.
    n = octets(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn"
        "jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q"
        "MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap"
        "JzKnqDKgw"
    )
    assert rsa_public_key(b"\0" + n, b"\0\1\0\1").thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    x, y = octets("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"), octets("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")
    assert ec_public_key("P-256", x, y).thumbprint == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"


def test_public_keys_have_one_form() -> None:
    short, full = ec_public_key("P-256K", b"\1", b"\0\2"), ec_public_key("P-256K", b"\1".rjust(32, b"\0"), b"\2")
    assert short == full
    assert as_jwk(full)["crv"] == "secp256k1"
    assert ec_public_key("secp256k1", b"\1", b"\2").thumbprint == full.thumbprint
    assert as_jwk(PublicKey()) == {}
    assert ec_public_key("P-224", b"\1", b"\2").x == "AQ"


def test_a_key_that_was_read_has_the_thumbprint_that_a_vault_shows() -> None:
    numbers = rsa_numbers()
    shown = rsa_public_key(numbers.n.to_bytes(257), numbers.e.to_bytes(4))
    assert a_key(RSA_2048).public_key == shown


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text: str) -> int:
    return int.from_bytes(octets(text))
