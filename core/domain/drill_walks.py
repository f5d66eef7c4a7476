"""How far a drill has come along its group's keys, and what it has found: what its job needs to go on after a crash.

Invariant: a walk passes every position once, from behind its start to the end and then from the beginning up to it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from core.domain.drills import chosen

WALKING, RESTORING = "walking", "restoring"


@dataclass(frozen=True, slots=True)
class DrillWalk:
    """One walk; `position` was looked at last, `left` is how many keys may be looked at yet (None: all)."""

    start: str = ""
    position: str = ""
    wrapped: bool = False
    left: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether no key may be looked at any more."""
        return self.left == 0

    def share[Item](self, items: Iterable[tuple[str, Item]], *, wrapped: bool) -> list[tuple[str, Item]]:
        """Return those of `items` (position and key, in order) at which this walk looks next."""
        inside = [item for item in items if not wrapped or item[0] <= self.start]
        return inside if self.left is None else inside[: self.left]

    def moved(self, position: str, looked_at: int, counts: Mapping[str, int], *, wrapped: bool) -> "DrillWalk":
        """Return the walk further on."""
        left = None if self.left is None else self.left - looked_at
        total = Counter(self.counts) + Counter(counts)
        return replace(self, position=position, wrapped=wrapped, left=left, counts=total)

    def with_candidates(self, job: str, keys: Iterable[str], count: int) -> "DrillWalk":
        """Return the walk with those keys that are to be restored, of all seen so far."""
        return replace(self, candidates=chosen(job, {*self.candidates, *keys}, count))

    def checkpoint(self, phase: str) -> dict[str, str]:
        """Return it for the job's record."""
        left = {} if self.left is None else {"left": str(self.left)}
        return {
            "phase": phase,
            "start": self.start,
            "position": self.position,
            "wrapped": "true" if self.wrapped else "",
            "counts": json.dumps(self.counts),
            "candidates": " ".join(self.candidates),
            **left,
        }

    @classmethod
    def of(cls, checkpoint: Mapping[str, str]) -> "DrillWalk":
        """Read what `checkpoint` returned."""
        left = checkpoint.get("left")
        return cls(
            start=checkpoint["start"],
            position=checkpoint["position"],
            wrapped=bool(checkpoint["wrapped"]),
            left=int(left) if left is not None else None,
            counts=json.loads(checkpoint["counts"]),
            candidates=tuple(checkpoint["candidates"].split()),
        )
