"""Bad material, as people really give it: each is refused with its own code, and nothing of it is repeated."""

import ast
import base64
import json
import math
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.secrets import SecretBytes, SecretText
from core.errors import InvalidRequestError
from core.material import refusals
from core.material.der import (
    BIT_STRING,
    CONTEXT_0,
    CONTEXT_1,
    IMPLICIT_1,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    write,
    write_integer,
    write_oid,
)
from core.material.encrypted import encrypted_pkcs8
from core.material.material import KeyMaterial
from core.material.private_keys import RsaNumbers
from core.material.reading import Expected, GivenMaterial, MaterialEncoding, read_material, read_octets, read_unwrapped

from .keys import (
    ANYTHING,
    EC_KINDS,
    PASS,
    PASSPHRASE,
    RSA_2048,
    RSA_3072,
    a_key,
    assert_repeats_nothing,
    content_of,
    ec_numbers,
    given,
    given_file,
    openssl,
    openssl_with,
    pem_of,
    random_octets,
    read,
    read_file,
    rsa_numbers,
)

P256, P384, P521, P256K = EC_KINDS
AES = Expected(KeyFamily.AES)
BASE64, HEX, PEM = MaterialEncoding.BASE64, MaterialEncoding.HEX, MaterialEncoding.PEM


def refusal(
    content: bytes | str,
    expected: Expected = ANYTHING,
    *,
    encoding: MaterialEncoding = MaterialEncoding.AUTO,
    passphrase: SecretText | None = None,
) -> str:
    """Return the code with which a text is refused."""
    with pytest.raises(InvalidRequestError) as refused:
        read_material(given(content, encoding, passphrase), expected)
    return checked_code(refused.value, content)


def file_refusal(content: bytes, expected: Expected = ANYTHING, passphrase: SecretText | None = None) -> str:
    """Return the code with which a file is refused."""
    with pytest.raises(InvalidRequestError) as refused:
        read_material(given_file(content, passphrase), expected)
    return checked_code(refused.value, base64.b64encode(content))


def checked_code(error: InvalidRequestError, content: bytes | str) -> str:
    shown = content.decode() if isinstance(content, bytes) else content
    assert error.field == "material"
    assert_repeats_nothing(error, [shown[start : start + 16] for start in range(0, len(shown) - 15, 16)])
    return error.code


# ---- encodings


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("", MaterialEncoding.AUTO),
        (" \r\n\t", MaterialEncoding.AUTO),
        ("\ufeff", MaterialEncoding.AUTO),
        ("no base64, but a sentence", MaterialEncoding.AUTO),
        ("MII*", MaterialEncoding.AUTO),
        ("MIIB\udc80", MaterialEncoding.AUTO),
        ("ab+_", BASE64),
        ("A", BASE64),
        ("AAAAA", BASE64),
        ("QUI", HEX),
        ("QQ=", BASE64),
        ("Q=Q=", BASE64),
        ("QUJD====", BASE64),
        ("QQ==QQ==", BASE64),
        ("=", BASE64),
        # Bits that belong to no octet: the last character was cut off or altered.
        ("QR==", BASE64),
        ("QUJDRF", BASE64),
        ("abc", MaterialEncoding.AUTO),
        # 43 of 64 hex digits would be a whole AES-256 key in base64.
        ("ab" * 21 + "c", MaterialEncoding.AUTO),
        ("0x", MaterialEncoding.AUTO),
        ("::", MaterialEncoding.AUTO),
        ("a:bb:c", MaterialEncoding.AUTO),
        ("aa b bb c", HEX),
        ("0x0xaa", HEX),
        ("zz", HEX),
        ("MIIB", HEX),
        ("\uff10\uff11", HEX),
        ("MIIBAAAA", PEM),
        ("00" * 16, PEM),
    ],
)
def test_material_encoding_invalid(content: str, encoding: MaterialEncoding) -> None:
    assert refusal(content, AES, encoding=encoding) == "material_encoding_invalid"


def test_wrapped_material_is_no_pem() -> None:
    for given_pem in (given(pem_of(P256)), given_file(pem_of(P256)), given(pem_of(P256).hex())):
        with pytest.raises(InvalidRequestError) as refused:
            read_octets(given_pem)
        assert refused.value.code == "material_encoding_invalid"


def test_material_too_large() -> None:
    assert refusal("A" * 65_537) == "material_too_large"
    assert refusal("A" * 65_536, encoding=BASE64) == "material_corrupt"
    assert refusal("-----BEGIN PRIVATE KEY-----" * 2_427) == "material_corrupt"


# ---- formats


@cache
def certificate() -> bytes:
    return openssl_with({"key": pem_of(P256)}, "req", "-x509", "-new", "-key", "{key}", "-subj", "/CN=test")


def der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(line for line in pem.splitlines() if not line.startswith(b"-----")))


def test_material_certificate() -> None:
    request = openssl_with({"key": pem_of(P256)}, "req", "-new", "-key", "{key}", "-subj", "/CN=test")
    trusted = openssl("x509", "-trustout", stdin=certificate())
    public = openssl("pkey", "-pubout", stdin=pem_of(P256))
    for pem in (certificate(), request, trusted, certificate() + public):
        assert refusal(pem) == "material_certificate"
        assert file_refusal(pem) == "material_certificate"
    for pem in (certificate(), request):
        assert file_refusal(der(pem)) == "material_certificate"


@pytest.mark.parametrize("kind", [RSA_2048, P256], ids=str)
def test_material_public_only(kind: KeyKind) -> None:
    pem = openssl("pkey", "-pubout", stdin=pem_of(kind))
    assert refusal(pem) == "material_public_only"
    assert file_refusal(der(pem)) == "material_public_only"
    assert refusal(base64.b64encode(der(pem))) == "material_public_only"


def test_material_public_only_in_old_forms() -> None:
    pem = openssl("rsa", "-RSAPublicKey_out", stdin=pem_of(RSA_2048))
    assert refusal(pem) == "material_public_only"
    assert file_refusal(der(pem)) == "material_public_only"
    line = a_key(RSA_2048).private_key().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    assert refusal(line) == "material_public_only"
    assert file_refusal(line) == "material_public_only"


def test_material_format_unsupported() -> None:
    openssh = a_key(P256).private_key().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    files = {"key": pem_of(P256), "certificate": certificate()}
    p12 = openssl_with(files, "pkcs12", "-export", "-inkey", "{key}", "-in", "{certificate}", "-passout", PASS)
    p7 = openssl_with(files, "crl2pkcs7", "-nocrl", "-certfile", "{certificate}")
    jwk = a_key(P256).private_jwk().reveal()
    texts = {
        "OpenSSH": openssh,
        "PKCS#7": p7,
        "JWK": jwk,
        "XML": b"<RSAKeyValue><Modulus>AA==</Modulus></RSAKeyValue>",
        "PuTTY": b"PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n",
        "PGP": b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxVgE\n-----END PGP PRIVATE KEY BLOCK-----\n",
        "SSH2": b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n",
        "PKCS#12": b"-----BEGIN PKCS12-----\nAAAA\n-----END PKCS12-----\n",
    }
    for name, text in texts.items():
        assert name in detail_of(given(text)), name
        assert name in detail_of(given_file(text)), name
        assert name in detail_of(given(text, BASE64 if not text.startswith(b"-----B") else PEM)), name
    for name, content in {"PKCS#12": p12, "PKCS#7": der(p7)}.items():
        assert name in detail_of(given_file(content)), name


def test_pkcs12_as_windows_writes_it() -> None:
    # BER with indefinite lengths.
    content = bytes.fromhex("3080020103308006092a864886f70d010701a0802480048203e8") + random_octets(40)
    assert "PKCS#12" in detail_of(given_file(content))


def detail_of(material: GivenMaterial) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        read_material(material, ANYTHING)
    assert refused.value.code == "material_format_unsupported"
    return refused.value.detail


@pytest.mark.parametrize(
    "arguments",
    [
        ("genpkey", "-algorithm", "ED25519"),
        ("genpkey", "-algorithm", "X25519"),
        ("genpkey", "-algorithm", "ED448"),
        ("genpkey", "-algorithm", "X448"),
        ("genpkey", "-algorithm", "RSA-PSS"),
        ("genpkey", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"),
        ("genrsa", "-primes", "3", "2048"),
        ("genrsa", "-traditional", "-primes", "3", "2048"),
    ],
    ids=lambda arguments: arguments[2],
)
def test_material_kind_unsupported(arguments: tuple[str, ...]) -> None:
    pem = openssl(*arguments)
    assert refusal(pem) == "material_kind_unsupported"
    assert file_refusal(der(pem), Expected(KeyFamily.RSA)) == "material_kind_unsupported"
    for method in (("-v2", "aes256"), ("-v1", "PBE-SHA1-3DES")):
        sealed = openssl("pkcs8", "-topk8", *method, "-passout", PASS, stdin=pem)
        assert refusal(sealed, passphrase=PASSPHRASE) == "material_kind_unsupported"


def test_dsa_is_unsupported_in_each_form() -> None:
    parameters = openssl("dsaparam", "1024")
    pem = openssl_with({"parameters": parameters}, "gendsa", "{parameters}")
    assert refusal(parameters + pem) == "material_kind_unsupported"
    assert refusal(openssl("dsa", "-outform", "PEM", stdin=pem)) == "material_kind_unsupported"
    assert file_refusal(der(openssl("pkcs8", "-topk8", "-nocrypt", stdin=pem))) == "material_kind_unsupported"
    numbers = write(SEQUENCE, *(write_integer(number) for number in range(6)))
    assert file_refusal(numbers) == "material_kind_unsupported"
    labelled = b"-----BEGIN ED25519 PRIVATE KEY-----\nAAAA\n-----END ED25519 PRIVATE KEY-----\n"
    assert refusal(labelled) == "material_kind_unsupported"
    unknown = write(SEQUENCE, write_integer(0), write(SEQUENCE, write_oid("2a03")), write(OCTET_STRING, b"0"))
    assert file_refusal(unknown) == "material_kind_unsupported"


# ---- damage


@pytest.mark.parametrize("kind", [RSA_2048, P256], ids=str)
def test_material_corrupt_der(kind: KeyKind) -> None:
    content = content_of(kind)
    for damaged in (content[:-1], content + b"\0", content[1:], content[: len(content) // 2], content + content):
        assert file_refusal(damaged) == "material_corrupt"
        assert file_refusal(damaged, Expected(KeyFamily.RSA)) == "material_corrupt"
        with pytest.raises(InvalidRequestError) as refused:
            read_unwrapped(SecretBytes(damaged), ANYTHING)
        assert refused.value.code == "material_corrupt"


def test_material_corrupt_pem() -> None:
    pem = pem_of(P256).decode()
    lines = pem.splitlines()
    for damaged in (
        "\n".join(lines[:-1]),
        "\n".join([lines[0], *lines[2:]]),
        pem.replace("-----END PRIVATE", "-----END PUBLIC"),
        pem.replace(lines[1], lines[1][:-1]),
        pem.replace(lines[1], lines[1][:-1] + "*"),
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nName: value\n-----END PRIVATE KEY-----\n",
        openssl("ecparam", "-name", "prime256v1").decode(),
        "-----BEGIN SOMETHING-----\nAAAA\n-----END SOMETHING-----",
        "-----BEGIN PRIVATE KEY",
        "\n".join("-----BEGIN X-----\nAAAA\n-----END X-----" for _ in range(65)),
    ):
        assert refusal(damaged) == "material_corrupt", damaged[:40]


def test_structures_that_only_look_like_keys() -> None:
    zeros = [write_integer(0)] * 9
    rsa_algorithm = write(SEQUENCE, write_oid("2a864886f70d010101"), write(NULL))
    ec_algorithm = write(SEQUENCE, write_oid("2a8648ce3d0201"), write_oid("2a8648ce3d030107"))
    sec1 = write(SEQUENCE, write_integer(1), write(OCTET_STRING, b"\1"))
    for content in (
        write(SEQUENCE),
        write(SEQUENCE, write_integer(1), *zeros[1:]),
        write(SEQUENCE, write_integer(2), rsa_algorithm, write(OCTET_STRING, b"")),
        write(SEQUENCE, write_integer(0), rsa_algorithm, write(OCTET_STRING, b"")),
        write(SEQUENCE, write_integer(0), rsa_algorithm, write(OCTET_STRING, write(SEQUENCE, *zeros)), write(NULL)),
        write(SEQUENCE, write_integer(0), write(SEQUENCE), write(OCTET_STRING, sec1)),
        write(SEQUENCE, write_integer(0), write(SEQUENCE, write_integer(1)), write(OCTET_STRING, sec1)),
        write(SEQUENCE, write_integer(0), write(SEQUENCE, write_oid("2a8648ce3d0201")), write(OCTET_STRING, sec1)),
        write(SEQUENCE, write_integer(0), ec_algorithm, write(OCTET_STRING, write(SEQUENCE, write_integer(1)))),
        write(SEQUENCE, write_integer(0), ec_algorithm, write(OCTET_STRING, sec1.replace(b"\2\1\1", b"\2\1\2"))),
        write(SEQUENCE, write_integer(0), ec_algorithm, write(OCTET_STRING, sec1), write(IMPLICIT_1, b"\1\1")),
        write(SEQUENCE, b"\x02\x01\xff", *zeros[1:]),
        write(SEQUENCE, b"\x02\x02\x00\x01", *zeros[1:]),
        write(SEQUENCE, b"\x02\x00", *zeros[1:]),
        write(SEQUENCE, b"\x1f\x01\x00"),
        b"\x30\x81\x03" + write_integer(0),
        b"\x30\x80" + write_integer(0) + b"\0\0",
        b"\x30\x85\0\0\0\0\3" + write_integer(0),
        b"\x30",
        b"\x30\x82\x01",
        write(OCTET_STRING, random_octets(60)),
    ):
        assert file_refusal(content, Expected(KeyFamily.RSA)) == "material_corrupt", content.hex()


def with_altered_bit(content: bytes, index: int) -> bytes:
    altered = bytearray(content)
    altered[index // 8] ^= 1 << index % 8
    return bytes(altered)


def refused_or_unharmed(content: bytes, kind: KeyKind) -> bool:
    """Whether content is refused, or nothing but PKCS#8's version was altered: no other key is ever read."""
    try:
        return read_file(content, Expected(kind.family)) == a_key(kind)
    except InvalidRequestError as error:
        return error.code.startswith("material_")


def test_no_altered_bit_of_an_ec_key_makes_another_key() -> None:
    content = content_of(P256)
    assert all(refused_or_unharmed(with_altered_bit(content, index), P256) for index in range(8 * len(content)))


@hypothesis_given(index=st.integers(0, 8 * 1_190))
@settings(max_examples=300, deadline=None)
def test_no_altered_bit_of_an_rsa_key_makes_another_key(index: int) -> None:
    assert refused_or_unharmed(with_altered_bit(content_of(RSA_2048), index), RSA_2048)


@hypothesis_given(content=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_octets_are_refused_by_a_code_of_ours(content: bytes) -> None:
    for expected in (ANYTHING, Expected(KeyFamily.RSA), Expected(KeyFamily.EC)):
        assert file_refusal(content, expected).startswith("material_")


@hypothesis_given(content=st.text(max_size=300), encoding=st.sampled_from(MaterialEncoding))
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused_by_a_code_of_ours(content: str, encoding: MaterialEncoding) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read(content, encoding=encoding)
    assert refused.value.code.startswith("material_")


# ---- what the request says


def test_material_type_mismatch() -> None:
    assert refusal(pem_of(RSA_2048), Expected(KeyFamily.EC)) == "material_type_mismatch"
    assert refusal(pem_of(P256), Expected(KeyFamily.RSA, 2048)) == "material_type_mismatch"
    assert refusal(pem_of(P256), AES) == "material_type_mismatch"
    assert file_refusal(content_of(RSA_2048), Expected(KeyFamily.AES, 256)) == "material_type_mismatch"
    assert refusal(pem_of(RSA_2048), Expected(curve="P-256")) == "material_type_mismatch"


def test_material_size_mismatch() -> None:
    assert refusal(pem_of(RSA_2048), Expected(KeyFamily.RSA, 3072)) == "material_size_mismatch"
    assert refusal(pem_of(P256), Expected(KeyFamily.EC, 384)) == "material_size_mismatch"
    assert refusal("ab" * 16, Expected(KeyFamily.AES, 256)) == "material_size_mismatch"
    # Hex stays hex, though as base64 it would have the size that was stated.
    assert refusal("ab" * 16, Expected(KeyFamily.AES, 192)) == "material_size_mismatch"
    assert file_refusal(b"ab" * 16, Expected(KeyFamily.AES, 192)) == "material_size_mismatch"


def test_material_size_not_allowed() -> None:
    for size in ("1024", "2056", "8192"):
        pem = SIZES.get(size) or openssl("genrsa", size)
        assert refusal(pem) == "material_size_not_allowed"
    for octets in (1, 8, 15, 17, 20, 31, 33, 48, 64):
        assert file_refusal(random_octets(octets), AES) == "material_size_not_allowed"
        with pytest.raises(InvalidRequestError) as refused:
            read_unwrapped(SecretBytes(random_octets(octets)), AES)
        assert refused.value.code == "material_size_not_allowed"


def pkcs1(numbers: RsaNumbers) -> bytes:
    order = ("n", "e", "d", "p", "q", "dp", "dq", "qi")
    return write(SEQUENCE, write_integer(0), *(write_integer(getattr(numbers, name)) for name in order))


def pem(label: str, content: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(content) + f"-----END {label}-----\n".encode()


# Making a key of 8192 bits takes long; that it is too large is seen before anything else is looked at.
SIZES = {"8192": pem("RSA PRIVATE KEY", pkcs1(RsaNumbers(1 << 8191, 3, 1, 1, 1, 1, 1, 1)))}


def test_huge_numbers_are_refused_at_once() -> None:
    huge = (1 << 150_000) + 1
    start = time.perf_counter()
    assert file_refusal(pkcs1(RsaNumbers(huge, 3, 1, 1, 1, 1, 1, 1))) == "material_size_not_allowed"
    others = RsaNumbers(rsa_numbers().n, 65537, huge, huge, 3, 1, 1, 1)
    assert file_refusal(pkcs1(others)) == "material_inconsistent"
    assert time.perf_counter() - start < 1


def test_material_curve_not_allowed() -> None:
    for curve in ("secp224r1", "brainpoolP256r1", "secp112r1"):
        for form in ((), ("-noout",)):
            content = openssl("ecparam", "-genkey", "-name", curve, *form)
            assert refusal(content, Expected(KeyFamily.EC)) == "material_curve_not_allowed"
    explicit = openssl("ecparam", "-genkey", "-name", "prime256v1", "-param_enc", "explicit")
    assert refusal(explicit) == "material_curve_not_allowed"
    pkcs8 = openssl("pkcs8", "-topk8", "-nocrypt", stdin=explicit)
    assert refusal(pkcs8, Expected(KeyFamily.EC, curve="P-256")) == "material_curve_not_allowed"
    with pytest.raises(InvalidRequestError, match="explicit parameters"):
        read(pkcs8)
    nameless = write(SEQUENCE, write_integer(1), write(OCTET_STRING, bytes(31) + b"\1"))
    assert file_refusal(nameless) == "material_curve_not_allowed"


def test_material_curve_mismatch() -> None:
    assert refusal(pem_of(P256K), Expected(KeyFamily.EC, curve="P-256")) == "material_curve_mismatch"
    assert refusal(pem_of(P256), Expected(curve="P-384")) == "material_curve_mismatch"


def test_material_ambiguous() -> None:
    assert refusal(pem_of(P256) + pem_of(P384)) == "material_ambiguous"
    assert refusal(pem_of(P256) + pem_of(P256)) == "material_ambiguous"
    for octets in (16, 24, 32):
        assert file_refusal(random_octets(octets)) == "material_ambiguous"
        assert refusal("ab" * octets) == "material_ambiguous"
    # Said to be base64, of which 32 digits would be an AES key of 192 bits.
    for digits in (32, 48, 64):
        assert refusal("0123456789ABCDEF" * (digits // 16), AES, encoding=BASE64) == "material_ambiguous"
    # Octets that are a text of another key: 128 bits in hex or 256 in octets, 192 in base64 or 256 in octets.
    assert file_refusal(b"ab" * 16, AES) == "material_ambiguous"
    assert file_refusal(base64.b64encode(bytes(range(24))), AES) == "material_ambiguous"
    assert file_refusal(b"abcdefghijklmnop", AES) == "material_ambiguous"


# ---- passphrases


@cache
def encrypted(*options: str) -> bytes:
    return openssl("pkcs8", "-topk8", "-inform", "DER", *options, "-passout", PASS, stdin=content_of(P256))


@cache
def traditional_encrypted() -> bytes:
    return openssl("ec", "-inform", "DER", "-aes256", "-passout", PASS, stdin=content_of(P256))


ENCRYPTED = [("-v2", "aes256"), ("-scrypt",), ("-v1", "PBE-SHA1-3DES")]


@pytest.mark.parametrize("options", ENCRYPTED, ids=str)
def test_material_passphrase_required_and_wrong(options: tuple[str, ...]) -> None:
    pem = encrypted(*options)
    assert refusal(pem) == "material_passphrase_required"
    assert refusal(pem, passphrase=SecretText("")) == "material_passphrase_required"
    assert file_refusal(der(pem)) == "material_passphrase_required"
    for wrong in ("wrong", PASSPHRASE.reveal() + " ", "x" * 5_000, "\udc80", "\0"):
        assert refusal(pem, passphrase=SecretText(wrong)) == "material_passphrase_wrong"


def test_traditional_passphrase_required_and_wrong() -> None:
    pem = traditional_encrypted()
    assert refusal(pem) == "material_passphrase_required"
    for attempt in range(64):
        assert refusal(pem, passphrase=SecretText(f"wrong {attempt}")) == "material_passphrase_wrong"


def test_an_encrypted_key_that_was_altered() -> None:
    content = bytearray(der(encrypted("-v2", "aes256")))
    content[-1] ^= 1
    assert file_refusal(bytes(content), passphrase=PASSPHRASE) == "material_passphrase_wrong"
    assert file_refusal(bytes(content[:-1]), passphrase=PASSPHRASE) == "material_corrupt"


def test_material_passphrase_unexpected() -> None:
    assert refusal(pem_of(P256), passphrase=PASSPHRASE) == "material_passphrase_unexpected"
    assert file_refusal(content_of(P256), passphrase=PASSPHRASE) == "material_passphrase_unexpected"
    assert file_refusal(random_octets(32), AES, PASSPHRASE) == "material_passphrase_unexpected"


def pbes2(derivation: bytes, *, scheme: bytes | None = None, encrypted: bytes = bytes(32)) -> bytes:
    aes = (
        scheme
        if scheme is not None
        else write(SEQUENCE, write_oid("60864801650304012a"), write(OCTET_STRING, bytes(16)))
    )
    algorithm = write(SEQUENCE, write_oid("2a864886f70d01050d"), write(SEQUENCE, derivation, aes))
    return write(SEQUENCE, algorithm, write(OCTET_STRING, encrypted))


def pbkdf2(iterations: int, *more: bytes) -> bytes:
    parameters = write(SEQUENCE, write(OCTET_STRING, bytes(8)), write_integer(iterations), *more)
    return write(SEQUENCE, write_oid("2a864886f70d01050c"), parameters)


def scrypt(*numbers: int) -> bytes:
    parameters = write(SEQUENCE, write(OCTET_STRING, bytes(8)), *map(write_integer, numbers))
    return write(SEQUENCE, write_oid("2b06010401da47040b"), parameters)


def pbes1(iterations: int) -> bytes:
    parameters = write(SEQUENCE, write(OCTET_STRING, bytes(8)), write_integer(iterations))
    algorithm = write(SEQUENCE, write_oid("2a864886f70d010c0103"), parameters)
    return write(SEQUENCE, algorithm, write(OCTET_STRING, bytes(32)))


@pytest.mark.parametrize(
    "content",
    [
        pbes2(pbkdf2(5_000_001)),
        pbes2(pbkdf2(2**31 - 1)),
        pbes2(pbkdf2(2**64)),
        pbes2(pbkdf2(2**40_000)),
        pbes2(scrypt(2**20, 8, 1)),
        pbes2(scrypt(2**14, 8, 1_000)),
        pbes2(scrypt(2, 2**15, 2**15)),
        pbes2(scrypt(2**40_000, 1, 1)),
        pbes1(2**31 - 1),
        pbes1(500_001),
    ],
    ids=range(10),
)
def test_material_passphrase_too_costly(content: bytes) -> None:
    start = time.perf_counter()
    assert file_refusal(content, passphrase=PASSPHRASE) == "material_passphrase_too_costly"
    assert time.perf_counter() - start < 1


def test_a_costly_key_of_openssl() -> None:
    pem = encrypted("-v2", "aes256", "-iter", "5000001")
    assert refusal(pem, passphrase=PASSPHRASE) == "material_passphrase_too_costly"


def test_unknown_methods_of_encryption() -> None:
    camellia = write(SEQUENCE, write_oid("2a83088c9a4b3d01010104"), write(OCTET_STRING, bytes(16)))
    other_prf = write(SEQUENCE, write_oid("2a03"), write(NULL))
    for content in (
        pbes2(pbkdf2(1000), scheme=camellia),
        pbes2(pbkdf2(1000, other_prf)),
        pbes2(write(SEQUENCE, write_oid("2a03"), write(SEQUENCE))),
        write(SEQUENCE, write(SEQUENCE, write_oid("2a03")), write(OCTET_STRING, bytes(16))),
    ):
        assert file_refusal(content, passphrase=PASSPHRASE) == "material_format_unsupported"
    for name in ("CAMELLIA-256-CBC,", "", "AES-256-GCM,00"):
        pem = traditional_encrypted().replace(b"AES-256-CBC,", name.encode())
        assert refusal(pem, passphrase=PASSPHRASE) == "material_format_unsupported"
    inside = openssl(
        "pkcs8",
        "-topk8",
        "-v1",
        "PBE-MD5-DES",
        "-provider",
        "legacy",
        "-provider",
        "default",
        "-passout",
        PASS,
        stdin=pem_of(P256),
    )
    assert refusal(inside, passphrase=PASSPHRASE) == "material_format_unsupported"


@pytest.mark.parametrize(
    "content",
    [
        pbes2(pbkdf2(0)),
        pbes2(pbkdf2(1000, write_integer(16))),
        pbes2(pbkdf2(1000, write_integer(32), write(NULL))),
        pbes2(pbkdf2(1000, write(NULL))),
        pbes2(scrypt(1000, 8, 1)),
        pbes2(scrypt(1, 8, 1)),
        pbes2(scrypt(0, 8, 1)),
        pbes2(scrypt(1024, 8)),
        pbes2(scrypt(1024, 8, 1, 16)),
        pbes2(scrypt(1024, 8, 1, 32, 1)),
        pbes2(pbkdf2(1000), scheme=write(SEQUENCE, write_oid("60864801650304012a"), write(OCTET_STRING, bytes(8)))),
        pbes2(pbkdf2(1000), scheme=write(SEQUENCE, write_oid("60864801650304012a"))),
        pbes2(pbkdf2(1000), scheme=b""),
        pbes1(0),
        write(SEQUENCE, write(SEQUENCE, write_oid("2a864886f70d010c0103")), write(OCTET_STRING, bytes(16))),
        write(SEQUENCE, write(SEQUENCE), write(OCTET_STRING, bytes(16))),
        write(SEQUENCE, write(SEQUENCE, write_oid("2a864886f70d01050d")), write(OCTET_STRING, bytes(16))),
    ],
    ids=range(17),
)
def test_damaged_parameters_of_encryption(content: bytes) -> None:
    assert file_refusal(content, passphrase=PASSPHRASE) == "material_corrupt"


def test_damaged_parameters_of_traditional_encryption() -> None:
    for good, bad in (
        (b"AES-256-CBC,", b"AES-256-CBC,0"),
        (b"AES-256-CBC,", b"AES-256-CBC,zz"),
        (b"AES-256", b"DES-EDE3"),
    ):
        pem = traditional_encrypted().replace(good, bad)
        assert refusal(pem, passphrase=PASSPHRASE) == "material_corrupt"


def test_what_is_encrypted_twice() -> None:
    twice = encrypted_pkcs8(encrypted_pkcs8(content_of(P256), b"correct horse"), b"correct horse")
    assert file_refusal(twice, passphrase=PASSPHRASE) == "material_format_unsupported"
    for content in (der(encrypted("-v2", "aes256")), encrypted("-v2", "aes256"), pem_of(P256)):
        with pytest.raises(InvalidRequestError) as refused:
            read_unwrapped(SecretBytes(content), ANYTHING)
        assert refused.value.code == "material_format_unsupported"


# ---- numbers


@pytest.mark.parametrize("name", ["d", "dp", "dq", "qi", "n", "p", "q"])
@pytest.mark.parametrize("change", [-2, 2, 1 << 300])
def test_material_inconsistent_rsa(name: str, change: int) -> None:
    good = rsa_numbers()
    altered = replace(good, **{name: getattr(good, name) + change})
    assert file_refusal(pkcs1(altered)) == "material_inconsistent"
    with pytest.raises(InvalidRequestError) as refused:
        read_unwrapped(SecretBytes(pkcs1(altered)), Expected(KeyFamily.RSA))
    assert refused.value.code == "material_inconsistent"


@pytest.mark.parametrize(
    "change",
    [
        {"d": 0},
        {"d": 1},
        {"p": 0, "q": 0},
        {"p": 1},
        {"q": 1},
        {"dp": 0},
        {"qi": 0},
        {"e": 3},
        {"e": 2**32 - 1},
    ],
    ids=str,
)
def test_rsa_numbers_out_of_range(change: dict[str, int]) -> None:
    assert file_refusal(pkcs1(replace(rsa_numbers(), **change))) == "material_inconsistent"


def test_rsa_numbers_that_are_right_but_too_large() -> None:
    good = rsa_numbers()
    order = (good.p - 1) * (good.q - 1)
    for change in ({"d": good.d + 2 * order}, {"qi": good.qi + good.p}, {"dp": good.dp + good.p - 1}):
        assert file_refusal(pkcs1(replace(good, **change))) == "material_inconsistent"


def rsa_of(p: int, q: int, e: int = 65537, d: int | None = None) -> RsaNumbers:
    """The numbers of a key with these factors, prime or not."""
    order = math.lcm(p - 1, q - 1)
    if d is None:
        d = pow(e, -1, order)
    return RsaNumbers(p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))


def composite(bits: int = 1024) -> int:
    """A product of two primes, of so many bits."""
    return rsa.generate_private_key(65537, bits).public_key().public_numbers().n


def test_factors_that_are_no_primes_are_found() -> None:
    while True:
        p = composite()
        try:
            numbers = rsa_of(p, rsa_numbers().q)
        except ValueError:
            continue
        if numbers.n.bit_length() == 2048:
            break
    # All the equations hold; only a test of primality tells.
    assert file_refusal(pkcs1(numbers)) == "material_inconsistent"
    assert file_refusal(pkcs1(rsa_of(numbers.q, numbers.p))) == "material_inconsistent"


def test_material_exponent_not_allowed() -> None:
    for exponent in (0, 1, 2, 65538, 2**32 + 1, 2**64 + 1):
        assert file_refusal(pkcs1(replace(rsa_numbers(), e=exponent))) == "material_exponent_not_allowed"
    large = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_pubexp:{2**32 + 1}")
    assert refusal(large) == "material_exponent_not_allowed"


def next_prime(number: int) -> int:
    number |= 1
    while not all(number % divisor for divisor in range(3, 2000, 2)) or pow(2, number - 1, number) != 1:
        number += 2
    return number


def test_material_weak() -> None:
    for octets in (16, 24, 32):
        assert refusal("00" * octets, AES) == "material_weak"
        # Base64 of 24 zeros has hexadecimal digits only.
        assert file_refusal(bytes(octets), AES) == ("material_ambiguous" if octets == 24 else "material_weak")
        with pytest.raises(InvalidRequestError) as refused:
            read_unwrapped(SecretBytes(bytes(octets)), AES)
        assert refused.value.code == "material_weak"


def test_rsa_keys_that_others_can_find() -> None:
    p = rsa_numbers().p
    close = rsa_of(next_prime(p + 2**64), p)
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - only its primes are used
    unbalanced = rsa_of(rsa_numbers(RSA_3072).p, short.private_numbers().p)
    for numbers in (close, unbalanced):
        assert numbers.n.bit_length() == 2048
        assert file_refusal(pkcs1(numbers)) == "material_weak"


def sec1(d: bytes, point: bytes, curve: str = "2a8648ce3d030107") -> bytes:
    parameters = write(CONTEXT_0, write_oid(curve))
    public = write(CONTEXT_1, write(BIT_STRING, b"\0" + point)) if point else b""
    return write(SEQUENCE, write_integer(1), write(OCTET_STRING, d), parameters, public)


def test_material_inconsistent_ec() -> None:
    good = ec_numbers(P256)
    other = KeyMaterial.generate(P256).canonical().reveal()[-65:]
    order = ec.SECP256R1.group_order
    d, point = good.d.to_bytes(32), good.points[0]
    compressed = bytes((2 + point[-1] % 2,)) + point[1:33]
    assert read(base64.b64encode(sec1(d, compressed))) == a_key(P256)
    for private, public in (
        (d, other),
        (d, point[:-1]),
        (d, point + b"\0"),
        (d, b"\0"),
        (d, bytes((5 - compressed[0],)) + compressed[1:]),
        (d, b"\5" + point[1:]),
        (d, point[:-1] + bytes((point[-1] ^ 1,))),
        (bytes(32), b""),
        (b"", b""),
        (order.to_bytes(32), b""),
        ((order + good.d).to_bytes(33), point),
        (b"\xff" * 66, point),
    ):
        assert file_refusal(sec1(private, public)) == "material_inconsistent"


def test_pkcs8_that_contradicts_itself() -> None:
    d, point = ec_numbers(P256).d.to_bytes(32), ec_numbers(P256).points[0]
    algorithm = write(SEQUENCE, write_oid("2a8648ce3d0201"), write_oid("2a8648ce3d030107"))
    other_curve = write(OCTET_STRING, sec1(d, b"", "2b8104000a"))
    assert file_refusal(write(SEQUENCE, write_integer(0), algorithm, other_curve)) == "material_inconsistent"
    outer = write(IMPLICIT_1, b"\0" + KeyMaterial.generate(P256).canonical().reveal()[-65:])
    assert len(point) == 65
    key = write(OCTET_STRING, sec1(d, point))
    assert file_refusal(write(SEQUENCE, write_integer(1), algorithm, key, outer)) == "material_inconsistent"
    public = write(SEQUENCE, write_integer(rsa_numbers().n), write_integer(3))
    rsa_algorithm = write(SEQUENCE, write_oid("2a864886f70d010101"), write(NULL))
    parts = (rsa_algorithm, write(OCTET_STRING, pkcs1(rsa_numbers())), write(IMPLICIT_1, b"\0" + public))
    assert file_refusal(write(SEQUENCE, write_integer(1), *parts)) == "material_inconsistent"


def test_every_refusal_is_tested_here() -> None:
    tree = ast.parse(Path(refusals.__file__).read_text("utf-8"))
    codes = {node.value.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "code"}  # type: ignore[attr-defined]
    tested = json.dumps(Path(__file__).read_text("utf-8"))
    assert len(codes) == 20
    assert {code for code in codes if code not in tested} == set()
