"""An escrow made at once, outside of a sync: of a key or version that was just made, or before the irreversible.

Invariant: what is being done does not fail because of it; where no escrow can be made, the next sync makes it.
"""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime

from core.domain.callers import Actor
from core.domain.escrow import split_by_retention
from core.domain.groups import Group, vault_of
from core.domain.keys import EscrowGeneration, HistoryEntry, VirtualKey, extended
from core.errors import KeystewardError, VaultAnswerError
from core.ports import VaultKeys
from core.services.escrows import Backup, Escrows

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class PromptEscrow:
    """The escrow of a key, or why the vault refused a backup; `keep` is how many generations stay.

    `error` is why there is none, whatever it was.
    `superseded` are those that go, once the record is written that `recorded` returned last.
    """

    keep: int
    generation: EscrowGeneration | None = None
    problem: str | None = None
    error: KeystewardError | None = None
    superseded: tuple[EscrowGeneration, ...] = field(default=())

    def recorded(self, key: VirtualKey, actor: Actor, now: datetime) -> VirtualKey:
        """Return the key's record with it."""
        if self.generation is None:
            # A sync may have made one meanwhile.
            return replace(key, escrow_problem=self.problem) if key.unescrowed else key
        if any(kept.id == self.generation.id for kept in key.escrow):
            # A write whose answer was lost is done again.
            return key
        entry = HistoryEntry(now, "key.escrowed", actor, self.generation.id)
        kept, self.superseded = split_by_retention((*key.escrow, self.generation), self.keep)
        return replace(key, escrow=kept, escrow_problem=None, history=extended(key.history, entry))


class PromptEscrows:
    """Makes escrows at once."""

    def __init__(self, escrows: Escrows) -> None:
        self._escrows = escrows

    async def make(
        self, keys: VaultKeys, group: Group, key: VirtualKey, request: str, *, always: bool = False
    ) -> PromptEscrow:
        """Escrow the key, if the group's keys are or `always`; never raises for a backup or an archive that failed."""
        escrow = PromptEscrow(group.escrow.keep_generations)
        if not group.escrow.enabled and not always:
            return escrow
        try:
            content = await keys.back_up(key.azure_name)
        except VaultAnswerError as error:
            return replace(escrow, problem=error.code, error=error)
        except KeystewardError as error:
            return _later(key, error, escrow)
        try:
            generations = await self._escrows.store(vault_of(group), request, [Backup(key, content)])
        except KeystewardError as error:
            return _later(key, error, escrow)
        return replace(escrow, generation=generations[key.id])

    async def prune(self, escrow: PromptEscrow) -> None:
        """Drop the generations that no record refers to any more, now that the record is written."""
        await self._escrows.prune(escrow.superseded)


def _later(key: VirtualKey, error: KeystewardError, escrow: PromptEscrow) -> PromptEscrow:
    _log.warning("key not escrowed yet", extra={"key": key.id, "code": error.code})
    return replace(escrow, error=error)
