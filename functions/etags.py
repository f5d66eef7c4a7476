"""ETags on the wire: the stored row's ETag in base64url, quoted, because storage's own may hold quotes."""

import base64
import binascii
import re

from core.errors import InvalidRequestError, StaleWriteError

_ETAG = re.compile(r'(?:W/)?"([A-Za-z0-9_-]*)"')


def to_wire(etag: str) -> str:
    """Return the header's value for a stored row's ETag."""
    return f'"{base64.urlsafe_b64encode(etag.encode()).decode().rstrip("=")}"'


def from_wire(if_match: str) -> str:
    """Return the stored row's ETag of an `If-Match` header.

    InvalidRequestError if it is not one entity tag; StaleWriteError if it is one that Keysteward never gave out. A weak
    one counts as the strong one: proxies that compress an answer weaken its ETag.
    """
    if not if_match.isascii() or not re.fullmatch(r'(?:W/)?"[\x21\x23-\x7e]*"', if_match.strip()):
        raise InvalidRequestError("If-Match takes exactly one entity tag.", code="invalid_header", field="If-Match")
    match = _ETAG.fullmatch(if_match.strip())
    try:
        return base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)).decode() if match else _unknown()
    except (binascii.Error, UnicodeDecodeError):
        return _unknown()


def _unknown() -> str:
    raise StaleWriteError("The object")
