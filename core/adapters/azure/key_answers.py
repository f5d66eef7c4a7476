"""A vault's answers on the wire as domain types, strictly: what is not as documented is refused, not guessed.

The SDK's models turn a page without `value` into an empty one, and leave a missing attribute None; a sync that believed
them would record keys as vanished. So the adapters send through the SDK's client and read the JSON here.

Shapes: 'Azure Key Vault keys' REST reference (KeyListResult, KeyItem, KeyBundle, DeletedKeyItem, BackupKeyResult).
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import cast

from core.domain.keys import Deletion, KeyVersion, PublicKey, Validity
from core.domain.new_keys import RotationPolicy
from core.domain.observed import KeyPage, ListedKey, ListedVersion
from core.domain.public_keys import ec_public_key, rsa_public_key
from core.domain.secrets import SecretBytes
from core.errors import VaultAnswerError

type Json = Mapping[str, object]

_KID = re.compile(r"^https://[^/?#]+/keys/([0-9a-zA-Z-]{1,127})(?:/([0-9a-zA-Z]{1,64}))?$")
_DURATION = re.compile(r"P[0-9A-Z]{1,31}")
_CURVE_BITS = MappingProxyType({"P-256": 256, "P-256K": 256, "P-384": 384, "P-521": 521})


class _MalformedError(Exception):
    """Says which part of an answer is not as documented."""


def key_page(content: bytes, token: str | None) -> KeyPage:
    """Read a page of live keys; `token` is what fetched it."""
    return _read(content, lambda answer: _page(answer, token, _listed_key))


def deleted_page(content: bytes, token: str | None) -> KeyPage:
    """Read a page of soft-deleted keys."""
    return _read(content, lambda answer: _page(answer, token, _listed_deleted))


def version_page(content: bytes) -> tuple[tuple[ListedVersion, ...], str | None]:
    """Read a page of a key's versions and the token of the next one."""
    return _read(content, lambda answer: (tuple(map(_listed_version, _items(answer))), _next_token(answer)))


def key_bundle(content: bytes) -> tuple[ListedKey, KeyVersion]:
    """Read a key with one version, live or deleted."""
    return _read(content, _bundle)


def backup_blob(content: bytes) -> SecretBytes:
    """Read a backup answer: the blob as the vault takes it back."""
    return _read(content, lambda answer: SecretBytes(_binary(answer, "value")))


def rotation_policy(content: bytes) -> RotationPolicy:
    """Read a key's rotation policy; one that rotates nothing where none is set."""
    return _read(content, _rotation_policy)


def not_json() -> VaultAnswerError:
    """Return the error for an answer that is no JSON at all."""
    return _malformed("it is no JSON")


def _malformed(where: str) -> VaultAnswerError:
    return VaultAnswerError(f"The vault's answer is not as documented: {where}.", code="vault_answer_malformed")


def _read[T](content: bytes, reader: Callable[[Json], T]) -> T:
    try:
        answer = json.loads(content)
        if not isinstance(answer, dict):
            raise _MalformedError("the answer")  # noqa: TRY301 - one place turns it into the error
        return reader(answer)
    except (_MalformedError, ValueError, RecursionError) as error:
        raise (_malformed(str(error)) if isinstance(error, _MalformedError) else not_json()) from None


def _page(answer: Json, token: str | None, item: Callable[[Json], ListedKey]) -> KeyPage:
    return KeyPage(token=token, next_token=_next_token(answer), keys=tuple(map(item, _items(answer))))


def _items(answer: Json) -> list[Json]:
    items = answer.get("value")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _MalformedError("'value' is no list of objects")
    return items


def _next_token(answer: Json) -> str | None:
    """The query of the next link: pages are fetched from the vault's own address, whatever host a link names."""
    link = answer.get("nextLink")
    if link is None or link == "":
        return None
    if not isinstance(link, str) or not link.partition("?")[2]:
        raise _MalformedError("'nextLink' is no link to a page")
    parameters = link.partition("?")[2].split("&")
    return "&".join(part for part in parameters if not part.startswith("api-version="))


def _listed_key(item: Json) -> ListedKey:
    attributes = _object(item, "attributes")
    return ListedKey(
        name=_name_and_version(item)[0],
        created_on=_moment(attributes, "created"),
        updated_on=_moment(attributes, "updated"),
        validity=_validity(attributes),
        tags=_tags(item),
        exportable=_flag(attributes, "exportable", default=False),
        managed=_flag(item, "managed", default=False),
        deletion=_deletion(item),
    )


def _listed_deleted(item: Json) -> ListedKey:
    listed = _listed_key(item)
    if listed.deletion is None:
        raise _MalformedError("a deleted key has no dates of its deletion")
    return listed


def _listed_version(item: Json) -> ListedVersion:
    attributes = _object(item, "attributes")
    return ListedVersion(
        id=_version(item),
        created_on=_moment(attributes, "created"),
        updated_on=_moment(attributes, "updated"),
        validity=_validity(attributes),
        tags=_tags(item),
    )


def _bundle(answer: Json) -> tuple[ListedKey, KeyVersion]:
    key, attributes = _object(answer, "key"), _object(answer, "attributes")
    listed = _listed_key({**answer, "kid": key.get("kid")})
    key_type = _text(key, "kty")
    public_key = _public_key(key, key_type)
    version = KeyVersion(
        id=_version(key),
        created_on=listed.created_on,
        updated_on=listed.updated_on,
        type=key_type,
        size=_size(key, attributes, key_type),
        operations=_operations(key),
        validity=listed.validity,
        public_key=public_key,
        tags=listed.tags,
        exportable=listed.exportable,
        managed=listed.managed,
    )
    return listed, version


def _rotation_policy(answer: Json) -> RotationPolicy:
    # Without a policy, a vault says `"attributes": null`, and a managed HSM leaves the actions out.
    attributes = answer.get("attributes") or {}
    actions = answer.get("lifetimeActions") or []
    if not isinstance(attributes, dict) or not isinstance(actions, list):
        raise _MalformedError("'lifetimeActions' is no list")
    triggers: dict[str, object] = {}
    for action in actions:
        if not isinstance(action, dict):
            raise _MalformedError("'lifetimeActions' is no list of objects")
        # A managed HSM repeats the word as it was sent.
        if _text(_object(action, "action"), "type").lower() == "rotate":
            triggers.update(_object(action, "trigger"))
    return RotationPolicy(
        rotate_after_creation=_duration(triggers, "timeAfterCreate"),
        rotate_before_expiry=_duration(triggers, "timeBeforeExpiry"),
        expires_after=_duration(attributes, "expiryTime"),
    )


def _duration(item: Json, name: str) -> str | None:
    value = item.get(name) or None
    if value is not None and (not isinstance(value, str) or not _DURATION.fullmatch(value)):
        raise _MalformedError(f"'{name}' is no duration")
    return value


def _name_and_version(item: Json) -> tuple[str, str | None]:
    found = _KID.match(_text(item, "kid"))
    if found is None:
        raise _MalformedError("a key's id names no key")
    return found[1], found[2]


def _version(item: Json) -> str:
    version = _name_and_version(item)[1]
    if version is None:
        raise _MalformedError("a key's id names no version")
    return version


def _validity(attributes: Json) -> Validity:
    return Validity(
        enabled=_flag(attributes, "enabled", default=True),
        not_before=_moment_or_none(attributes, "nbf"),
        expires_on=_moment_or_none(attributes, "exp"),
    )


def _deletion(item: Json) -> Deletion | None:
    if "deletedDate" not in item and "recoveryId" not in item:
        return None
    return Deletion(_moment_or_none(item, "deletedDate"), _moment_or_none(item, "scheduledPurgeDate"))


def _public_key(key: Json, key_type: str) -> PublicKey:
    if key_type.startswith("RSA"):
        return rsa_public_key(_binary(key, "n"), _binary(key, "e"))
    if key_type.startswith("EC"):
        return ec_public_key(_text(key, "crv"), _binary(key, "x"), _binary(key, "y"))
    return PublicKey()


def _size(key: Json, attributes: Json, key_type: str) -> int | None:
    if key_type.startswith("RSA"):
        return int.from_bytes(_binary(key, "n")).bit_length()
    if key_type.startswith("EC"):
        return _CURVE_BITS.get(_text(key, "crv"))
    size = attributes.get("key_size")
    return size if isinstance(size, int) else None


def _operations(key: Json) -> tuple[str, ...]:
    # A managed HSM lists them in any order; sorted, two readings of an unchanged key are equal.
    operations = key.get("key_ops") or []
    if not isinstance(operations, list) or not all(isinstance(operation, str) for operation in operations):
        raise _MalformedError("'key_ops' is no list of names")
    return tuple(sorted(cast("list[str]", operations)))


def _tags(item: Json) -> tuple[tuple[str, str], ...]:
    tags = item.get("tags") or {}
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise _MalformedError("'tags' is no object of texts")
    return tuple(sorted(tags.items()))


def _object(item: Json, name: str) -> Json:
    value = item.get(name)
    if not isinstance(value, dict):
        raise _MalformedError(f"'{name}' is missing")
    return value


def _text(item: Json, name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise _MalformedError(f"'{name}' is missing")
    return value


def _binary(item: Json, name: str) -> bytes:
    text = _text(item, name)
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise _MalformedError(f"'{name}' is no base64url")
    return content


def _flag(item: Json, name: str, *, default: bool) -> bool:
    value = item.get(name)
    if value is not None and not isinstance(value, bool):
        raise _MalformedError(f"'{name}' is neither true nor false")
    return default if value is None else value


def _moment(item: Json, name: str) -> datetime:
    moment = _moment_or_none(item, name)
    if moment is None:
        raise _MalformedError(f"'{name}' is missing")
    return moment


def _moment_or_none(item: Json, name: str) -> datetime | None:
    seconds = item.get(name)
    if seconds is None:
        return None
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise _MalformedError(f"'{name}' is no time")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise _MalformedError(f"'{name}' is no time") from None
