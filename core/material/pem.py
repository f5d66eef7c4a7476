"""The private key in a PEM text (RFC 7468; RFC 1421 headers of OpenSSL's traditional encryption).

Invariants: exactly one private key is in the text, else nothing is chosen; certificates, public keys and parameters
beside it are left out, as is text around the blocks (`Bag Attributes`). A block that begins must end.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from core.errors import InvalidRequestError
from core.material import refusals

_BEGIN = re.compile(r"-----BEGIN ([^\r\n]{0,64}?)-----")
_KEY_LABELS = frozenset({"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})
_FORMATS = (("OPENSSH", "an OpenSSH key"), ("SSH2", "an SSH2 key"), ("PGP", "a PGP key"))
_MAX_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class PemKey:
    """One block with a private key: its headers, and its content in DER, encrypted or not."""

    headers: Mapping[str, str]
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Block:
    label: str
    body: str = field(repr=False)


def private_key(text: str) -> PemKey:
    """Return the one private key in `text`.

    Raises InvalidRequestError `material_corrupt`, `material_ambiguous`, `material_certificate`, `material_public_only`,
    `material_kind_unsupported`, `material_format_unsupported`.
    """
    blocks = list(_blocks(text))
    keys = [block for block in blocks if "PRIVATE KEY" in block.label]
    if len(keys) > 1:
        raise refusals.ambiguous("There are several private keys in this PEM; give one of them.")
    if not keys:
        raise _without_key(" ".join(block.label for block in blocks))
    return _read(keys[0])


def _blocks(text: str) -> Iterator[_Block]:
    begin, count = _BEGIN.search(text), 0
    while begin is not None:
        end_line = f"-----END {begin[1]}-----"
        end = text.find(end_line, begin.end())
        count += 1
        if end < 0 or count > _MAX_BLOCKS:
            raise refusals.corrupt("A block of this PEM begins, but does not end: it is cut off.")
        yield _Block(begin[1], text[begin.end() : end])
        begin = _BEGIN.search(text, end + len(end_line))


def _without_key(labels: str) -> InvalidRequestError:
    if "CERTIFICATE" in labels:
        return refusals.certificate()
    if "PUBLIC KEY" in labels:
        return refusals.public_only()
    if "PKCS12" in labels:
        return refusals.format_unsupported("PKCS#12")
    if "PKCS7" in labels or "CMS" in labels:
        return refusals.format_unsupported("PKCS#7")
    return refusals.corrupt("There is no private key in this PEM.")


def _read(block: _Block) -> PemKey:
    for word, name in _FORMATS:
        if word in block.label:
            raise refusals.format_unsupported(name)
    if block.label not in _KEY_LABELS:
        raise refusals.kind_unsupported()
    headers, body = _parted(block.body)
    try:
        octets = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise refusals.corrupt("The base64 in this PEM is damaged.") from None
    return PemKey(headers, octets)


def _parted(body: str) -> tuple[Mapping[str, str], str]:
    """Part the headers, lines with a colon, from the base64 that follows them."""
    lines = body.strip().splitlines()
    count = next((index for index, line in enumerate(lines) if ":" not in line), len(lines))
    pairs = (line.split(":", 1) for line in lines[:count])
    return {name.strip(): value.strip() for name, value in pairs}, "\n".join(lines[count:])
