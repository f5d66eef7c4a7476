"""Azure's key transfer blob: the file that carries a wrapped key into an HSM, and what can be wrong with one.

Without the HSM's private key nobody can open a blob, so these rules look at everything else: the form, the key exchange
key that it names, and whether the wrapped length can be a key of the stated type.

Invariants: reading is lenient where files made by other tools differ without doubt about the meaning, and refuses the
rest (members that repeat, for one); every problem is named, not just the first; what cannot be read is a problem.

Sources: Microsoft, 'Bring your own key specification' (schema 1.0.0: RSA-OAEP with SHA-1 of a one-time AES-256 key,
followed by AES key wrap with padding); RFC 5649; RFC 5958, RFC 8017, RFC 5915 (lengths). Fortanix' tool writes single
quotes; others keep base64's padding, or write base64 of the whole file, as `az` sends it.
"""

import base64
import binascii
import codecs
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from core.domain.key_kinds import IMPORT_ONLY, RSA_SIZES, KeyKind
from core.domain.wrapped_lengths import SHORTEST_WRAP, WRAP_BLOCK, wrapped_lengths
from core.errors import InvalidRequestError

MAX_OCTETS = 64 * 1024
SCHEMA_VERSION, ALGORITHM, ENCRYPTION = "1.0.0", "dir", "CKM_RSA_AES_KEY_WRAP"
KEY_EXCHANGE_KEY_TYPE = "RSA-HSM"

_GENERATOR = "Keysteward"
_HTTPS = 443
_KID = re.compile(
    r"https://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/keys/([a-z0-9-]{1,127})(?:/([a-z0-9]{1,64}))?/?",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")

type KidParts = tuple[str, str, str | None]


@dataclass(frozen=True, slots=True)
class TransferBlob:
    """A blob as read. Members that are missing or no text are None, `kid` is empty then."""

    kid: str
    ciphertext: bytes = field(repr=False)
    generator: str | None = None
    schema_version: str | None = None
    alg: str | None = None
    enc: str | None = None


@dataclass(frozen=True, slots=True)
class KeyExchangeKey:
    """The public half of a key exchange key: `kid` with version, size in bits, Azure's kty, numbers big-endian."""

    kid: str
    size: int
    n: bytes
    e: bytes
    enabled: bool
    not_before: datetime | None
    expires_on: datetime | None
    type: str
    operations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlobProblem:
    """One thing that is wrong with a blob, or with bringing it somewhere."""

    code: str
    detail: str


def read_transfer_blob(content: bytes) -> TransferBlob:
    """Read a blob; InvalidRequestError `transfer_blob_unreadable` says what it is not."""
    if len(content) > MAX_OCTETS:
        raise _unreadable("it has more than 64 KiB")
    blob = _json(_text(content))
    header = blob.get("header")
    if not isinstance(header, dict):
        raise _unreadable("it has no header")
    return TransferBlob(
        kid=_member(header, "kid") or "",
        ciphertext=_ciphertext(blob),
        generator=_member(blob, "generator"),
        schema_version=_member(blob, "schema_version"),
        alg=_member(header, "alg"),
        enc=_member(header, "enc"),
    )


def written(kid: str, ciphertext: bytes, generator: str | None = None) -> bytes:
    """Return the file by the specification; without a generator it says that it is ours."""
    blob = {
        "schema_version": SCHEMA_VERSION,
        "header": {"kid": kid, "alg": ALGORITHM, "enc": ENCRYPTION},
        "ciphertext": base64.urlsafe_b64encode(ciphertext).rstrip(b"=").decode(),
        "generator": generator or _GENERATOR,
    }
    return json.dumps(blob, separators=(",", ":")).encode()


def kid_parts(kid: str) -> KidParts:
    """Return host (lower case; with its port unless that is 443), name and version of a key's id.

    Raises InvalidRequestError `transfer_blob_kid`.
    """
    parts = _kid_parts(kid)
    if parts is None:
        raise InvalidRequestError("This is not the id of a key in a vault.", code="transfer_blob_kid")
    return parts


def same_vault(host: str, vault_uri: str) -> bool:
    """Whether a host, as `kid_parts` returns it, is that of the vault."""
    return host == _host(vault_uri)


def problems_of_form(blob: TransferBlob) -> tuple[BlobProblem, ...]:
    """What in the file itself is not as specified."""
    problems = []
    if blob.schema_version != SCHEMA_VERSION:
        problems.append(BlobProblem(code="transfer_blob_schema", detail="The blob's schema_version is not 1.0.0."))
    if blob.alg != ALGORITHM:
        problems.append(BlobProblem(code="transfer_blob_algorithm", detail="The blob's header does not say alg 'dir'."))
    if blob.enc != ENCRYPTION:
        detail = "The blob's header does not say enc 'CKM_RSA_AES_KEY_WRAP'."
        problems.append(BlobProblem(code="transfer_blob_encryption", detail=detail))
    parts = _kid_parts(blob.kid)
    if parts is None or parts[2] is None:
        detail = "The blob's header does not name a version of a key exchange key (kid)."
        problems.append(BlobProblem(code="transfer_blob_kid", detail=detail))
    return tuple(problems)


def problems_of_key_exchange_key(
    blob: TransferBlob,
    key_exchange_key: KeyExchangeKey | None,
    vault_uri: str,
    now: datetime,
) -> tuple[BlobProblem, ...]:
    """What speaks against the key exchange key that the blob names, which was looked up in the vault at `vault_uri`."""
    named = _kid_parts(blob.kid)
    if named is None or named[0] != _host(vault_uri):
        detail = "The blob was made for a key exchange key of another vault."
        return (BlobProblem(code="transfer_blob_other_vault", detail=detail),)
    if key_exchange_key is None or not _same_key(named, _kid_parts(key_exchange_key.kid)):
        detail = "The vault has no such version of the key exchange key that the blob names."
        return (BlobProblem(code="key_exchange_key_not_found", detail=detail),)
    return problems_of_use(key_exchange_key, now)


def problems_of_target(blob: TransferBlob, key_exchange_key_size: int, kind: KeyKind) -> tuple[BlobProblem, ...]:
    """What in the ciphertext's length speaks against a key of this kind (size and curve may be unstated)."""
    octets = len(blob.ciphertext) - (key_exchange_key_size + 7) // 8
    if octets < SHORTEST_WRAP or octets % WRAP_BLOCK:
        detail = (
            "The ciphertext's length does not fit the size of the key exchange key: it is cut off, or for another key."
        )
        return (BlobProblem(code="transfer_blob_length", detail=detail),)
    if octets not in wrapped_lengths(kind):
        what = f"{kind}" if kind.size or kind.curve else f"{kind.family.value}"
        detail = f"The wrapped key's length is not that of a key of type {what}."
        return (BlobProblem(code="transfer_blob_key_type", detail=detail),)
    return ()


def problems_of_use(key: KeyExchangeKey, now: datetime) -> tuple[BlobProblem, ...]:
    """What speaks against wrapping under a key exchange key at `now`."""
    problems = []
    if key.type != KEY_EXCHANGE_KEY_TYPE or key.size not in RSA_SIZES:
        detail = "The key exchange key is not of type RSA-HSM with 2048, 3072 or 4096 bits."
        problems.append(BlobProblem(code="key_exchange_key_type", detail=detail))
    if key.operations != IMPORT_ONLY:
        detail = "The key exchange key's only operation must be 'import'."
        problems.append(BlobProblem(code="key_exchange_key_operations", detail=detail))
    if not key.enabled:
        problems.append(BlobProblem(code="key_exchange_key_disabled", detail="The key exchange key is disabled."))
    if not _within(key, now):
        detail = "The key exchange key has expired, or is not valid yet."
        problems.append(BlobProblem(code="key_exchange_key_expired", detail=detail))
    return tuple(problems)


def _within(key: KeyExchangeKey, now: datetime) -> bool:
    started = key.not_before is None or key.not_before <= now
    return started and (key.expires_on is None or now < key.expires_on)


def _same_key(named: KidParts, found: KidParts | None) -> bool:
    """Whether both are one version; names are not case-sensitive in Azure."""
    if found is None or named[2] is None:
        return False
    return (named[0], named[1].lower(), named[2].lower()) == (found[0], found[1].lower(), (found[2] or "").lower())


def _kid_parts(kid: str) -> KidParts | None:
    found = _KID.fullmatch(kid)
    return (_joined(found[1], found[2]), found[3], found[4]) if found else None


def _host(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    return _joined(f"[{host}]" if ":" in host else host, None if port is None else str(port))


def _joined(host: str, port: str | None) -> str:
    shown = "" if port is None or int(port) == _HTTPS else f":{int(port)}"
    return host.lower() + shown


def _text(content: bytes) -> str:
    """The JSON text in `content`, which may be in UTF-16 (as PowerShell writes it) or in base64."""
    text = _decoded(content)
    if text.startswith("{"):
        return text
    octets = _octets("".join(text.split()))
    return "" if octets is None else _decoded(octets)


def _decoded(content: bytes) -> str:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig").strip()
    except UnicodeDecodeError:
        raise _unreadable("it is no text") from None


def _json(text: str) -> dict[str, object]:
    # No member of a blob holds quotes, so JSON in single quotes is JSON once they are exchanged.
    quoted = text if '"' in text else text.replace("'", '"')
    try:
        blob = json.loads(quoted, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise _unreadable("it is no JSON") from None
    if not isinstance(blob, dict):
        raise _unreadable("it is no JSON object")
    return blob


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _unreadable("a member occurs twice")
    return members


def _member(members: dict[str, object], name: str) -> str | None:
    value = members.get(name)
    return value if isinstance(value, str) else None


def _ciphertext(blob: dict[str, object]) -> bytes:
    octets = _octets(_member(blob, "ciphertext") or "")
    if not octets:
        raise _unreadable("it has no ciphertext in base64")
    return octets


def _octets(text: str) -> bytes | None:
    if not _BASE64.fullmatch(text):
        return None
    unpadded = text.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except binascii.Error:
        return None


def _unreadable(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"This is no key transfer blob: {what}.", code="transfer_blob_unreadable")
