"""Somebody looked at what was changed behind Keysteward's back: noted, with a word on it, and out of the lists.

Invariant: what is acknowledged was there when it was looked at; drift that comes later makes the key drifted again. The
entries themselves stay.
"""

from dataclasses import replace

from core.domain.drift import DriftReview, checked_note, unreviewed
from core.domain.keys import HistoryEntry, VirtualKey, extended
from core.ports import Clock
from core.services.attribute_actions import ActionRequest
from core.services.conditional import require_match
from core.services.key_records import KeyRecords, key_not_found
from core.services.opened_keys import KeyRef


class DriftReviews:
    """Acknowledges drift."""

    def __init__(self, records: KeyRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def acknowledge(self, ref: KeyRef, note: str, asked: ActionRequest) -> VirtualKey:
        """Note that somebody looked at all of a key's drift so far; without any that is new, nothing changes.

        Raises InvalidRequestError `reason_invalid`, NotFoundError `key_not_found`, StaleWriteError.
        """
        note = checked_note(note)
        stored = await self._records.get(ref.account, ref.group, ref.key)
        require_match(stored.etag, asked.if_match, "The key")
        if not stored.value.drift:
            return stored.value
        up_to = max(change.observed_on for change in stored.value.drift)
        review = DriftReview(self._clock.now(), asked.actor, up_to, note)
        entry = HistoryEntry(review.on, "key.drift_acknowledged", asked.actor, note)

        def reviewed(present: VirtualKey | None) -> VirtualKey:
            if present is None:
                raise key_not_found()
            if not any(change.observed_on <= up_to for change in unreviewed(present.drift, present.drift_review)):
                # Written all the same: lists and findings may have been cut off the last time.
                return present
            return replace(present, drift_review=review, history=extended(present.history, entry))

        return await self._records.amend(ref.account, ref.group, ref.key, reviewed)
