"""What was once wrapped is read for ever: made by openssl, these must never change, only grow."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.secrets import SecretBytes
from core.domain.transfer_blobs import kid_parts, problems_of_form, problems_of_target, read_transfer_blob
from core.material.material import KeyMaterial
from core.material.reading import Expected, read_unwrapped
from core.material.wrapping import OaepHash, WrapAlgorithm, unwrap, wrap

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "wrapped_keys.json").read_text("utf-8")
)


def octets(text: str) -> bytes:
    return base64.b64decode(text)


def rsa(text: str) -> KeyMaterial:
    return KeyMaterial.from_canonical(KeyKind(KeyFamily.RSA, 2048), SecretBytes(octets(text)))


def kind_of(name: str) -> KeyKind:
    return {"RSA": KeyKind(KeyFamily.RSA, 2048), "AES": KeyKind(KeyFamily.AES, 256)}.get(
        name, KeyKind(KeyFamily.EC, curve=name)
    )


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["key"])
def test_pinned_keys_unwrap(vector: dict[str, str]) -> None:
    kind, content = kind_of(vector["key"]), octets(vector["content"])
    aes, wrapping_key = (
        KeyMaterial.of_octets(octets(VECTORS["wrapping_keys"]["AES"])),
        rsa(VECTORS["wrapping_keys"]["RSA"]),
    )
    unwrapped = [
        unwrap(aes, octets(vector["aes_kwp"]), WrapAlgorithm.AES_KWP),
        unwrap(wrapping_key, octets(vector["rsa_sha256"]), WrapAlgorithm.RSA_AES_KEY_WRAP),
        unwrap(wrapping_key, octets(vector["rsa_sha1"]), WrapAlgorithm.RSA_AES_KEY_WRAP),
    ]
    assert [one.reveal() for one in unwrapped] == [content] * 3
    material = read_unwrapped(unwrapped[0], Expected(kind.family, kind.size, kind.curve))
    # openssl's PKCS#8 is the canonical form, so what was sealed or wrapped by one version is that of every other.
    assert material.canonical().reveal() == content
    assert wrap(aes, material, WrapAlgorithm.AES_KWP) == octets(vector["aes_kwp"])


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["key"])
def test_pinned_transfer_blobs(vector: dict[str, str]) -> None:
    kind = kind_of(vector["key"])
    blob = read_transfer_blob(vector["transfer_blob"].encode())
    assert blob.kid == "https://payments.managedhsm.azure.net/keys/exchange/0123456789abcdef0123456789abcdef"
    assert kid_parts(blob.kid)[1:] == ("exchange", "0123456789abcdef0123456789abcdef")
    assert problems_of_form(blob) == problems_of_target(blob, 2048, kind) == ()
    exchange = rsa(VECTORS["key_exchange_key"])
    content = unwrap(exchange, blob.ciphertext, WrapAlgorithm.RSA_AES_KEY_WRAP, OaepHash.SHA1)
    assert content.reveal() == octets(vector["content"])
