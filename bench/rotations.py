"""Rotation of a source key with many copies, beside one after the other; and the timer's tick at many schedules."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueServiceClient

from bench.api import Json
from bench.figures import Bound, Figure
from bench.stage import Stage, direct_session
from bench.timing import milliseconds
from core.adapters.azure.transports import transport
from core.adapters.queues import WorkQueue
from core.adapters.tables import TableCollection
from core.adapters.tree_nodes import TableNodeStore
from core.adapters.trees import TreeIndex
from core.domain.callers import Actor, ActorKind
from core.domain.identifiers import IdKind, new_id
from core.domain.jobs import Job
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import PublicKey, Validity, VirtualKey
from core.domain.rotation_schedules import KeySchedule, RotationSchedule, Trigger
from core.domain.source_keys import MaterialOrigin, SourceKey, SourceVersion
from core.services.due_keys import ROTATIONS, entry_of
from core.services.due_times import position
from core.services.findings import Findings
from core.services.jobs import Jobs
from core.services.key_records import KeyRecords
from core.services.rotation_jobs import RotationJobs
from core.services.rotation_schedules import RotationSchedules
from core.services.source_records import SourceRecords
from local.emulator import seeds
from local.stack import IdentityCredential

_ENDED = frozenset({"succeeded", "failed", "cancelled"})
_PERMISSIONS = ["get", "list", "backup", "create", "import", "update"]
_SINGLE = 5
_BATCH = 5_000
_BENCH = Actor(ActorKind.TIMER, "bench", "bench")
_UNUSED: Any = None


async def rotations(
    stage: Stage, *, copies: int = 200, groups: int = 20, latency_ms: int = 100, policies: int = 100_000
) -> list[Figure]:
    """Rotate a source key with all its copies, and let the timer tick at few and at many schedules."""
    return [
        await _linked(stage, copies, groups, latency_ms),
        await _ticks(stage, small=max(1, policies // 100), large=policies),
    ]


async def _linked(stage: Stage, copies: int, groups: int, latency_ms: int) -> Figure:
    account = f"accounts/{await stage.account('Rotation')}"
    source = (await stage.api.post(f"{account}/groups", {"kind": "source", "title": "Sources"}))["id"]
    sources = f"{account}/groups/{source}/keys"
    targets = [{"group": await _vault_group(stage, account)} for _ in range(groups)]
    single, linked = [await stage.api.post(sources, _source_key(name)) for name in ("single", "linked")]
    others = [await stage.api.post(sources, _source_key(f"other-{number}")) for number in range(_SINGLE)]
    path = f"{sources}/{linked['id']}"
    await _ended(stage, account, await stage.api.post(f"{path}/copies", {"targets": targets * (copies // groups)}))
    alone_path = f"{sources}/{single['id']}/copies"
    await _ended(stage, account, await stage.api.post(alone_path, {"targets": targets[:_SINGLE]}))
    singles = (await stage.api.get(alone_path))["items"]
    await stage.set_latency(latency_ms)
    started = perf_counter()
    for copy, other in zip(singles, others, strict=True):
        body = {"source": {"group": source, "key": other["id"]}}
        await stage.api.post(f"{account}/groups/{copy['group']}/keys/{copy['key']}/rotate", body)
    alone = (perf_counter() - started) / _SINGLE
    began = datetime.now(UTC)
    job = await _ended(stage, account, await stage.api.post(f"{path}/rotate", {"copies": "all"}))
    await stage.set_latency(0)
    done = sum(result["status"] == "done" for result in job["results"])
    if done != copies:
        raise RuntimeError(f"{done} of {copies} copies were rotated: {job['progress']['errors']}")
    together = (datetime.fromisoformat(job["ended_on"]) - began).total_seconds()
    return Figure(
        f"Rotation of a source key with {copies} copies in {groups} vaults, to one copy after the other",
        Bound.AT_LEAST,
        5,
        alone * copies / together,
        "x faster",
        f"{together:.1f} s at {latency_ms} ms a vault call, from request to end of job; {alone * 1_000:.0f} ms a copy "
        f"by itself (measured on {_SINGLE}, scaled to {copies})",
    )


def _source_key(name: str) -> Json:
    return {"name": name, "type": "EC", "curve": "P-256", "permissions": ["export", "sign", "verify"]}


async def _vault_group(stage: Stage, account: str) -> str:
    application = await stage.control.post("principals", {"display_name": "keysteward", "kind": "application"})
    granted = {"object_id": application["object_id"], "keys": _PERMISSIONS}
    vault = await stage.control.post("vaults", {"name": f"b-{secrets.token_hex(6)}", "access_policies": [granted]})
    connection = {
        "cloud": json.loads(stage.stack.app_settings["KEYSTEWARD_CLOUD"]),
        "tenant_id": seeds.CONTOSO_TENANT_ID,
        "client_id": application["client_id"],
        "subscription_id": seeds.SUBSCRIPTION_ID,
        "credential": {"kind": "client_secret", "secret": application["secret"]},
    }
    draft = {"kind": "azure", "title": "Bench", "connection": connection, "vault": vault["resource_id"]}
    return str((await stage.api.post(f"{account}/groups", draft))["id"])


async def _ended(stage: Stage, account: str, job: Json) -> Json:
    while job["status"] not in _ENDED:
        await asyncio.sleep(0.25)
        job = await stage.api.get(f"{account}/jobs/{job['id']}")
    return job


async def _ticks(stage: Stage, *, small: int, large: int, due: int = 10, rounds: int = 30) -> Figure:
    """Compare ticks with as many keys due, by turns: the product's service over the stack's storage, in this process.

    The two sets of schedules lie in tables of their own, which the stack's own timer does not know of.
    """
    settings = stage.stack.app_settings
    credential: Any = IdentityCredential(stage.stack.endpoints)
    async with (
        direct_session(stage.stack) as session,
        TableServiceClient(
            settings["AzureWebJobsStorage__tableServiceUri"], credential=credential, transport=transport(session)
        ) as tables,
        QueueServiceClient(
            settings["AzureWebJobsStorage__queueServiceUri"], credential, transport=transport(session)
        ) as queues,
    ):
        sides = [_Side(tables, queues, size) for size in (small, large)]
        for side in sides:
            await side.fill(due, rounds)
        taken: dict[int, list[float]] = {side.size: [] for side in sides}
        for number in range(rounds):
            for side in sides:
                taken[side.size].append(await side.tick(number, due))
    low, high = (sorted(taken[size])[rounds // 2] for size in (small, large))
    return Figure(
        f"Timer tick with {due} due, at {large:,} schedules to at {small:,}",
        Bound.AT_MOST,
        1.5,
        high / low,
        "x",
        f"p50 {milliseconds(high)} and {milliseconds(low)}, {rounds} ticks each, by turns",
    )


class _MovedClock:
    """A clock that shows what it is set to."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def now(self) -> datetime:
        return self.time


class _Side:
    """Some schedules, and the product's timer over them."""

    def __init__(self, tables: TableServiceClient, queues: QueueServiceClient, size: int) -> None:
        self.size = size
        self._tables = tables
        self._queue = queues.get_queue_client(f"bench{size}")
        self._start = datetime(2026, 1, 1, tzinfo=UTC)
        self._clock = _MovedClock(self._start)
        self._names = {name: f"bench{name}{size}" for name in ("trees", "keys", "sources", "jobs")}
        self._index = TreeIndex(TableNodeStore(self._table("trees")))
        findings = Findings(self._index, self._clock)
        self._rows = TableCollection(self._table("sources"), SourceKey)
        records = KeyRecords(TableCollection(self._table("keys"), VirtualKey), self._index, findings)
        sources = SourceRecords(self._rows, self._index, self._clock)
        jobs = Jobs(
            TableCollection(self._table("jobs"), Job), self._index, WorkQueue(self._queue), self._clock, works={}
        )
        self._schedules = RotationSchedules(
            _UNUSED,
            self._index,
            RotationJobs(_UNUSED, jobs, self._clock),
            records=records,
            sources=sources,
            clock=self._clock,
        )

    async def fill(self, due: int, rounds: int) -> None:
        """Write the schedules that are not due as entries of the tree, and those that come due as keys, too."""
        for name in self._names.values():
            await self._tables.create_table(name)
        await self._queue.create_queue()
        far = {
            position(self._start + timedelta(days=365, seconds=number), f"key_{number:024}"): {"key": f"{number}"}
            for number in range(self.size - due * rounds)
        }
        entries = list(far.items())
        for start in range(0, len(entries), _BATCH):
            await self._index.apply(ROTATIONS, dict(entries[start : start + _BATCH]))
        for number in range(rounds):
            for key in self._keys(number, due):
                await self._rows.insert(key.group, key.id, key)
                await self._index.apply(ROTATIONS, {position(self._when(number), key.id): entry_of(key)})

    async def tick(self, number: int, due: int) -> float:
        """Let the time come at which the next keys are due, and return the seconds of the tick."""
        self._clock.time = self._when(number)
        started = perf_counter()
        ran = await self._schedules.start_due()
        seconds = perf_counter() - started
        if ran != due:
            raise RuntimeError(f"{ran} of {due} rotations were started")
        return seconds

    def _when(self, number: int) -> datetime:
        return self._start + timedelta(minutes=number + 1)

    def _keys(self, number: int, due: int) -> Iterator[SourceKey]:
        schedule = RotationSchedule(Trigger.EVERY_DAYS, 3_650, self._when(number).replace(tzinfo=None))
        for at in range(due):
            version = SourceVersion(
                1, "mat", self._start, _BENCH, MaterialOrigin.GENERATED, PublicKey(thumbprint="t"), Validity()
            )
            yield SourceKey(
                id=new_id(IdKind.KEY),
                account=f"acc_{'a' * 24}",
                group=f"grp_{'a' * 24}",
                name=f"key-{number:04}-{at:02}",
                kind=KeyKind(KeyFamily.EC, curve="P-256"),
                permissions=("export", "sign"),
                created_by=_BENCH,
                created_on=self._start,
                updated_on=self._start,
                versions=(version,),
                schedule=KeySchedule(schedule, _BENCH, self._start, self._when(number)),
            )

    def _table(self, name: str) -> Any:  # noqa: ANN401 - the SDK's client
        return self._tables.get_table_client(self._names[name])
