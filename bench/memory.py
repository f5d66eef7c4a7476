"""Memory of a first sync: the peak of the host's process, which holds nothing else, at two sizes of a vault."""

from pathlib import Path

from bench.figures import Bound, Figure
from bench.stage import Stage

_SMALL, _LARGE = 1_000, 20_000


async def peak_memory(stage: Stage) -> list[Figure]:
    """Sync 1,000 and 20,000 new keys, each in a fresh host."""
    small = await _peak(stage, _SMALL)
    large = await _peak(stage, _LARGE)
    note = f"{large:.0f} MiB and {small:.0f} MiB: VmHWM of a host that was started for the one sync"
    what = f"Peak memory of a first sync, {_LARGE:,} keys to {_SMALL:,}"
    return [Figure(what, Bound.AT_MOST, 1.2, large / small, "x", note)]


async def _peak(stage: Stage, keys: int) -> float:
    linked = await stage.linked(await stage.account(f"Memory of {keys} keys"), keys)
    await stage.stack.restart_host()
    await stage.sync(linked)
    return peak_of(stage.stack.host.part.pid)


def peak_of(pid: int) -> float:
    """Return the most resident memory that a process has had, in MiB; the kernel keeps count of it."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1_024
