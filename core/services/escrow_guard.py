"""Nothing irreversible without an escrow that covers every version and was opened just now.

Invariant: what `require` lets pass can be restored as far as Keysteward can tell: the newest generation opens, its
digests match, and its manifest is the key's and lists every version.
"""

import logging

from core.domain.callers import Actor
from core.domain.escrow import require_complete
from core.domain.groups import Group
from core.domain.keys import Presence, VirtualKey
from core.errors import ConflictError, IntegrityError, VaultUnavailableError
from core.ports import Clock, VaultKeys
from core.services.escrows import Escrows
from core.services.key_records import KeyRecords
from core.services.prompt_escrows import PromptEscrows

_NOT_COVERED = "versions_not_escrowed"

_log = logging.getLogger(__name__)


class EscrowGuard:
    """Makes sure of a key's escrow."""

    def __init__(self, escrows: Escrows, records: KeyRecords, clock: Clock) -> None:
        self._escrows = escrows
        self._prompt = PromptEscrows(escrows)
        self._records = records
        self._clock = clock

    async def require(self, keys: VaultKeys, group: Group, key: VirtualKey, actor: Actor) -> VirtualKey:
        """Return the key with a verified escrow of all versions, made now if need be.

        Raises ConflictError `escrow_needed` where there is none and none can be made, VaultUnavailableError where that
        cannot be found out now.
        """
        problem = await self._problem(key)
        if problem is None:
            return key
        if key.presence is Presence.LIVE:
            made = await self._prompt.make(keys, group, key, key.id, always=True)
            if made.generation is not None:
                now = self._clock.now()

                def escrowed(present: VirtualKey | None) -> VirtualKey:
                    return made.recorded(present or key, actor, now)

                recorded = await self._records.amend(key.account, key.group, key.id, escrowed)
                await self._prompt.prune(made)
                return recorded
            if isinstance(made.error, VaultUnavailableError):
                raise made.error
            problem = made.error.code if made.error else problem
        raise ConflictError(
            "No escrow that opens covers every version of the key, and none can be made now. See to that, or say "
            "`without_escrow`.",
            code="escrow_needed",
            facts={"problem": problem, "versions": sorted(key.unescrowed)},
        )

    async def _problem(self, key: VirtualKey) -> str | None:
        if not key.escrow or key.unescrowed:
            return _NOT_COVERED
        newest = key.escrow[-1]
        try:
            manifest, _ = await self._escrows.open(newest)
            require_complete(manifest, key, newest)
        except IntegrityError as error:
            _log.warning("escrow found broken", extra={"key": key.id, "generation": newest.id, "code": error.code})
            return error.code
        return None
