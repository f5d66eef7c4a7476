"""What is to be found about one key as it is recorded: said by whoever examined it, a sync or a drill."""

from collections.abc import Iterable
from datetime import datetime

from core.domain.escrow import overdue
from core.domain.groups import EscrowSettings
from core.domain.keys import KeyOrigin, Presence, VirtualKey
from core.services.findings import FindingCode, Subject

_STRANGE = "The current version of the copy '{}' does not have its source key's material."
_LOST = "The key '{}' was deleted before it could be escrowed."
_MISSING = "The key '{}' has had no escrow for more than a day."
_STALE = "The escrow of the key '{}' has lacked {} of its versions for more than a day."
_ROTATES = "The vault rotates the key '{}' by itself: {}."

type Problem = tuple[FindingCode, Subject]


class Problems:
    """Findings to raise and to clear, of several keys."""

    def __init__(self) -> None:
        self.raised: dict[Problem, str] = {}
        self.cleared: set[Problem] = set()

    def note(self, key: VirtualKey, code: FindingCode, detail: str | None) -> None:
        """Raise a finding about a key with a detail, or (None) clear it."""
        about = (code, Subject(key.group, key.id))
        if detail is None:
            self.cleared.add(about)
        else:
            self.raised[about] = detail

    def note_all(self, key: VirtualKey, found: Iterable[tuple[FindingCode, str | None]], *, known: bool) -> None:
        """Note what was found about a key; of one that is not `known` yet there is nothing to clear."""
        for code, detail in found:
            if known or detail is not None:
                self.note(key, code, detail)


def escrow_problems(key: VirtualKey, escrow: EscrowSettings, now: datetime) -> dict[FindingCode, str | None]:
    """Return what is wrong with a key's escrow being there: a detail, or None for what is not wrong."""
    late = len(overdue(key, now)) if escrow.enabled else 0
    return {
        FindingCode.NOT_ESCROWED: _MISSING.format(key.azure_name) if late and not key.escrow else None,
        FindingCode.ESCROW_STALE: _STALE.format(key.azure_name, late) if late and key.escrow else None,
    }


def sync_problems(key: VirtualKey, escrow: EscrowSettings, now: datetime) -> dict[FindingCode, str | None]:
    """Return what a sync that examined a key finds of it, beside what the record tells whoever writes it."""
    lost = key.presence is Presence.SOFT_DELETED and not key.escrow and escrow.enabled
    return {
        FindingCode.DELETED_WITHOUT_ESCROW: _LOST.format(key.azure_name) if lost else None,
        FindingCode.MATERIAL_DRIFT: _STRANGE.format(key.azure_name) if key.material_differs else None,
        **escrow_problems(key, escrow, now),
        **rotation_problem(key),
    }


def was_brought(key: VirtualKey) -> bool:
    """Whether a key is live with material that was brought into its vault."""
    return key.presence is Presence.LIVE and key.origin is not KeyOrigin.NATIVE


def rotation_problem(key: VirtualKey) -> dict[FindingCode, str | None]:
    """Return whether the vault would replace material that was brought into it."""
    policy = key.vault_rotation
    rotates = was_brought(key) and policy is not None and policy.rotates
    return {FindingCode.NATIVE_ROTATION: _ROTATES.format(key.azure_name, policy.words) if policy and rotates else None}
