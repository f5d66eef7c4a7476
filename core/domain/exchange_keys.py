"""Key exchange keys of a group's vault: RSA-HSM keys whose only operation is `import`, under which material travels.

Invariants: the vault's own answer says what a key exchange key is, each time before anything is wrapped under it; what
is recorded here only says which one to ask for, so that nobody who can write a row can have material wrapped for
himself. A key exchange key expires in the vault, too, so one that nobody retires ends by itself.

Source: BYOK specification (RSA-HSM of 2048, 3072 or 4096 bits, 'import' as its only operation, generated in the vault
that is the target).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.domain.key_kinds import IMPORT_ONLY, KeyFamily, KeyKind
from core.domain.keys import Validity
from core.domain.new_keys import NewVersion

KIND = KeyKind(KeyFamily.RSA, 4096)
#: What a vault shows of them. It proves nothing: anybody can tag a key.
TAG = ("purpose", "Keysteward key exchange key")
#: New material is wrapped under a key exchange key for so long.
RENEWED_AFTER = timedelta(days=30)
#: Transfer blobs that were made for download can be imported for so long after that.
OVERLAP = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ExchangeKey:
    """One key exchange key that Keysteward made; `key` is the id of its record, `version` Azure's."""

    azure_name: str
    version: str
    key: str
    created_on: datetime
    retired_on: datetime | None = None

    @property
    def renew_on(self) -> datetime:
        """When another one takes its place."""
        return self.created_on + RENEWED_AFTER

    @property
    def retire_on(self) -> datetime:
        """When it is disabled."""
        return self.renew_on + OVERLAP

    def wraps_at(self, now: datetime) -> bool:
        """Whether new material is wrapped under it."""
        return self.retired_on is None and now < self.renew_on


@dataclass(frozen=True, slots=True)
class GroupExchangeKeys:
    """The key exchange keys of one group, oldest first."""

    account: str
    group: str
    keys: tuple[ExchangeKey, ...] = ()

    def current(self, now: datetime) -> ExchangeKey | None:
        """Return the one to wrap under, if there is one."""
        return next((key for key in reversed(self.keys) if key.wraps_at(now)), None)

    def find(self, key: str) -> ExchangeKey | None:
        """Return the one with this record."""
        return next((one for one in self.keys if one.key == key), None)

    def with_key(self, key: ExchangeKey) -> "GroupExchangeKeys":
        """Return them with one more."""
        return replace(self, keys=(*self.keys, key)) if self.find(key.key) is None else self

    def retired(self, key: str, now: datetime) -> "GroupExchangeKeys":
        """Return them with one retired."""

        def ended(one: ExchangeKey) -> ExchangeKey:
            return replace(one, retired_on=now) if one.key == key and one.retired_on is None else one

        return replace(self, keys=tuple(map(ended, self.keys)))


def wanted(now: datetime) -> NewVersion:
    """Return what a vault is asked for."""
    end = (now + RENEWED_AFTER + OVERLAP).replace(microsecond=0)
    return NewVersion(
        type="RSA-HSM",
        kind=KIND,
        operations=IMPORT_ONLY,
        validity=Validity(expires_on=end),
        tags=(TAG,),
    )
