"""Rotation of keys in vaults: what a vault is asked for, how its version is known again, and what the record becomes.

Invariants: a new version is of the type of the current one; what a vault made is recorded as ours only if it is the
one unknown version that was asked for; whatever else came meanwhile is drift.

Sources: Azure/azure-sdk-for-net#35736 (versions of one name may differ in RSA size). Nothing says that they may differ
in type or curve, so here they do not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from core.domain.callers import Actor, ActorKind
from core.domain.changes import added
from core.domain.drift import Drift, DriftKind
from core.domain.groups import Group, vault_of
from core.domain.key_kinds import KeyFamily, KeyKind, Protection, kind_of, target_of
from core.domain.key_settings import in_vault
from core.domain.keys import (
    KEPT_ENTRIES,
    CopiedFrom,
    CopiedVersion,
    HistoryEntry,
    KeyOrigin,
    KeyVersion,
    Presence,
    Validity,
    VirtualKey,
    extended,
)
from core.domain.new_keys import KeySettings, NewVersion
from core.domain.observed import ListedKey
from core.domain.pending_actions import AskedSource, AskedVersion, KeyAction, PendingAction, Retirement
from core.domain.rotation_schedules import KEEP_PREVIOUS, Previous, VersionLife
from core.domain.source_keys import SourceVersion
from core.errors import ConflictError, PolicyViolationError

#: A vault's clocks may differ by so much from one version to the next.
_SLACK = timedelta(minutes=1)
_EVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class RotationOrder:
    """What a rotation job does: make a version of a key, and of each target of its results but the key itself a copy.

    `request` names the new version of a source key, whose material may have been stored already. Without dates a
    version lives as long as the one before it.
    """

    group: str
    key: str
    request: str
    of_source: bool
    imported: bool = False
    validity: Validity | None = None
    previous: Previous = KEEP_PREVIOUS
    size: int | None = None


def life_of(version: KeyVersion | SourceVersion) -> VersionLife:
    """Return when a version was made, and when it expires."""
    return VersionLife(version.created_on, version.validity.expires_on)


def rotated_validity(life: VersionLife, given: Validity | None, now: datetime) -> Validity:
    """Return the dates of a new version: those given, else a life as long as the current version's, or endless."""
    begin = given.not_before if given else None
    end = given.expires_on if given else None
    if end is None and life.expires_on is not None:
        end = (begin or now) + max(life.expires_on - life.created_on, timedelta())
    return Validity(True, begin, end)


def kind_of_version(version: KeyVersion, size: int | None = None) -> KeyKind:
    """Return the kind of a new version like this one; `size` is that of a symmetric key, which vaults do not tell.

    The size of an exportable one is the vault's matter, which takes it over. Raises ConflictError `key_size_unknown`,
    PolicyViolationError `key_type_unknown`.
    """
    kind = kind_of(version.type, version.size or size, version.public_key.curve)
    if kind is None:
        raise PolicyViolationError("Keys of this type are not known here.", code="key_type_unknown")
    if kind.family is KeyFamily.AES and kind.size is None and not version.exportable:
        detail = "The vault does not say the size of a symmetric key: name it."
        raise ConflictError(detail, code="key_size_unknown", field="size")
    return kind


def check_same_type(version: KeyVersion, kind: KeyKind) -> None:
    """Raise PolicyViolationError `rotation_type_mismatch` for material that is no next version of this one."""
    present = kind_of(version.type, version.size, version.public_key.curve)
    if present is None or (present.family, present.curve) != (kind.family, kind.curve):
        raise PolicyViolationError(
            f"The key is of type {version.type}: a new version has the same type and, of an EC key, the same curve.",
            code="rotation_type_mismatch",
            facts={"type": version.type, "curve": version.public_key.curve},
        )


def version_like(last: KeyVersion, kind: KeyKind, validity: Validity, group: Group, now: datetime) -> NewVersion:
    """Return a version with material that is brought: of the type, and with the operations and tags of another one.

    Raises PolicyViolationError `rotation_type_mismatch`, `key_not_allowed`; ConflictError `release_policy_unknown`;
    InvalidRequestError `dates_invalid`.
    """
    check_same_type(last, kind)
    if last.exportable:
        detail = "The key is exportable, and its release policy is not recorded: import a new key instead."
        raise ConflictError(detail, code="release_policy_unknown")
    protection = Protection.HSM if last.type.endswith("-HSM") else Protection.SOFTWARE
    settings = KeySettings(operations=last.operations, validity=validity, tags=last.tags)
    return in_vault(target_of(vault_of(group).type, protection), kind, settings, group.key_policy, now)


def asked_for(key: VirtualKey, current: KeyVersion, new: NewVersion) -> AskedVersion:
    """Return what is written down before a vault is asked for a version after the current one, which it generates."""
    since = current.created_on - _SLACK
    return AskedVersion(
        type=new.type,
        kind=new.kind,
        operations=new.operations,
        since=since,
        known=tuple(version.id for version in key.versions if version.created_on >= since),
        not_before=new.validity.not_before,
        expires_on=new.validity.expires_on,
    )


def asked_anew(key: VirtualKey, new: NewVersion) -> AskedVersion:
    """Return what is written down before a vault is asked for a purged key again: the new version is none that was."""
    return AskedVersion(
        type=new.type,
        kind=new.kind,
        operations=new.operations,
        since=_EVER,
        known=tuple(version.id for version in key.versions),
        not_before=new.validity.not_before,
        expires_on=new.validity.expires_on,
    )


def brought(asked: AskedVersion, thumbprint: str | None, source: AskedSource | None) -> AskedVersion:
    """Return the same for material that does not come from the vault, with the source key's version if it has one."""
    return replace(asked, thumbprint=thumbprint, brought=True, source=source)


def superseding(asked: AskedVersion, key: VirtualKey, previous: Previous) -> AskedVersion:
    """Return the same with what becomes of the version that is current until then."""
    if previous.grace is None or key.current is None:
        return asked
    return replace(asked, retire=key.current.id, grace=previous.grace)


def unknown_versions(asked: AskedVersion, versions: Iterable[KeyVersion]) -> tuple[KeyVersion, ...]:
    """Return the versions that came since a vault was asked for one."""
    return tuple(v for v in versions if v.created_on >= asked.since and v.id not in asked.known)


def made_among(asked: AskedVersion, versions: Iterable[KeyVersion]) -> KeyVersion | None:
    """Return the version that was asked for; None if it is not among these.

    ConflictError `rotation_unclear` where it might be any of several: then none is taken for ours.
    """
    found = [version for version in unknown_versions(asked, versions) if _fits(asked, version)]
    if len(found) > 1:
        detail = "The vault has several new versions of the key, any of which may be the one that was asked for: sync."
        raise ConflictError(detail, code="rotation_unclear", facts={"versions": sorted(v.id for v in found)})
    return found[0] if found else None


def with_made(
    key: VirtualKey, pending: PendingAction, listed: ListedKey, version: KeyVersion, now: datetime
) -> VirtualKey:
    """Return the record with the version that its pending action made."""
    asked = pending.asked
    if asked is None:
        return key
    key = with_strangers(key, pending, version.id, now)
    if pending.action is KeyAction.REIMPORT:
        came = unknown_versions(asked, key.versions)
        key = replace(key, presence=Presence.LIVE, deletion=None, versions=came, deactivation=None, retirements=())
    changed = added(key, listed, version, now)
    return replace(
        changed,
        origin=_origin(key, asked),
        copied_from=_link(key, pending, asked, version),
        retirements=(*changed.retirements, *_retirement(pending, asked, now)),
        # What has another key's material is rotated with that key.
        schedule=None if asked.source else key.schedule,
    )


def with_strangers(key: VirtualKey, pending: PendingAction, ours: str | None, now: datetime) -> VirtualKey:
    """Return the record with drift for other versions that a sync recorded while the action was pending."""
    came = unknown_versions(pending.asked, key.versions) if pending.asked else ()
    strange = [version.id for version in came if version.id != ours]
    if not strange:
        return key
    drift = tuple(Drift(DriftKind.NEW_VERSION, now, pending.id, None, id_, id_) for id_ in strange)
    outside = Actor(ActorKind.OUTSIDE, pending.id, "outside Keysteward")
    entries = (HistoryEntry(now, f"drift.{DriftKind.NEW_VERSION.value}", outside, id_) for id_ in strange)
    kept = (*key.drift, *drift)[-KEPT_ENTRIES:]
    return replace(key, drift=kept, history=extended(key.history, *entries), observed_on=now)


def retirement_on(asked: AskedVersion, now: datetime) -> datetime | None:
    """Return when the superseded version is to be disabled, if it is."""
    return now + asked.grace if asked.retire else None


def version_made_by(key: VirtualKey, request: str) -> str | None:
    """Return the version that a request made before: history has it beside the request."""
    return next((entry.detail for entry in key.history if entry.request == request), None)


def source_version_of(key: VirtualKey) -> int | None:
    """Return which version of its source key a copy's current version is; None if it is none of them."""
    copied = key.copied_from.versions if key.copied_from and key.current else ()
    return next((one.source_version for one in copied if key.current and one.version == key.current.id), None)


def require_copy(key: VirtualKey) -> CopiedFrom:
    """Return the link of a copy; ConflictError `no_source_key`."""
    if key.copied_from is None:
        detail = "The key is no copy of a source key, so there is nothing to import again: restore it from its escrow."
        raise ConflictError(detail, code="no_source_key")
    return key.copied_from


def _fits(asked: AskedVersion, version: KeyVersion) -> bool:
    if version.type != asked.type:
        return False
    if asked.thumbprint is not None:
        return version.public_key.thumbprint == asked.thumbprint
    return (
        version.public_key.curve == asked.kind.curve
        and (asked.kind.size is None or version.size in {None, asked.kind.size})
        and set(version.operations) == set(asked.operations)
    )


def _origin(key: VirtualKey, asked: AskedVersion) -> KeyOrigin:
    if asked.source is not None:
        return KeyOrigin.KEYSTEWARD
    return KeyOrigin.IMPORTED if asked.brought else key.origin


def _link(key: VirtualKey, pending: PendingAction, asked: AskedVersion, version: KeyVersion) -> CopiedFrom | None:
    source = asked.source
    if source is None:
        # Material that somebody brought from elsewhere ends a link.
        return None if asked.brought else key.copied_from
    copied = CopiedVersion(version.id, source.version, version.public_key.thumbprint)
    link = key.copied_from
    if link is None or link.key != source.key:
        return CopiedFrom(source.group, source.key, source.name, pending.actor, pending.started_on, (copied,))
    kept = () if pending.action is KeyAction.REIMPORT else link.versions
    return replace(link, versions=(*kept, copied))


def _retirement(pending: PendingAction, asked: AskedVersion, now: datetime) -> Iterable[Retirement]:
    on = retirement_on(asked, now)
    if asked.retire is not None and on is not None:
        yield Retirement(asked.retire, on, pending.actor)
