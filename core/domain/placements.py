"""What is recorded of a key that Keysteward brought into a vault; the same whichever of sync and request was first."""

from dataclasses import replace
from datetime import datetime

from core.domain.intents import Intent
from core.domain.keys import CopiedFrom, HistoryEntry, KeyVersion, VirtualKey, extended
from core.domain.observed import ObservedKey
from core.domain.sync import SyncContext, discovered


def placed(context: SyncContext, intent: Intent, observed: ObservedKey, recorded: VirtualKey | None) -> VirtualKey:
    """Return the record of a key that was just made; `recorded` is what a sync wrote meanwhile, if one was faster."""
    # What a sync wrote is at least as new as what the request saw.
    found = discovered(context, observed) if recorded is None else recorded
    if any(entry.event == intent.event for entry in found.history):
        return found
    entry = HistoryEntry(context.now, intent.event, intent.actor, observed.versions[-1].id)
    return replace(
        found,
        name=intent.name,
        origin=intent.origin,
        created_by=intent.actor,
        copied_from=_linked(intent.copied_from, observed.versions[-1]),
        history=(entry,) if recorded is None else extended(found.history, entry),
    )


def _linked(link: CopiedFrom | None, version: KeyVersion) -> CopiedFrom | None:
    """Return the link with the id that the vault gave to the version; the public key stays that of the source."""
    if link is None or link.latest is None:
        return link
    return replace(link, versions=(*link.versions[:-1], replace(link.latest, version=version.id)))


def context_of(intent: Intent, label: str, now: datetime) -> SyncContext:
    """Return what a record shows as its cause: the intent stands for the job of a sync."""
    return SyncContext(intent.account, intent.group, label, intent.id, now)
