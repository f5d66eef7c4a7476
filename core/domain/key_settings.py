"""What people ask of a new key's dates, tags and operations: completed, and checked before anything is sent.

Source of the limits of tags and of whole seconds: 'About keys' (up to 15 tags, names and values of up to 256
characters; dates are seconds since 1970).
"""

import json
from dataclasses import replace
from datetime import datetime

from core.domain.key_kinds import (
    OPERATIONS,
    KeyKind,
    KeyPolicy,
    Target,
    azure_type,
    check_allowed,
    check_operations,
    permissions_of,
    protection_of,
)
from core.domain.keys import Validity
from core.domain.new_keys import KeySettings, NewVersion, VersionChanges
from core.errors import InvalidRequestError

TAGS_LIMIT = 15
TAG_LENGTH_LIMIT = 256
RELEASE_POLICY_LIMIT = 16_384


def in_vault(target: Target, kind: KeyKind, settings: KeySettings, policy: KeyPolicy, now: datetime) -> NewVersion:
    """Return the version to ask a vault for.

    Raises PolicyViolationError `key_not_allowed`; InvalidRequestError `dates_invalid`, `tags_invalid`,
    `release_policy_invalid`, `field_for_other_kind`.
    """
    if settings.permissions is not None:
        raise _for_other_kind("permissions", "Permissions are those of source keys; a vault's keys have operations.")
    operations = OPERATIONS[kind.family] if settings.operations is None else _unique(settings.operations)
    check_allowed(target, kind, operations, exportable=settings.exportable, policy=policy)
    _check_release_policy(settings)
    return NewVersion(
        type=azure_type(kind.family, protection_of(target)),
        kind=kind,
        operations=operations,
        validity=checked_validity(settings.validity or Validity(), now),
        tags=checked_tags(settings.tags or ()),
        exportable=settings.exportable,
        release_policy=settings.release_policy,
    )


def in_source_group(kind: KeyKind, settings: KeySettings) -> tuple[str, ...]:
    """Return the permissions of a new source key; the errors are those of `in_vault`."""
    for field, given in (
        ("operations", settings.operations),
        ("protection", settings.protection),
        ("release_policy", settings.release_policy),
        ("exportable", settings.exportable or None),
    ):
        if given is not None:
            raise _for_other_kind(field, "This belongs to keys in vaults; a source key has permissions.")
    permissions = permissions_of(kind.family) if settings.permissions is None else _unique(settings.permissions)
    check_allowed(Target.SOURCE, kind, permissions)
    return permissions


def checked_validity(validity: Validity, now: datetime) -> Validity:
    """Return dates in whole seconds; InvalidRequestError `dates_invalid` where they leave no time to use the key."""
    begin, end = _whole(validity.not_before), _whole(validity.expires_on)
    if end is not None and end <= now:
        raise InvalidRequestError("The deactivation date has passed.", code="dates_invalid", field="expires_on")
    if begin is not None and end is not None and end <= begin:
        detail = "The deactivation date comes after the activation date."
        raise InvalidRequestError(detail, code="dates_invalid", field="expires_on")
    return replace(validity, not_before=begin, expires_on=end)


def checked_change(kind: KeyKind | None, changes: VersionChanges, present: Validity) -> VersionChanges:
    """Return changes of a version in a vault as Azure takes them.

    Raises InvalidRequestError `dates_invalid`, `tags_invalid`; PolicyViolationError `key_not_allowed` for operations
    that keys of this kind do not have.
    """
    begin, end = _whole(changes.not_before), _whole(changes.expires_on)
    first, last = begin or present.not_before, end or present.expires_on
    if first is not None and last is not None and last <= first:
        detail = "The deactivation date comes after the activation date."
        raise InvalidRequestError(detail, code="dates_invalid", field="expires_on" if end else "not_before")
    if changes.operations is not None and kind is not None:
        check_operations(kind.family, changes.operations)
    tags = None if changes.tags is None else checked_tags(changes.tags)
    operations = None if changes.operations is None else _unique(changes.operations)
    return replace(changes, not_before=begin, expires_on=end, tags=tags, operations=operations)


def checked_tags(tags: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return tags in order; InvalidRequestError `tags_invalid` beyond Azure's limits."""
    long = any(len(text) > TAG_LENGTH_LIMIT for pair in tags for text in pair)
    if len(tags) > TAGS_LIMIT or long or any(not name for name, _ in tags):
        detail = f"A key has at most {TAGS_LIMIT} tags, with names and values of at most {TAG_LENGTH_LIMIT} characters."
        raise InvalidRequestError(detail, code="tags_invalid", field="tags")
    return tuple(sorted(tags))


def _check_release_policy(settings: KeySettings) -> None:
    policy = settings.release_policy
    if settings.exportable and policy is None:
        raise _release_policy("An exportable key needs a release policy.")
    if policy is None:
        return
    if not settings.exportable:
        raise _release_policy("A release policy belongs to an exportable key.")
    if len(policy.data) > RELEASE_POLICY_LIMIT or not _is_object(policy.data):
        raise _release_policy(f"A release policy is a JSON object of at most {RELEASE_POLICY_LIMIT} characters.")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _unique(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _whole(when: datetime | None) -> datetime | None:
    return when.replace(microsecond=0) if when is not None else None


def _release_policy(detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code="release_policy_invalid", field="release_policy")


def _for_other_kind(field: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code="field_for_other_kind", field=field)
