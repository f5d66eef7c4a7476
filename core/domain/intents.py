"""Intents: what is about to be made in a vault and must not be made twice, written down before it is asked for.

Invariants: an intent is stored before its request goes out, and closed after the outcome is recorded, so that a crash
or a lost answer in between leaves a trace; a repeated request finds the intent of the first and goes on from there.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.domain.callers import Actor
from core.domain.keys import CopiedFrom, KeyOrigin, KeyVersion
from core.domain.new_keys import NewVersion

#: A request lives for 230 s at most; what is older and still open was left over.
LEFT_OVER_AFTER = timedelta(minutes=5)
#: What a vault has not carried out by then, it never will. Requests wait for their answers half as long.
MAY_ARRIVE_FOR = timedelta(minutes=1)
#: An intent that the vault shows nothing of by then was never carried out.
GIVEN_UP_AFTER = timedelta(hours=1)
#: As long as an answer under an idempotency key.
KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Intent:
    """One new key in a vault, under way or (`key` set) done.

    Its name was found free in the vault before it was stored. `new` is what the vault is asked for, `thumbprint` the
    public key's where the material is ours; `event` is what the key's history is going to say. `sent_on` is when
    its request was sent, or was given up on without an answer; None once the vault answered that it was not done.
    """

    id: str
    account: str
    group: str
    name: str
    azure_name: str
    new: NewVersion
    origin: KeyOrigin
    event: str
    actor: Actor
    started_on: datetime
    thumbprint: str | None = None
    copied_from: CopiedFrom | None = None
    key: str | None = None
    ended_on: datetime | None = None
    sent_on: datetime | None = None

    def done(self, key: str, now: datetime) -> "Intent":
        """Return the intent with its outcome."""
        return replace(self, key=key, ended_on=now)

    def may_arrive_for(self, now: datetime) -> timedelta:
        """Return for how long yet the vault may carry out a request that got no answer; 0 where it will not."""
        left = self.sent_on + MAY_ARRIVE_FOR - now if self.sent_on else timedelta(0)
        # Clocks of two processes differ by moments; what lies further ahead is from before a clock was turned back.
        return timedelta(0) if left > 2 * MAY_ARRIVE_FOR else min(max(left, timedelta(0)), MAY_ARRIVE_FOR)


def is_expected(intent: Intent, version: KeyVersion) -> bool:
    """Whether a version that the vault shows under the intent's name is the one that was asked for.

    The name was free before. So a version that has all that was asked for is the intent's, but for the case that
    somebody else asked for the very same within moments, which harms nobody.
    """
    new = intent.new
    return (
        version.type == new.type
        and version.public_key.curve == new.kind.curve
        and (new.kind.size is None or version.size in {None, new.kind.size})
        and set(version.operations) == set(new.operations)
        and sorted(version.tags) == sorted(new.tags)
        and version.validity == new.validity
        and version.exportable == new.exportable
        and intent.thumbprint in {None, version.public_key.thumbprint}
    )
