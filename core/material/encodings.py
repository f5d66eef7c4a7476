"""Given text as octets.

What was stated is obeyed, but for one thing: what is said to be base64 but consists of as many hexadecimal digits as an
AES key has is refused (see 2.). What was not stated (`auto`) is decided by these rules, in this order:

1. A text with a line `-----BEGIN ...` is PEM.
2. A text of hexadecimal digits only (with `0x` in front, colons, blanks and line breaks) is hex, never base64, even if
   it would be valid base64: 16 octets in hex are also 24 octets in base64. That random octets look like this in base64
   has a probability below 1e-10 for 16 octets and 1e-19 for 32, and base64 of DER begins with `M`; so it is hex, or hex
   that was cut off, and 43 of 64 hex digits must not become another key. Odd numbers of digits are refused.
3. Everything else is base64.

Files come as base64 of their content, and a file can be text itself: if what base64 decodes to is text, it is read
once more as PEM, hex or base64. `choices` returns both readings where both are possible.

Invariants: nothing is skipped but white space, a byte order mark and separators; base64 must be canonical.
"""

import base64
import binascii
import codecs
import re
from dataclasses import dataclass, field
from enum import StrEnum

from core.domain.secrets import SecretText
from core.errors import InvalidRequestError
from core.material import refusals

MAX_CHARACTERS = 64 * 1024
PEM_MARK = "-----BEGIN "

_HEX = re.compile(r"(?:0[xX])?[0-9a-fA-F:\s]+")
_AES_HEX = re.compile(r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{48}|[0-9a-fA-F]{64})")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}")
_TEXT = re.compile(r"[\t\n\f\r\x20-\x7e]+")
_FORMATS = (
    ("{", "JSON, such as a JWK"),
    ("<", "XML"),
    ("PuTTY-User-Key-File", "a PuTTY key"),
    ("---- BEGIN SSH2", "an SSH2 key"),
)
_SSH_PUBLIC = ("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")
_WIDE_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class MaterialEncoding(StrEnum):
    """How octets are written as text."""

    AUTO = "auto"
    PEM = "pem"
    BASE64 = "base64"
    HEX = "hex"


@dataclass(frozen=True, slots=True)
class Choices:
    """The octets that a text stands for and, where these are text again, the octets that that stands for."""

    octets: bytes = field(repr=False)
    nested: bytes | None = field(default=None, repr=False)


def choices(content: SecretText, stated: MaterialEncoding) -> Choices:
    """Decode text; PEM stays text, as octets.

    Raises InvalidRequestError `material_too_large`, `material_encoding_invalid`, `material_ambiguous`,
    `material_format_unsupported`, `material_public_only`.
    """
    text = content.reveal()
    if len(text) > MAX_CHARACTERS:
        raise refusals.too_large()
    text = text.strip().removeprefix("\ufeff").strip()
    if not text:
        raise refusals.encoding_invalid("There is no material: the text is empty.")
    if stated is MaterialEncoding.BASE64 and _AES_HEX.fullmatch(text):
        raise refusals.ambiguous("This is said to be base64, but looks like an AES key in hex: give the key in hex.")
    encoding = _detected(text) if stated is MaterialEncoding.AUTO else stated
    octets = _decoded(text, encoding)
    return Choices(octets, _nested(octets) if encoding is MaterialEncoding.BASE64 else None)


def is_pem(octets: bytes) -> bool:
    """Whether the octets are PEM."""
    return PEM_MARK.encode() in octets


def _detected(text: str) -> MaterialEncoding:
    if PEM_MARK in text:
        return MaterialEncoding.PEM
    return MaterialEncoding.HEX if _HEX.fullmatch(text) else MaterialEncoding.BASE64


def _decoded(text: str, encoding: MaterialEncoding) -> bytes:
    if encoding is MaterialEncoding.PEM:
        return _from_pem(text)
    _refuse_formats(text)
    return _from_hex(text) if encoding is MaterialEncoding.HEX else _from_base64(text)


def _refuse_formats(text: str) -> None:
    """Name formats that are known, though not read: their text would only be said to be no base64."""
    for start, name in _FORMATS:
        if text.startswith(start):
            raise refusals.format_unsupported(name)
    if text.startswith(_SSH_PUBLIC):
        raise refusals.public_only()


def _from_pem(text: str) -> bytes:
    if PEM_MARK not in text:
        _refuse_formats(text)
        raise refusals.encoding_invalid("This is no PEM: no line begins a key.")
    return text.encode(errors="replace")


def _from_hex(text: str) -> bytes:
    # A group of an odd number of digits lacks a zero somewhere; joined with others it would become another key.
    groups = re.split(r"[:\s]+", re.sub(r"[\r\n]+", "", re.sub(r"^0[xX]", "", text)))
    try:
        octets = b"".join(bytes.fromhex(group) for group in groups)
    except ValueError:
        octets = b""
    if not octets:
        raise refusals.encoding_invalid("This is not hexadecimal, or a digit is missing.")
    return octets


def _from_base64(text: str) -> bytes:
    compact = "".join(text.split())
    unpadded = compact.rstrip("=")
    padded = unpadded + "=" * (-len(unpadded) % 4)
    standard = padded.translate({ord("-"): "+", ord("_"): "/"})
    if not _BASE64.fullmatch(compact) or compact not in {unpadded, padded}:
        raise refusals.encoding_invalid("This is no base64.")
    try:
        octets = base64.b64decode(standard, validate=True)
    except binascii.Error:
        octets = b""
    # Bits behind the last octet that are not zero show that the end was cut off or altered.
    if not octets or base64.b64encode(octets).decode() != standard:
        raise refusals.encoding_invalid("This is no base64: its end is cut off or altered.")
    return octets


def _nested(octets: bytes) -> bytes | None:
    """The octets that `octets` stand for if they are a text with PEM, hex or base64."""
    text = _text(octets)
    if text is None:
        return None
    if PEM_MARK in text:
        return text.encode()
    try:
        return _decoded(text, _detected(text))
    except InvalidRequestError as error:
        if error.code == "material_encoding_invalid":
            return None
        raise


def _text(octets: bytes) -> str | None:
    wide = _WIDE_MARKS.get(octets[:2])
    try:
        text = octets[2:].decode(wide) if wide else octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    if _TEXT.fullmatch(text) or PEM_MARK in text:
        return text.strip()
    return None
