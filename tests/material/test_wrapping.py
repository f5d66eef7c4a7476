"""Wrapping: published vectors, openssl both ways, and everything that must not unwrap."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from core.domain.key_kinds import KeyFamily, KeyKind
from core.errors import ConflictError, InvalidRequestError
from core.material.material import KeyMaterial
from core.material.reading import read_unwrapped
from core.material.wrapping import OaepHash, WrapAlgorithm, default_algorithm, unwrap, wrap

from .keys import (
    AES_KINDS,
    ALL_KINDS,
    EC_KINDS,
    RSA_2048,
    RSA_3072,
    RSA_4096,
    a_key,
    content_of,
    expected_of,
    openssl,
    openssl_with,
)

AES_256 = AES_KINDS[2]
KWP, RSA_WRAP = WrapAlgorithm.AES_KWP, WrapAlgorithm.RSA_AES_KEY_WRAP
# RFC 5649, 6, and C2SP/wycheproof testvectors_v1/aes_kwp_test.json (Apache-2.0), by their numbers there.
KEK_192 = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"
VALID = {
    "rfc5649_20": (
        KEK_192,
        "c37b7e6492584340bed12207808941155068f738",
        "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
    ),
    "rfc5649_7": (KEK_192, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    "wycheproof_1": (
        "6f67486d1e914419cb43c28509c7c1ea",
        "8dc0632d92ee0be4f740028410b08270",
        "8cd63fa6788aa5edfa753fc87d645a672b14107c3b4519e7",
    ),
    "wycheproof_4": (
        "e0e12959109103e30ae8b5684a22e662",
        "dbb0f2bb2be912a20430972d9842ce3fd3b928e573e1ac8e",
        "9e4510cc84c4bd7abab0a8a5d7f1e6ff3e6777ca2dff9be7e223652239fe57d8",
    ),
    "wycheproof_7": (
        "c2b9d23f2831ddcdeb456853d4014db9",
        "f4cfea98e58b939cc859554385cf3a6c7f8217f728efb431c964786de8274907",
        "67f8edf57f84ea0a35b35511d67d3f299c9984b2c07d3809c3d7f5f45091f1a8fbb937ed447677f6",
    ),
}
# The same source: modified initial values and paddings.
INVALID = [
    "4cdd2962f23ec897d41d14c3f818516c055799185f459e2d",
    "de895192c35ec58ee6e5614fd2b20a85f8e9c8234cdc5319",
    "4a24069a050af7bbcf6c2160d54525e017e3ac1b3a2e71f0",
    "6252ab0e688d0638df7d87ec5be3b2f9c0c245c0f0794012",
    "a2ed5982a604512d85d87630cd50705b1a70189b81575e3f",
    "a0c51e687c46f342c78e3c59eee076a85312206a37213ac3",
    "8ac142d100eab0808b5f34ed29650163db77ab281e6f1e58",
    "db345851a09bf92c35855c367c8787e5ab3ff16e9d8b0f3b",
]
INVALID_KEY = "4f710eb6b5e28703becfc3dc52fa8bc1"


def aes(hexadecimal: str) -> KeyMaterial:
    return KeyMaterial.of_octets(bytes.fromhex(hexadecimal))


def unwrap_failure(
    key: KeyMaterial,
    wrapped: bytes,
    algorithm: WrapAlgorithm,
    oaep_hash: OaepHash | None = None,
) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as refused:
        unwrap(key, wrapped, algorithm, oaep_hash)
    assert refused.value.__cause__ is None
    return refused.value


@pytest.mark.parametrize("name", VALID)
def test_published_vectors_unwrap(name: str) -> None:
    key, content, wrapped = VALID[name]
    assert unwrap(aes(key), bytes.fromhex(wrapped), KWP).reveal().hex() == content
    assert wrap(aes(key), aes(content), KWP).hex() == wrapped


@pytest.mark.parametrize("wrapped", INVALID)
def test_published_forgeries_do_not(wrapped: str) -> None:
    assert unwrap_failure(aes(INVALID_KEY), bytes.fromhex(wrapped), KWP).code == "unwrap_failed"


@pytest.mark.parametrize("kind", ALL_KINDS, ids=str)
@pytest.mark.parametrize("wrapping", [*AES_KINDS, RSA_2048], ids=str)
def test_every_kind_comes_back(wrapping: KeyKind, kind: KeyKind) -> None:
    key, algorithm = a_key(wrapping), default_algorithm(wrapping.family)
    wrapped = wrap(key, a_key(kind), algorithm)
    assert wrapped != wrap(key, a_key(kind), algorithm) or algorithm is KWP
    content = unwrap(key, wrapped, algorithm)
    assert content.reveal() == content_of(kind)
    assert read_unwrapped(content, expected_of(kind)) == a_key(kind)


@pytest.mark.parametrize("oaep_hash", OaepHash)
@pytest.mark.parametrize("wrapping", [RSA_2048, RSA_3072, RSA_4096], ids=str)
def test_every_hash(wrapping: KeyKind, oaep_hash: OaepHash) -> None:
    key = a_key(wrapping)
    wrapped = wrap(key, a_key(AES_256), RSA_WRAP, oaep_hash)
    assert wrapping.size is not None
    assert len(wrapped) == wrapping.size // 8 + 40
    assert unwrap(key, wrapped, RSA_WRAP, oaep_hash).reveal() == content_of(AES_256)
    others = [other for other in OaepHash if other is not oaep_hash]
    assert {unwrap_failure(key, wrapped, RSA_WRAP, other).code for other in others} == {"unwrap_failed"}
    if oaep_hash in {OaepHash.SHA1, OaepHash.SHA256}:
        assert unwrap(key, wrapped, RSA_WRAP).reveal() == content_of(AES_256)
    else:
        assert unwrap_failure(key, wrapped, RSA_WRAP).code == "unwrap_failed"


@hypothesis_given(content=st.binary(min_size=1, max_size=300), key=st.binary(min_size=32, max_size=32))
@settings(max_examples=50, deadline=None)
def test_octets_of_any_length_come_back(content: bytes, key: bytes) -> None:
    wrapping_key = KeyMaterial.of_octets(key)
    wrapped = wrap(wrapping_key, KeyMaterial.of_octets(content), KWP)
    assert len(wrapped) == -(-len(content) // 8) * 8 + 8
    assert unwrap(wrapping_key, wrapped, KWP).reveal() == content


def test_any_altered_bit_is_found() -> None:
    key, other = a_key(AES_256), a_key(AES_KINDS[0])
    wrapped = wrap(key, other, KWP)
    for index in range(8 * len(wrapped)):
        altered = bytearray(wrapped)
        altered[index // 8] ^= 1 << index % 8
        assert unwrap_failure(key, bytes(altered), KWP).code == "unwrap_failed"


def test_no_failure_tells_where_it_failed() -> None:
    key = a_key(RSA_2048)
    wrapped = wrap(key, a_key(AES_256), RSA_WRAP)
    oaep = bytearray(wrapped)
    oaep[5] ^= 1
    key_wrap = bytearray(wrapped)
    key_wrap[-1] ^= 1
    short_key = one_time(bytes(7)) + wrapped[256:]
    failures = [
        unwrap_failure(key, bytes(oaep), RSA_WRAP),
        unwrap_failure(key, bytes(key_wrap), RSA_WRAP),
        unwrap_failure(key, short_key, RSA_WRAP),
        unwrap_failure(key, b"\xff" * 256 + wrapped[256:], RSA_WRAP),
        unwrap_failure(key, bytes(256) + wrapped[256:], RSA_WRAP),
        unwrap_failure(KeyMaterial.generate(RSA_2048), wrapped, RSA_WRAP),
        unwrap_failure(KeyMaterial.generate(AES_256), wrapped[256:], KWP),
        unwrap_failure(key, bytes(256 + 16), RSA_WRAP, OaepHash.SHA512),
    ]
    assert {(failure.code, failure.detail, failure.field) for failure in failures} == {
        ("unwrap_failed", failures[0].detail, "material")
    }
    assert "another key" in failures[0].detail
    assert "altered" in failures[0].detail


def one_time(octets: bytes) -> bytes:
    """Encrypt a one-time key as the first part of an RSA-AES key wrap."""
    padding = OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)
    key = a_key(RSA_2048).private_key()
    assert isinstance(key, RSAPrivateKey)
    return key.public_key().encrypt(octets, padding)


@pytest.mark.parametrize("length", [0, 8, 15, 17, 23, 25, 65_544])
def test_impossible_lengths(length: int) -> None:
    assert unwrap_failure(a_key(AES_256), bytes(length), KWP).code == "wrapped_material_malformed"
    assert unwrap_failure(a_key(RSA_2048), bytes(256 + length), RSA_WRAP).code == "wrapped_material_malformed"
    if length < 256:
        assert unwrap_failure(a_key(RSA_2048), bytes(length), RSA_WRAP).code == "wrapped_material_malformed"
    assert unwrap_failure(a_key(AES_256), bytes(16), KWP).code == "unwrap_failed"


def test_keys_that_cannot_wrap() -> None:
    target = a_key(AES_256)
    assert default_algorithm(KeyFamily.AES) is KWP
    assert default_algorithm(KeyFamily.RSA) is RSA_WRAP
    attempts = [
        lambda: default_algorithm(KeyFamily.EC),
        lambda: wrap(a_key(EC_KINDS[0]), target, KWP),
        lambda: wrap(a_key(RSA_2048), target, KWP),
        lambda: wrap(target, target, RSA_WRAP),
        lambda: unwrap(target, bytes(300), RSA_WRAP),
        lambda: unwrap(a_key(RSA_2048), bytes(24), KWP),
        lambda: unwrap(a_key(EC_KINDS[0]), bytes(24), RSA_WRAP),
    ]
    for attempt in attempts:
        with pytest.raises(ConflictError) as refused:
            attempt()
        assert refused.value.code == "wrapping_key_unsuitable"


@pytest.mark.parametrize("kind", [RSA_2048, *EC_KINDS, *AES_KINDS], ids=str)
@pytest.mark.parametrize("wrapping", AES_KINDS, ids=str)
def test_openssl_unwraps_what_an_aes_key_wrapped_and_the_other_way_round(wrapping: KeyKind, kind: KeyKind) -> None:
    cipher = ("enc", f"-id-aes{wrapping.size}-wrap-pad", "-K", content_of(wrapping).hex(), "-iv", "A65959A6")
    wrapped = wrap(a_key(wrapping), a_key(kind), KWP)
    assert openssl(*cipher, "-d", stdin=wrapped) == content_of(kind)
    theirs = openssl(*cipher, stdin=content_of(kind))
    assert theirs == wrapped
    assert unwrap(a_key(wrapping), theirs, KWP).reveal() == content_of(kind)


@pytest.mark.parametrize("oaep_hash", OaepHash)
def test_openssl_unwraps_what_an_rsa_key_wrapped_and_the_other_way_round(oaep_hash: OaepHash) -> None:
    name = oaep_hash.value
    padding = ("rsa_padding_mode:oaep", f"rsa_oaep_md:{name}", f"rsa_mgf1_md:{name}")
    options = tuple(part for option in padding for part in ("-pkeyopt", option))
    files = {"key": content_of(RSA_2048)}
    key = ("-inkey", "{key}", "-keyform", "DER")
    wrapped = wrap(a_key(RSA_2048), a_key(EC_KINDS[0]), RSA_WRAP, oaep_hash)
    one_time_key = openssl_with(files, "pkeyutl", "-decrypt", *key, *options, stdin=wrapped[:256])
    cipher = ("enc", "-id-aes256-wrap-pad", "-K", one_time_key.hex(), "-iv", "A65959A6")
    assert openssl(*cipher, "-d", stdin=wrapped[256:]) == content_of(EC_KINDS[0])
    theirs = openssl_with(files, "pkeyutl", "-encrypt", *key, *options, stdin=one_time_key) + wrapped[256:]
    assert unwrap(a_key(RSA_2048), theirs, RSA_WRAP, oaep_hash).reveal() == content_of(EC_KINDS[0])


def test_one_time_keys_of_aes_128_are_accepted() -> None:
    wrapped = one_time(bytes(range(16))) + wrap(KeyMaterial.of_octets(bytes(range(16))), a_key(AES_256), KWP)
    assert unwrap(a_key(RSA_2048), wrapped, RSA_WRAP).reveal() == content_of(AES_256)


def test_a_failure_is_not_faster_where_it_fails_earlier() -> None:
    """Both parts are always done: the random key of a failed OAEP runs through the key wrap, too."""
    key = a_key(RSA_2048)
    wrapped = wrap(key, a_key(RSA_2048), RSA_WRAP)

    def best(altered: bytes) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            unwrap_failure(key, altered, RSA_WRAP)
            times.append(time.perf_counter() - start)
        return min(times)

    early = best(wrapped[:200] + bytes((wrapped[200] ^ 1,)) + wrapped[201:])
    late = best(wrapped[:-1] + bytes((wrapped[-1] ^ 1,)))
    assert early > late / 2
