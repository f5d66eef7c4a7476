"""Syncs: started together, watched as jobs, their counts checked against what the vaults hold."""

import asyncio
from collections.abc import Sequence
from time import monotonic

from local.demo.client import Json, Keysteward
from local.demo.expect import UnexpectedError, expect
from local.demo.progress import ProgressBars
from local.demo.stage import Group, Stage

_SECONDS_BETWEEN_POLLS = 0.2
_LONGEST_SYNC = 60.0
_ENDED = frozenset({"succeeded", "failed", "cancelled"})
_COUNTS = ("discovered", "added", "updated", "unchanged", "soft_deleted", "purged", "escrowed", "failed")


async def sync(stage: Stage, caller: Keysteward, groups: Sequence[Group]) -> list[Json]:
    """Sync groups side by side, show their progress, and return the counts of each."""
    began = monotonic()
    jobs = [await caller.post(f"groups/{group.id}/sync", {"mode": "changes"}) for group in groups]
    with ProgressBars(stage.show, [group.title for group in groups]) as bars:
        while True:
            for group, job in zip(groups, jobs, strict=True):
                _draw(bars, group, job)
            if all(job["status"] in _ENDED for job in jobs):
                break
            if monotonic() - began > _LONGEST_SYNC:
                raise UnexpectedError(f"a sync did not end within {_LONGEST_SYNC:.0f} s")
            await asyncio.sleep(_SECONDS_BETWEEN_POLLS)
            jobs = [await _polled(caller, job) for job in jobs]
    for group, job in zip(groups, jobs, strict=True):
        _check_ended(group, job)
    return [job["progress"]["counts"] for job in jobs]


async def first_sync(stage: Stage, alice: Keysteward, groups: list[Group]) -> None:
    """Bring all keys under management, and escrow every one that can be backed up."""
    show = stage.show
    show.scene("The first sync brings every key under management, and escrows its backup")
    began = monotonic()
    counts = await sync(stage, alice, groups)
    seconds = monotonic() - began
    show_counts(stage, groups, counts)
    for group, found in zip(groups, counts, strict=True):
        seeded = group.vault.seeded
        wanted = {"added": seeded.total, "escrowed": seeded.live, "failed": 0}
        expect(f"counts of the sync of {group.title}", {name: found.get(name, 0) for name in wanted}, wanted)
        states = (await alice.get(f"groups/{group.id}", quiet=True))["counts"]
        found_states = {name: states[name.replace("-", "_")] for name in seeded.states}
        expect(f"keys of {group.title} by state", found_states, dict(seeded.states))
    total, live = (sum(getattr(g.vault.seeded, name) for g in groups) for name in ("total", "live"))
    stage.seen.append(("Keys under management", f"{total}, found within {seconds:.1f} s"))
    stage.seen.append(("Escrowed, read back and verified", f"{live} backups (a soft-deleted key cannot be backed up)"))


def show_counts(stage: Stage, groups: Sequence[Group], counts: list[Json]) -> None:
    """Print what syncs did."""
    named = [name for name in _COUNTS if any(found.get(name) for found in counts)]
    rows = [(g.title, *(found.get(name, 0) for name in named)) for g, found in zip(groups, counts, strict=True)]
    stage.show.table(("Group", *(name.replace("_", "-") for name in named)), rows)


async def _polled(caller: Keysteward, job: Json) -> Json:
    return job if job["status"] in _ENDED else await caller.get(f"jobs/{job['id']}", quiet=True)


def _draw(bars: ProgressBars, group: Group, job: Json) -> None:
    progress = job["progress"]
    ended = job["status"] in _ENDED
    bars.update(group.title, progress["done"], progress["total"], progress["rate"], ended=ended)


def _check_ended(group: Group, job: Json) -> None:
    errors = [f"{error['code']}: {error['detail']}" for error in job["progress"]["errors"]]
    expect(f"end of the sync of {group.title}", (job["status"], errors), ("succeeded", []))
