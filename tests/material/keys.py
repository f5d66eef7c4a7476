"""Keys, and the `openssl` command line that makes and reads them as the rest of the world does."""

import base64
import secrets
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.secrets import SecretBytes, SecretText
from core.errors import KeystewardError
from core.material.material import KeyMaterial
from core.material.private_keys import EcNumbers, RsaNumbers, numbers_of
from core.material.reading import Expected, GivenMaterial, MaterialEncoding, read_material

RSA_2048 = KeyKind(KeyFamily.RSA, 2048)
RSA_3072 = KeyKind(KeyFamily.RSA, 3072)
RSA_4096 = KeyKind(KeyFamily.RSA, 4096)
EC_KINDS = tuple(KeyKind(KeyFamily.EC, curve=curve) for curve in ("P-256", "P-384", "P-521", "P-256K"))
AES_KINDS = tuple(KeyKind(KeyFamily.AES, size) for size in (128, 192, 256))
ALL_KINDS = (RSA_2048, RSA_3072, RSA_4096, *EC_KINDS, *AES_KINDS)
OPENSSL_CURVES = {"P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1", "P-256K": "secp256k1"}
PASSPHRASE = SecretText("correct horse")
PASS = "pass:correct horse"
ANYTHING = Expected()


@cache
def content_of(kind: KeyKind) -> bytes:
    """The canonical content of a key of this kind: one in each run."""
    return KeyMaterial.generate(kind).canonical().reveal()


def a_key(kind: KeyKind) -> KeyMaterial:
    """Return a key of this kind, the same each time, in an object of its own."""
    return KeyMaterial.from_canonical(kind, SecretBytes(content_of(kind)))


def rsa_numbers(kind: KeyKind = RSA_2048) -> RsaNumbers:
    found = numbers_of(content_of(kind))
    assert isinstance(found, RsaNumbers)
    return found


def ec_numbers(kind: KeyKind) -> EcNumbers:
    found = numbers_of(content_of(kind))
    assert isinstance(found, EcNumbers)
    return found


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    """Run `openssl` and return what it writes."""
    run = subprocess.run(["/usr/bin/openssl", *arguments], input=stdin, capture_output=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def openssl_with(files: dict[str, bytes], *arguments: str, stdin: bytes = b"") -> bytes:
    """Run `openssl` with files, named as `{name}` in the arguments."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return openssl(*(argument.replace("{", f"{folder}/").replace("}", "") for argument in arguments), stdin=stdin)


def pem_of(kind: KeyKind) -> bytes:
    """The key as `openssl` writes PKCS#8."""
    return openssl("pkey", "-inform", "DER", stdin=content_of(kind))


def text(content: bytes | str) -> str:
    return content if isinstance(content, str) else content.decode()


def given(
    content: bytes | str,
    encoding: MaterialEncoding = MaterialEncoding.AUTO,
    passphrase: SecretText | None = None,
) -> GivenMaterial:
    """Give a text."""
    return GivenMaterial(SecretText(text(content)), encoding, passphrase)


def given_file(content: bytes, passphrase: SecretText | None = None) -> GivenMaterial:
    """Give a file, which arrives as base64 of what is in it."""
    return given(base64.b64encode(content), MaterialEncoding.BASE64, passphrase)


def read(
    content: bytes | str,
    expected: Expected = ANYTHING,
    *,
    encoding: MaterialEncoding = MaterialEncoding.AUTO,
    passphrase: SecretText | None = None,
) -> KeyMaterial:
    return read_material(given(content, encoding, passphrase), expected)


def read_file(content: bytes, expected: Expected = ANYTHING, passphrase: SecretText | None = None) -> KeyMaterial:
    return read_material(given_file(content, passphrase), expected)


def code_of(error: pytest.ExceptionInfo[KeystewardError]) -> str:
    return error.value.code


def assert_repeats_nothing(error: KeystewardError, parts: Iterable[bytes | str]) -> None:
    """The error shows none of these, nor the library's own words."""
    shown = f"{error.detail} {error!r} {dict(error.facts)}"
    for part in parts:
        assert text(part) not in shown
    assert error.__cause__ is None


def expected_of(kind: KeyKind) -> Expected:
    return Expected(kind.family, kind.size, kind.curve)


def random_octets(count: int) -> bytes:
    """Octets that are surely no text."""
    return b"\x80" + secrets.token_bytes(count - 1)
