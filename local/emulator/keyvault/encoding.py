"""Base64url without padding, as every binary member of the Key Vault wire is written."""

import base64
import binascii
import re

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}\Z")


def to_base64url(value: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Decode, with or without padding.

    Raises:
        ValueError: the text is not base64url.

    """
    if not _BASE64URL.match(text):
        raise ValueError("not base64url")
    bare = text.rstrip("=")
    try:
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def integer_to_base64url(value: int, length: int | None = None) -> str:
    """Encode a big-endian integer in `length` octets, or in as few as it needs."""
    return to_base64url(value.to_bytes(length or max(1, (value.bit_length() + 7) // 8), "big"))


def integer_from_base64url(text: str) -> int:
    """Decode a big-endian integer; leading zero octets do not count."""
    return int.from_bytes(from_base64url(text), "big")
