"""What lists show of a key: the entry of the ordered indexes, small enough that a page of keys is one row.

Invariant: an entry round-trips (`from_entry(to_entry(s)) == s`); members are added, never renamed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import cast

from core.domain.key_kinds import CURVE_BITS
from core.domain.key_names import folded
from core.domain.keys import KeyClass, KeyOrigin, KeyState, Presence, Validity, VirtualKey, state_at
from core.domain.source_keys import MaterialOrigin, SourceKey

_LAST = "~"  # sorts behind every date
_SOURCE_ORIGINS = {
    MaterialOrigin.GENERATED: KeyOrigin.KEYSTEWARD,
    MaterialOrigin.IMPORTED: KeyOrigin.IMPORTED,
    MaterialOrigin.COPIED: KeyOrigin.KEYSTEWARD,
}


@dataclass(frozen=True, slots=True)
class KeySummary:
    """A key as lists show it; its state is derived when it is shown. A source key has no Azure name."""

    id: str
    group: str
    name: str
    azure_name: str
    origin: KeyOrigin
    presence: Presence
    type: str | None
    size: int | None
    curve: str | None
    enabled: bool
    not_before: datetime | None
    expires_on: datetime | None
    updated_on: datetime | None
    tags: tuple[tuple[str, str], ...]
    versions: int
    escrowed_on: datetime | None
    escrow_pending: bool
    escrow_problem: str | None
    drifted: bool
    scheduled_purge_on: datetime | None
    fingerprint: str
    key_class: KeyClass = KeyClass.VIRTUAL

    def state(self, now: datetime) -> KeyState:
        """The state at `now`."""
        return state_at(self.presence, Validity(self.enabled, self.not_before, self.expires_on), now)


_MEMBERS = tuple(member.name for member in fields(KeySummary))


def summary_of(key: VirtualKey) -> KeySummary:
    """Return the list entry of `key`."""
    current = key.current
    validity = current.validity if current else Validity()
    return KeySummary(
        id=key.id,
        group=key.group,
        name=key.name,
        azure_name=key.azure_name,
        origin=key.origin,
        presence=key.presence,
        type=current.type if current else None,
        size=current.size if current else None,
        curve=current.public_key.curve if current else None,
        enabled=validity.enabled,
        not_before=validity.not_before,
        expires_on=validity.expires_on,
        updated_on=current.updated_on if current else None,
        tags=current.tags if current else (),
        versions=len(key.versions),
        escrowed_on=key.escrow[-1].created_on if key.escrow else None,
        escrow_pending=bool(key.unescrowed),
        escrow_problem=key.escrow_problem,
        drifted=key.drifted,
        scheduled_purge_on=key.deletion.scheduled_purge_on if key.deletion else None,
        fingerprint=key.fingerprint,
    )


def summary_of_source(key: SourceKey) -> KeySummary:
    """Return the list entry of a source key."""
    current = key.current
    return KeySummary(
        id=key.id,
        group=key.group,
        name=key.name,
        azure_name="",
        origin=_SOURCE_ORIGINS[current.origin],
        presence=key.presence,
        type=key.kind.family.value,
        size=key.kind.size or CURVE_BITS.get(key.kind.curve or ""),
        curve=key.kind.curve,
        enabled=current.validity.enabled,
        not_before=current.validity.not_before,
        expires_on=current.validity.expires_on,
        updated_on=key.updated_on,
        tags=key.tags,
        versions=len(key.versions),
        escrowed_on=None,
        escrow_pending=False,
        escrow_problem=None,
        drifted=False,
        scheduled_purge_on=None,
        fingerprint="",
        key_class=KeyClass.SOURCE,
    )


def to_entry(summary: KeySummary) -> dict[str, object]:
    """Return `summary` as a JSON object without its empty members."""
    entry: dict[str, object] = {}
    for name in _MEMBERS:
        value = getattr(summary, name)
        if value is None or value == ():
            continue
        entry[name] = value.isoformat() if isinstance(value, datetime) else value
    return entry


def from_entry(entry: Mapping[str, object]) -> KeySummary:
    """Read what `to_entry` wrote."""

    def text(name: str) -> str | None:
        return cast("str | None", entry.get(name))

    def when(name: str) -> datetime | None:
        value = text(name)
        return datetime.fromisoformat(value) if value else None

    tags = cast("list[list[str]]", entry.get("tags", []))
    return KeySummary(
        id=str(entry["id"]),
        group=str(entry["group"]),
        name=str(entry["name"]),
        azure_name=str(entry["azure_name"]),
        origin=KeyOrigin(str(entry["origin"])),
        presence=Presence(str(entry["presence"])),
        type=text("type"),
        size=cast("int | None", entry.get("size")),
        curve=text("curve"),
        enabled=bool(entry["enabled"]),
        not_before=when("not_before"),
        expires_on=when("expires_on"),
        updated_on=when("updated_on"),
        tags=tuple((name, value) for name, value in tags),
        versions=cast("int", entry["versions"]),
        escrowed_on=when("escrowed_on"),
        escrow_pending=bool(entry["escrow_pending"]),
        escrow_problem=text("escrow_problem"),
        drifted=bool(entry["drifted"]),
        scheduled_purge_on=when("scheduled_purge_on"),
        fingerprint=str(entry["fingerprint"]),
        # Entries of before there were source keys do not have it.
        key_class=KeyClass(str(entry.get("key_class", KeyClass.VIRTUAL))),
    )


def group_tree(group: str) -> str:
    """The tree of a group's keys by Azure name; a sync compares the vault's list with it."""
    return f"keys/{group}"


def name_tree(account: str) -> str:
    """The tree of an account's keys by display name."""
    return f"keys-by-name/{account}"


def expiry_tree(account: str) -> str:
    """The tree of an account's keys by deactivation date; those without one come last."""
    return f"keys-by-expiry/{account}"


def update_tree(account: str) -> str:
    """The tree of an account's keys by the vault's last change."""
    return f"keys-by-update/{account}"


def group_position(summary: KeySummary) -> str:
    """Where a key is in its group's tree: Azure names are compared without case, and so are a source group's names."""
    return summary.azure_name.lower() or folded(summary.name)


def replaced_position(summary: KeySummary) -> str:
    """Where a purged key goes when another key takes its name; no Azure name holds a '!'."""
    return f"{summary.azure_name.lower()}!{summary.id}"


def account_positions(account: str, summary: KeySummary) -> dict[str, str]:
    """Where a key is in each tree of its account, by tree; keys with the same date are in the order of their names.

    A sync meets keys by name, so what it writes together lies together: many keys share a date, or have none.
    """
    by_name = f"{folded(summary.name)}\x00{summary.id}"
    return {
        name_tree(account): by_name,
        expiry_tree(account): f"{moment(summary.expires_on)}\x00{by_name}",
        update_tree(account): f"{moment(summary.updated_on)}\x00{by_name}",
    }


def moment(when: datetime | None) -> str:
    """A date as positions hold it; none sorts behind all."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") if when else _LAST
