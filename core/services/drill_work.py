"""The work of a drill: look at every key's escrow, restore a few for proof, and say on the group how it went.

Invariants: memory holds a leaf of keys, whatever their number; a job that is run again goes on at its checkpoint,
clears first what it left in the scratch vault, and counts nothing twice.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from time import monotonic

from core.domain.drill_walks import RESTORING, WALKING, DrillWalk
from core.domain.drills import DrillOrder, LastDrill, is_restorable
from core.domain.groups import Group, vault_of
from core.domain.jobs import Job, JobError, JobStatus, Progress
from core.domain.keys import Presence
from core.domain.summaries import KeySummary, from_entry, group_tree
from core.ports import Collection, OrderedIndex
from core.services.amend import amend
from core.services.drill_restores import DrillRestores
from core.services.escrow_checks import Checked, EscrowChecks
from core.services.findings import FindingCode, Findings, Subject
from core.services.group_vaults import GroupVaults
from core.services.job_runs import Run, with_error
from core.services.locks import GroupLocks

_NOWHERE = "None of the keys can be restored into the scratch vault."

type _Leaf = tuple[tuple[str, Mapping[str, object]], ...]


class DrillWork:
    """Runs drills."""

    def __init__(  # noqa: PLR0913 - the collaborators of a drill
        self,
        groups: Collection[Group],
        index: OrderedIndex,
        *,
        vaults: GroupVaults,
        checks: EscrowChecks,
        restores: DrillRestores,
        findings: Findings,
        locks: GroupLocks,
    ) -> None:
        self._groups = groups
        self._index = index
        self._vaults = vaults
        self._checks = checks
        self._restores = restores
        self._findings = findings
        self._locks = locks

    async def run(self, run: Run) -> None:
        """Drill the job's group."""
        job = run.job
        order = DrillOrder.of(job.options)
        group = await self._vaults.group(job.account, job.group or "")
        await self._restores.clear(run, order)
        if job.checkpoint.get("phase") != RESTORING:
            scratch = await self._scratch(job.account, order)
            walk = await self._walk(run, group, order, scratch)
            await self._choose(run, group, order, walk)
        if order.restore_into is not None:
            await self._restores.restore(run, group, order.restore_into)
        await run.record(replace(run.job.progress, phase="done"))

    async def ended(self, job: Job) -> None:
        """Show on the group how its drill ended, and free it for the next one."""
        if job.group is None or job.ended_on is None:
            return
        await self._locks.release(job.group, job.id)
        await self._restores.report(job)
        about = (FindingCode.DRILL_FAILED, Subject(job.group))
        if job.status is JobStatus.FAILED or job.progress.errors_total:
            latest = job.progress.errors[-1].detail if job.progress.errors else ""
            detail = f"Job {job.id} ended with {job.progress.errors_total} errors. The latest: {latest}"
            await self._findings.settle(job.account, {about: detail})
        elif job.status is JobStatus.SUCCEEDED:
            await self._findings.settle(job.account, {}, {about})
        ended = _last(job)

        def noted(fresh: Group) -> Group:
            newer = fresh.last_drill is not None and fresh.last_drill.ended_on > ended.ended_on
            return fresh if newer else replace(fresh, last_drill=ended)

        # Last of all: whoever sees the drill on the group sees its findings, too.
        await amend(self._groups, job.account, job.group, noted)

    async def _scratch(self, account: str, order: DrillOrder) -> Group | None:
        """Return the scratch group as recorded; None where there is none (any more), which the restores will say."""
        stored = await self._groups.get(account, order.restore_into) if order.restore_into else None
        return stored.value if stored is not None and stored.value.vault is not None else None

    async def _walk(self, run: Run, group: Group, order: DrillOrder, scratch: Group | None) -> DrillWalk:
        walk = _begun(run.job, group, order)
        if walk.ended:
            return walk
        began, done_before = monotonic(), run.job.progress.done
        async with aclosing(self._leaves(group, walk)) as leaves:
            async for leaf, wrapped in leaves:
                items = [(position, from_entry(entry)) for position, entry in leaf]
                share = walk.share([item for item in items if _is_wanted(group, item[1])], wrapped=wrapped)
                checked = await self._checks.look_at(group, [summary.id for _, summary in share])
                cut = walk.left is not None and len(share) == walk.left
                walk = walk.moved(share[-1][0] if cut else leaf[-1][0], len(share), _counts(checked), wrapped=wrapped)
                if scratch is not None:
                    walk = walk.with_candidates(run.job.id, _candidates(checked, scratch), order.restores)
                await run.record(_progress(run.job, walk, checked, began, done_before), walk.checkpoint(WALKING))
                if walk.ended:
                    break
        return walk

    async def _leaves(self, group: Group, walk: DrillWalk) -> AsyncGenerator[tuple[_Leaf, bool]]:
        """Yield the group's keys from where the walk is, and whether it has begun anew at the beginning."""
        tree = group_tree(group.id)
        if not walk.wrapped:
            async for leaf in self._index.leaves(tree, _behind(walk.position or walk.start)):
                yield leaf, False
        if walk.start:
            async for leaf in self._index.leaves(tree, _behind(walk.position) if walk.wrapped else ""):
                inside = tuple(item for item in leaf if item[0] <= walk.start)
                if inside:
                    yield inside, True
                if len(inside) < len(leaf):
                    return

    async def _choose(self, run: Run, group: Group, order: DrillOrder, walk: DrillWalk) -> None:
        """Write down which keys are going to be restored, before any is."""
        results = await self._restores.targets(group, order, walk.candidates)

        def walked(job: Job) -> Job:
            total = job.progress.done + len(results)
            progress = replace(job.progress, phase="restoring" if results else "done", total=total)
            if order.restore_into is not None and not results and walk.counts.get("verified"):
                progress = with_error(progress, JobError("restore_elsewhere", _NOWHERE))
            return replace(job.progressed(progress, walk.checkpoint(RESTORING)), results=results)

        await run.revise(walked)


def _begun(job: Job, group: Group, order: DrillOrder) -> DrillWalk:
    """Return where a drill goes on: at its checkpoint or, with a sample, behind the keys of the drill before."""
    if job.checkpoint:
        return DrillWalk.of(job.checkpoint)
    last = group.last_drill.position if group.last_drill is not None and order.sample is not None else ""
    return DrillWalk(start=last, left=order.sample)


def _is_wanted(group: Group, key: KeySummary) -> bool:
    """Whether there is an escrow to look at, or should be one."""
    missed = group.escrow.enabled and key.presence is Presence.LIVE and key.escrow_pending
    return (key.escrowed_on is not None and key.presence is not Presence.DESTROYED) or missed


def _behind(position: str) -> str:
    return f"{position}\0" if position else ""


def _counts(checked: Iterable[Checked]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for one in checked:
        found = {
            "opened": one.opened,
            "verified": one.verified,
            "missing": one.missing,
            "failed": one.error is not None,
        }
        counts.update(name for name, holds in found.items() if holds)
    return counts


def _candidates(checked: Iterable[Checked], scratch: Group) -> list[str]:
    vault = vault_of(scratch)
    return [one.key.id for one in checked if one.verified and is_restorable(one.key.versions, vault)]


def _progress(job: Job, walk: DrillWalk, checked: Iterable[Checked], began: float, done_before: int) -> Progress:
    progress, done = job.progress, job.progress.done + sum(1 for _ in checked)
    for error in (one.error for one in checked if one.error is not None):
        progress = with_error(progress, error)
    rate = round((done - done_before) / max(monotonic() - began, 0.001), 1)
    return replace(progress, phase="verifying", done=done, rate=rate, counts=dict(walk.counts))


def _last(job: Job) -> LastDrill:
    counts = job.progress.counts
    told = {name: counts.get(name, 0) for name in ("opened", "verified", "restored", "failed", "missing")}
    position = job.checkpoint.get("position", "")
    return LastDrill(job.id, job.status.value, job.ended_on or job.requested_on, position=position, **told)
