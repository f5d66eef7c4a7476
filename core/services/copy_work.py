"""The work of a copy job. Both ends of a copy carry a link to the other, whichever try made it."""

from core.domain.copies import CopyOrder, CopyTarget, back_link, link_of
from core.domain.jobs import Job
from core.domain.source_keys import SourceKey
from core.errors import IntegrityError
from core.ports import Clock
from core.services.copies import new_key
from core.services.group_vaults import GroupVaults
from core.services.job_runs import Run
from core.services.new_keys import NewKeys
from core.services.source_keys import SourceKeys, SourceUse
from core.services.target_jobs import run_targets


class CopyWork:
    """Runs copy jobs."""

    def __init__(self, new_keys: NewKeys, sources: SourceKeys, vaults: GroupVaults, clock: Clock) -> None:
        self._new_keys = new_keys
        self._sources = sources
        self._vaults = vaults
        self._clock = clock

    async def run(self, run: Run) -> None:
        """Make the copies that are not settled yet; errors as for `run_targets`."""
        order = run.job.order
        if order is None:
            raise IntegrityError("A copy job says nothing of what to copy.")

        async def copy(number: int) -> tuple[str, str | None]:
            return await self._copy(run.job, order, order.targets[number]), None

        await run_targets(run, copy, "copies")

    async def ended(self, job: Job) -> None:
        """Do nothing: a copy job holds nothing that has to be given back."""

    async def _copy(self, job: Job, order: CopyOrder, target: CopyTarget) -> str:
        use = SourceUse(order.group, order.key, order.version)
        group = await self._vaults.group(job.account, target.group)
        source, version, material = await self._sources.opened(job.account, use, "export")
        link = link_of(source, version, job.requested_by, self._clock.now())
        with material:
            made = await self._new_keys.bring(new_key(target, group, job.requested_by), material, link)
        # A placement in a vault links both ends itself, also where this job ends before it does.
        if isinstance(made, SourceKey):
            # The time of the link is that of the first try, whichever try records it.
            copied = back_link(group, made.id, made.name, None, made.copied_from or link)
            await self._sources.link(job.account, use, copied)
        return made.id
