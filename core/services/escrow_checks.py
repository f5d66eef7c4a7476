"""Looks at keys' escrow: whether the newest generation opens, is whole, and has what a restore needs.

Invariants: what a drill finds broken is noted with the generation, so that the next sync escrows a live key anew and
nothing irreversible leans on it; what a sync replaced meanwhile is not called broken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.concurrency import each
from core.domain.escrow import Manifest, overdue, require_complete
from core.domain.groups import Group
from core.domain.jobs import JobError
from core.domain.keys import GONE, Presence, VirtualKey
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError, KeystewardError
from core.ports import Clock
from core.services.escrows import Escrows
from core.services.findings import FindingCode, Findings
from core.services.key_problems import Problems, escrow_problems
from core.services.key_records import KeyRecords, key_not_found

_AT_ONCE = 16
_BROKEN = "The newest escrow of the key '{}' is broken ({}): {}"
_STALE = "The newest escrow lacks {} of the key's versions."


@dataclass(frozen=True, slots=True)
class Checked:
    """One key after a look at its escrow: `missing` where there should be one, `error` is why it counts as failed."""

    key: VirtualKey
    opened: bool = False
    missing: bool = False
    error: JobError | None = None

    @property
    def verified(self) -> bool:
        """Whether the whole key can be restored from it, as far as Keysteward can tell."""
        return self.opened and self.error is None and (not self.key.unescrowed or self.key.presence in GONE)


@dataclass(frozen=True, slots=True)
class Opened:
    """A key with the content of its newest escrow."""

    key: VirtualKey
    manifest: Manifest
    backup: SecretBytes


class EscrowChecks:
    """Checks the escrow of keys, and settles the findings about it."""

    def __init__(self, records: KeyRecords, escrows: Escrows, findings: Findings, clock: Clock) -> None:
        self._records = records
        self._escrows = escrows
        self._findings = findings
        self._clock = clock

    async def look_at(self, group: Group, ids: Sequence[str]) -> list[Checked]:
        """Check keys of a group, and settle what is to be found about their escrow."""
        rows = await self._records.keys.get_many(group.id, ids)
        checked = await each(self._checked, [rows[id_].value for id_ in ids if id_ in rows], at_most=_AT_ONCE)
        problems = Problems()
        for one in checked:
            found = escrow_problems(one.key, group.escrow, self._clock.now())
            if one.opened:
                found[FindingCode.ESCROW_BROKEN] = None
            problems.note_all(one.key, found.items(), known=True)
        await self._findings.settle(group.account, problems.raised, problems.cleared)
        return checked

    async def note_broken(self, key: VirtualKey, error: KeystewardError) -> None:
        """Note that a key cannot be restored from its newest escrow."""
        await self._mark(key, error.code)
        problems = Problems()
        problems.note(key, FindingCode.ESCROW_BROKEN, _BROKEN.format(key.azure_name, error.code, error.detail))
        await self._findings.settle(key.account, problems.raised)

    async def open(self, key: VirtualKey) -> Opened | None:
        """Open a key's newest generation, whichever that is by now; None without any; IntegrityError."""
        while key.escrow:
            newest = key.escrow[-1]
            try:
                manifest, backup = await self._escrows.open(newest)
                require_complete(manifest, key, newest)
            except IntegrityError:
                fresh = await self._records.keys.get(key.group, key.id)
                if fresh is None or (fresh.value.escrow and fresh.value.escrow[-1].id == newest.id):
                    raise
                # A sync made a newer one meanwhile, and blanked this.
                key = fresh.value
            else:
                return Opened(key, manifest, backup)
        return None

    async def _checked(self, key: VirtualKey) -> Checked:
        try:
            opened = await self.open(key)
        except IntegrityError as error:
            await self.note_broken(key, error)
            return Checked(key, error=JobError(error.code, error.detail, key.azure_name))
        if opened is None:
            return Checked(key, missing=bool(overdue(key, self._clock.now())))
        key = opened.key
        if key.escrow[-1].broken is not None:
            key = await self._mark(key, None)
        lacking = key.unescrowed if key.presence is Presence.SOFT_DELETED else overdue(key, self._clock.now())
        if not lacking:
            return Checked(key, opened=True)
        stale = JobError("escrow_stale", _STALE.format(len(lacking)), key.azure_name)
        return Checked(key, opened=True, error=stale)

    async def _mark(self, key: VirtualKey, broken: str | None) -> VirtualKey:
        generation = key.escrow[-1]

        def marked(present: VirtualKey | None) -> VirtualKey:
            if present is None:
                raise key_not_found()
            escrow = tuple(replace(one, broken=broken) if one.id == generation.id else one for one in present.escrow)
            return replace(present, escrow=escrow)

        return await self._records.amend(key.account, key.group, key.id, marked)
