"""Which keys have reached their deactivation date, or are about to: those that somebody may still be using."""

from datetime import datetime, timedelta

from core.domain.exchange_keys import TAG
from core.domain.keys import Presence
from core.domain.summaries import KeySummary

#: So long before its date a key is expiring.
NOTICE = timedelta(days=30)


def expiry_of(key: KeySummary, now: datetime) -> datetime | None:
    """Return the date of a key that is past it or within `NOTICE` of it; None for others.

    A key that is disabled or deleted is out of use already, and a key exchange key is renewed before its date.
    """
    in_use = key.presence is Presence.LIVE and key.enabled and TAG not in key.tags
    near = key.expires_on is not None and key.expires_on - now <= NOTICE
    return key.expires_on if in_use and near else None
