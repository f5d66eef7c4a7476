"""What is accepted: every form that openssl and others write of a key is read as the same key."""

import base64
import textwrap

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.secrets import SecretBytes, SecretText
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
from core.material.material import KeyMaterial
from core.material.reading import Expected, MaterialEncoding, read_octets, read_unwrapped

from .keys import (
    AES_KINDS,
    ALL_KINDS,
    EC_KINDS,
    OPENSSL_CURVES,
    PASS,
    PASSPHRASE,
    RSA_2048,
    RSA_3072,
    RSA_4096,
    a_key,
    content_of,
    ec_numbers,
    expected_of,
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

ASYMMETRIC = (RSA_2048, RSA_3072, RSA_4096, *EC_KINDS)
P256 = EC_KINDS[0]
EC_OID, P256_OID = "2a8648ce3d0201", "2a8648ce3d030107"


def traditional(kind: KeyKind, form: str = "PEM") -> bytes:
    """PKCS#1 or SEC 1."""
    command = ("rsa", "-traditional") if kind.family is KeyFamily.RSA else ("ec",)
    return openssl(*command, "-inform", "DER", "-outform", form, stdin=content_of(kind))


@pytest.mark.parametrize("kind", ASYMMETRIC, ids=str)
def test_pkcs8_and_traditional_forms_are_one_key(kind: KeyKind) -> None:
    expected = expected_of(kind)
    assert read(pem_of(kind), expected) == a_key(kind)
    assert read_file(traditional(kind), expected) == a_key(kind)
    assert read(content_of(kind).hex(), expected) == a_key(kind)
    assert read(base64.b64encode(traditional(kind, "DER")), expected) == a_key(kind)


@pytest.mark.parametrize("kind", [RSA_2048, P256], ids=str)
def test_every_form_is_read_in_every_encoding(kind: KeyKind) -> None:
    for content in (pem_of(kind), traditional(kind)):
        assert read(content) == read(content, encoding=MaterialEncoding.PEM) == read_file(content) == a_key(kind)
    for content in (content_of(kind), traditional(kind, "DER")):
        assert read_file(content) == read(content.hex()) == read(base64.b64encode(content)) == a_key(kind)


@pytest.mark.parametrize("kind", ALL_KINDS, ids=str)
def test_a_key_that_was_read_knows_its_kind_and_public_key(kind: KeyKind) -> None:
    material = read(base64.b64encode(content_of(kind)), Expected(kind.family))
    assert (material.kind, material.public_key) == (kind, a_key(kind).public_key)
    assert material.canonical().reveal() == content_of(kind)


@pytest.mark.parametrize("kind", ASYMMETRIC, ids=str)
def test_nothing_needs_to_be_stated_about_rsa_and_ec(kind: KeyKind) -> None:
    assert read(pem_of(kind)).kind == kind


@pytest.mark.parametrize(
    "changed",
    [
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: "\ufeff" + pem,
        lambda pem: textwrap.indent(pem, "    "),
        lambda pem: pem.rstrip(),
        lambda pem: pem.replace("\n", " "),
        lambda pem: "Bag Attributes\n    friendlyName: Schlüssel\n    localKeyID: 01 02\n" + pem + "\ntrailer: text\n",
        lambda pem: pem.replace("\n", "\n\n"),
    ],
    ids=["crlf", "bom", "indented", "no_newline", "one_line", "bag_attributes", "blank_lines"],
)
@pytest.mark.parametrize("kind", [RSA_2048, P256], ids=str)
def test_pem_with_what_editors_and_tools_do_to_it(changed: object, kind: KeyKind) -> None:
    assert callable(changed)
    pem = changed(pem_of(kind).decode())
    assert read(pem) == a_key(kind)
    assert read_file(pem.encode()) == a_key(kind)


def test_files_in_utf_16_and_latin_1() -> None:
    pem = pem_of(P256).decode()
    assert read_file(("\ufeff" + pem).encode("utf-16-le")) == a_key(P256)
    assert read_file(("\ufeff" + pem).encode("utf-16-be")) == a_key(P256)
    assert read_file(("Schlüssel\n" + pem).encode("latin-1")) == a_key(P256)
    assert read_file(("\ufeff" + content_of(P256).hex()).encode("utf-16-le")) == a_key(P256)


def test_ec_parameters_in_front() -> None:
    for curve in OPENSSL_CURVES.values():
        pem = openssl("ecparam", "-genkey", "-name", curve)
        assert b"EC PARAMETERS" in pem
        assert read(pem).kind.curve


@pytest.mark.parametrize("kind", EC_KINDS, ids=str)
@pytest.mark.parametrize("form", [("-conv_form", "compressed"), ("-conv_form", "hybrid"), ("-no_public",)], ids=str)
def test_ec_keys_with_other_public_points_or_none(kind: KeyKind, form: tuple[str, ...]) -> None:
    expected = expected_of(kind)
    assert read_file(openssl("ec", "-inform", "DER", "-outform", "DER", *form, stdin=content_of(kind)), expected) == (
        a_key(kind)
    )
    if form != ("-no_public",):
        pkcs8 = openssl("pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-outform", "DER", stdin=content_of(kind))
        assert read_file(pkcs8, expected) == a_key(kind)


def p256_pkcs8(*additions: bytes, parameters: bytes = b"", point: bytes = b"", version: int = 0) -> bytes:
    """A PKCS#8 of the P-256 key, put together by hand."""
    key = write(SEQUENCE, write_integer(1), write(OCTET_STRING, ec_numbers(P256).d.to_bytes(32)), parameters, point)
    algorithm = write(SEQUENCE, write_oid(EC_OID), write_oid(P256_OID))
    return write(SEQUENCE, write_integer(version), algorithm, write(OCTET_STRING, key), *additions)


def test_pkcs8_as_it_may_be_written() -> None:
    point = ec_numbers(P256).points[0]
    attributes = write(CONTEXT_0, bytes.fromhex("300b0603551d0f310403020080"))
    parameters, inner = write(CONTEXT_0, write_oid(P256_OID)), write(CONTEXT_1, write(BIT_STRING, b"\0" + point))
    outer = write(IMPLICIT_1, b"\0" + point)
    for content in (
        p256_pkcs8(),
        p256_pkcs8(attributes),
        p256_pkcs8(parameters=parameters),
        p256_pkcs8(parameters=parameters, point=inner),
        p256_pkcs8(attributes, outer, version=1, point=inner),
        p256_pkcs8(outer, version=1),
    ):
        assert read_file(content, expected_of(P256)) == a_key(P256)


def test_rsa_with_attributes_its_public_key_and_without_null() -> None:
    numbers = rsa_numbers()
    pkcs1 = traditional(RSA_2048, "DER")
    public = write(SEQUENCE, write_integer(numbers.n), write_integer(numbers.e))
    for parameters, rest in ((b"", b""), (write(NULL), write(IMPLICIT_1, b"\0", public))):
        algorithm = write(SEQUENCE, write_oid("2a864886f70d010101"), parameters)
        content = write(SEQUENCE, write_integer(1), algorithm, write(OCTET_STRING, pkcs1), rest)
        assert read_file(content) == a_key(RSA_2048)


def test_rsa_primes_in_either_order() -> None:
    found = rsa_numbers()
    swapped = rsa.RSAPrivateNumbers(
        found.q, found.p, found.d, found.dq, found.dp, pow(found.p, -1, found.q), rsa.RSAPublicNumbers(found.e, found.n)
    )
    material = KeyMaterial.of_private_key(swapped.private_key())
    assert read_file(material.canonical().reveal()).public_key == a_key(RSA_2048).public_key


def test_a_small_public_exponent() -> None:
    assert read(openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_pubexp:3")).public_key.e == "Aw"


@pytest.mark.parametrize(
    "options",
    [
        ("-v2", "aes-256-cbc"),
        ("-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"),
        ("-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"),
        ("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA224", "-iter", "50000"),
        ("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384"),
        ("-v2", "des3"),
        ("-scrypt",),
        ("-scrypt", "-scrypt_N", "1024", "-scrypt_r", "4", "-scrypt_p", "3"),
        ("-v1", "PBE-SHA1-3DES"),
        ("-v1", "PBE-SHA1-3DES", "-iter", "3"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", [RSA_2048, EC_KINDS[2]], ids=str)
def test_encrypted_pkcs8(kind: KeyKind, options: tuple[str, ...]) -> None:
    arguments = ("pkcs8", "-topk8", "-inform", "DER", *options, "-passout", PASS)
    pem = openssl(*arguments, stdin=content_of(kind))
    assert b"ENCRYPTED PRIVATE KEY" in pem
    assert read(pem, expected_of(kind), passphrase=PASSPHRASE) == a_key(kind)
    der = openssl(*arguments, "-outform", "DER", stdin=content_of(kind))
    assert read_file(der, expected_of(kind), PASSPHRASE) == a_key(kind)
    assert read(der.hex(), passphrase=PASSPHRASE) == a_key(kind)


def test_passphrases_beyond_ascii() -> None:
    for passphrase in ("Schlüssel-Ω", "x" * 200, "\N{KEY}"):
        for options in (("-v2", "aes-256-cbc"), ("-v1", "PBE-SHA1-3DES"), ("-scrypt",)):
            arguments = ("pkcs8", "-topk8", "-inform", "DER", *options, "-passout", f"pass:{passphrase}")
            pem = openssl(*arguments, stdin=content_of(P256))
            assert read(pem, passphrase=SecretText(passphrase)) == a_key(P256)


@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256", "-des3"])
@pytest.mark.parametrize("kind", [RSA_2048, EC_KINDS[3]], ids=str)
def test_traditional_encrypted_pem(kind: KeyKind, cipher: str) -> None:
    command = ("rsa", "-traditional") if kind.family is KeyFamily.RSA else ("ec",)
    pem = openssl(*command, "-inform", "DER", cipher, "-passout", PASS, stdin=content_of(kind))
    assert b"DEK-Info" in pem
    assert read(pem, passphrase=PASSPHRASE) == a_key(kind)
    assert read_file(pem.replace(b"\n", b"\r\n"), passphrase=PASSPHRASE) == a_key(kind)


def test_a_key_among_its_certificates_as_pkcs12_gives_it() -> None:
    subject = ("-subj", "/CN=test", "-days", "2")
    certificate = openssl_with({"key": pem_of(P256)}, "req", "-x509", "-new", "-key", "{key}", *subject)
    files = {"key": pem_of(P256), "certificate": certificate}
    export = ("pkcs12", "-export", "-inkey", "{key}", "-in", "{certificate}", "-name", "test", "-passout", PASS)
    bundle = openssl_with(files, *export)
    text = openssl("pkcs12", "-nodes", "-passin", PASS, stdin=bundle)
    assert b"Bag Attributes" in text
    assert b"BEGIN CERTIFICATE" in text
    assert read(text, expected_of(P256)) == a_key(P256)


def test_a_key_beside_its_public_key() -> None:
    assert read(pem_of(P256) + openssl("pkey", "-pubout", stdin=pem_of(P256))) == a_key(P256)


@pytest.mark.parametrize("kind", AES_KINDS, ids=str)
def test_aes_octets(kind: KeyKind) -> None:
    octets = content_of(kind)
    for expected in (Expected(KeyFamily.AES), expected_of(kind)):
        for content in (octets.hex(), base64.b64encode(octets), base64.urlsafe_b64encode(octets).rstrip(b"=")):
            assert read(content, expected) == a_key(kind)
        assert read_file(octets, expected) == a_key(kind)
        assert read_file(octets.hex().encode() + b"\n", expected) == a_key(kind)
        assert read_unwrapped(SecretBytes(octets), expected) == a_key(kind)


def test_aes_octets_that_look_like_der() -> None:
    octets = b"\x30\x1e" + bytes(range(30))
    assert read_file(octets, Expected(KeyFamily.AES)).canonical().reveal() == octets


def test_the_size_decides_between_octets_and_their_text() -> None:
    text = b"00112233445566778899aabbccddeeff"
    assert read_file(text, Expected(KeyFamily.AES, 128)).canonical().reveal() == bytes.fromhex(text.decode())
    assert read_file(text, Expected(KeyFamily.AES, 256)).canonical().reveal() == text
    assert read_file(b"My$ecretPassword", Expected(KeyFamily.AES)).canonical().reveal() == b"My$ecretPassword"


@pytest.mark.parametrize("kind", ASYMMETRIC, ids=str)
def test_what_was_unwrapped(kind: KeyKind) -> None:
    for content in (content_of(kind), traditional(kind, "DER")):
        assert read_unwrapped(SecretBytes(content), expected_of(kind)) == a_key(kind)


@pytest.mark.parametrize("encoding", [MaterialEncoding.AUTO, MaterialEncoding.HEX])
@pytest.mark.parametrize(
    "changed",
    [
        str.upper,
        lambda text: "0x" + text,
        lambda text: "0X" + text.upper(),
        lambda text: ":".join(textwrap.wrap(text, 2)),
        lambda text: " ".join(textwrap.wrap(text, 8)),
        lambda text: "\n".join(textwrap.wrap(text, 75)) + "\n",
        lambda text: ":\n    ".join(":".join(textwrap.wrap(line, 2)) for line in textwrap.wrap(text, 30)),
        lambda text: "\r\n".join(textwrap.wrap(text, 64)),
    ],
)
def test_hex_as_it_is_written(changed: object, encoding: MaterialEncoding) -> None:
    assert callable(changed)
    assert read(changed(content_of(P256).hex()), encoding=encoding) == a_key(P256)


@pytest.mark.parametrize("encoding", [MaterialEncoding.AUTO, MaterialEncoding.BASE64])
@pytest.mark.parametrize(
    "changed",
    [
        lambda octets: base64.b64encode(octets).decode(),
        lambda octets: base64.b64encode(octets).decode().rstrip("="),
        lambda octets: base64.urlsafe_b64encode(octets).decode(),
        lambda octets: base64.encodebytes(octets).decode(),
        lambda octets: "\r\n".join(textwrap.wrap(base64.b64encode(octets).decode(), 7)),
        lambda octets: base64.b64encode(base64.b64encode(octets)).decode(),
        lambda octets: base64.b64encode(octets.hex().encode()).decode(),
    ],
)
def test_base64_as_it_is_written(changed: object, encoding: MaterialEncoding) -> None:
    assert callable(changed)
    assert read(changed(content_of(P256)), encoding=encoding) == a_key(P256)


@hypothesis_given(octets=st.binary(min_size=17, max_size=400), line=st.integers(1, 100))
@settings(max_examples=100, deadline=None)
def test_octets_come_back_from_every_encoding(octets: bytes, line: int) -> None:
    octets = b"\x80" + octets  # no text
    hexadecimal = "\n".join(textwrap.wrap(octets.hex(), line))
    assert read_octets(given(hexadecimal)).reveal() == octets
    assert read_octets(given(hexadecimal, MaterialEncoding.HEX)).reveal() == octets
    for text in (base64.b64encode(octets), base64.urlsafe_b64encode(octets), base64.encodebytes(octets)):
        assert read_octets(given(text, MaterialEncoding.BASE64)).reveal() == octets
        assert read_octets(given_file(text)).reveal() == octets
    assert read_octets(given_file(octets.hex().encode())).reveal() == octets


@hypothesis_given(octets=st.binary(min_size=1, max_size=64))
@settings(max_examples=100, deadline=None)
def test_hex_is_never_taken_for_base64(octets: bytes) -> None:
    assert read_octets(given(octets.hex())).reveal() == octets
    assert read_octets(given(octets.hex().upper())).reveal() == octets


@hypothesis_given(octets=st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
@settings(max_examples=100, deadline=None)
def test_every_aes_key_is_read_from_hex(octets: bytes) -> None:
    if any(octets):
        assert read(octets.hex(), Expected(KeyFamily.AES)).canonical().reveal() == octets


def test_wrapped_octets_that_are_text_are_decoded_once_more_only() -> None:
    octets = random_octets(40)
    thrice = base64.b64encode(base64.b64encode(base64.b64encode(octets)))
    assert read_octets(given(thrice)).reveal() == base64.b64encode(octets)


def test_any_private_value_of_a_curve_is_read() -> None:
    for value in (1, 2, ec.SECP521R1.group_order - 1):
        key = ec.derive_private_key(value, ec.SECP521R1())
        material = KeyMaterial.of_private_key(key)
        read_back = read_file(material.canonical().reveal())
        assert read_back == material
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert point.hex() in material.canonical().reveal().hex()
