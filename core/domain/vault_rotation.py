"""A vault's own rotation policy of a key, as it was read: one that rotates would replace material that is ours.

Source: Microsoft, 'Configure cryptographic key auto-rotation' (a policy of the vault makes new versions by itself, with
material of its own).
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VaultRotation:
    """What a vault said of its rotation policy when it was asked last; not `known`: it did not tell.

    Times are ISO 8601 durations, None where the policy has none.
    """

    read_on: datetime
    known: bool = True
    rotate_after_creation: str | None = None
    rotate_before_expiry: str | None = None
    expires_after: str | None = None

    @property
    def rotates(self) -> bool:
        """Whether the vault makes new versions by itself, as far as is known."""
        return self.rotate_after_creation is not None or self.rotate_before_expiry is not None

    @property
    def words(self) -> str:
        """When it does, for people."""
        if self.rotate_after_creation is not None:
            return f"{self.rotate_after_creation} after a version was made"
        return f"{self.rotate_before_expiry} before a version expires" if self.rotates else "never"


def newer(one: VaultRotation | None, other: VaultRotation | None) -> VaultRotation | None:
    """Return what was read last."""
    return max(filter(None, (one, other)), key=lambda read: read.read_on, default=None)
