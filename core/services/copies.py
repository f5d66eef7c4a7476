"""Orders copies of a source key: everything that can be refused is refused at once, then a job makes the copies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.domain.callers import Actor
from core.domain.copies import CopyOrder, CopyTarget, inherited
from core.domain.groups import Group, GroupKind, require_kind
from core.domain.identifiers import IdKind, derived_id
from core.domain.jobs import Job, JobKind, JobStatus, TargetResult
from core.domain.key_kinds import KeyKind
from core.domain.key_names import azure_form, checked_azure_name, checked_name, folded, is_chosen, synced_name
from core.domain.key_settings import checked_tags, checked_validity, in_source_group
from core.domain.keys import Validity
from core.domain.new_keys import KeyNames, KeySettings, NewKey
from core.domain.source_keys import SourceKey, SourceVersion, require_use
from core.errors import AlreadyExistsError, ConflictError, InvalidRequestError, KeystewardError
from core.ports import Clock
from core.services.display_names import DisplayNames
from core.services.jobs import Jobs
from core.services.new_keys import plan
from core.services.source_keys import SourceKeys, SourceUse

TARGETS_LIMIT = 200


@dataclass(frozen=True, slots=True)
class WantedCopy:
    """A copy as somebody wants it; names and settings that are not given follow from the source key."""

    group: Group
    names: KeyNames
    settings: KeySettings


class Copies:
    """Starts copy jobs. Permissions of callers are decided before anything here is called."""

    def __init__(self, sources: SourceKeys, names: DisplayNames, jobs: Jobs, clock: Clock) -> None:
        self._sources = sources
        self._names = names
        self._jobs = jobs
        self._clock = clock

    async def start(
        self, request: str, account: str, use: SourceUse, wanted: Sequence[WantedCopy], actor: Actor
    ) -> Job:
        """Start a job that copies a version of a source key to each of the groups, or return the one of this request.

        Raises NotFoundError (`key_not_found`, `key_version_not_found`), ConflictError (`key_permission_missing`,
        `key_not_active`, `key_display_name_taken`, `vault_not_selected`), PolicyViolationError `key_not_allowed`, and
        InvalidRequestError, each with the number of the target in its field.
        """
        id_ = derived_id(IdKind.JOB, account, request)
        earlier = await self._jobs.find(account, id_)
        if earlier is not None:
            return await self._launched(earlier)
        key = (await self._sources.get(account, use.group, use.key)).value
        version = key.version(use.version)
        require_use(key, version, "export", self._clock.now())
        targets = await self._targets(id_, key, version, wanted, actor)
        order = CopyOrder(key.group, key.id, version.number, tuple(targets))
        options = {"key": key.id, "version": str(version.number)}
        draft = self._jobs.draft(JobKind.COPY, account, key.group, actor, options)
        results = tuple(TargetResult(target.group, target.name) for target in targets)
        progress = replace(draft.progress, total=len(targets))
        job = replace(draft, id=id_, order=order, results=results, progress=progress)
        await self._reserve(account, targets)
        try:
            await self._jobs.prepare(job)
        except AlreadyExistsError:
            return await self._launched((await self._jobs.get(account, id_)).value)
        await self._jobs.launch(job)
        return job

    async def _launched(self, job: Job) -> Job:
        """Launch a job that a crash may have kept from it; one that has its message does nothing for a second one."""
        if job.status is JobStatus.QUEUED:
            await self._jobs.launch(job)
        return job

    async def suggested_name(self, account: str, key: SourceKey) -> str:
        """Return the name that the next copy gets if nobody gives one."""
        return await self._names.suggest(account, key.name, first=len(key.copies) + 1)

    async def _reserve(self, account: str, targets: Sequence[CopyTarget]) -> None:
        """Reserve the names of all copies, or of none."""
        for number, target in enumerate(targets):
            if not is_chosen(target.name):
                continue
            try:
                await self._names.reserve(account, target.name, target.request, f"targets.{number}.name")
            except ConflictError:
                for held in filter(lambda one: is_chosen(one.name), targets[:number]):
                    await self._names.release(account, held.name, held.request)
                raise

    async def _targets(
        self, job: str, key: SourceKey, version: SourceVersion, wanted: Sequence[WantedCopy], actor: Actor
    ) -> list[CopyTarget]:
        if not 1 <= len(wanted) <= TARGETS_LIMIT:
            detail = f"A key is copied to 1 to {TARGETS_LIMIT} targets at once."
            raise InvalidRequestError(detail, code="invalid_field", field="targets")
        taken: set[str] = set()
        places: set[tuple[str, str]] = set()
        targets = []
        for number, copy in enumerate(wanted):
            request = derived_id(IdKind.INTENT, job, str(number))
            try:
                name, azure_name = await self._named(key, copy, taken, request)
                place = (copy.group.id, (azure_name or name).lower())
                if folded(name) in taken or place in places:
                    detail = "Two of the copies would have the same name."
                    raise ConflictError(detail, code="key_display_name_taken", field="name")
                target = CopyTarget(
                    request=request,
                    group=copy.group.id,
                    name=name,
                    azure_name=azure_name,
                    settings=inherited(copy.settings, key, version, copy.group),
                    reuse_purged=copy.names.reuse_purged,
                )
                self._check(target, key.kind, copy.group, actor)
            except KeystewardError as error:
                error.field = f"targets.{number}.{error.field}" if error.field else f"targets.{number}"
                raise
            taken.add(folded(name))
            places.add(place)
            targets.append(target)
        return targets

    async def _named(self, key: SourceKey, copy: WantedCopy, taken: set[str], request: str) -> tuple[str, str | None]:
        """Return display name and, in a vault, Azure name: those given, or the suggested ones."""
        account, given = key.account, copy.names
        if given.name is None and given.azure_name is not None and copy.group.kind is GroupKind.AZURE:
            azure_name = checked_azure_name(given.azure_name)
            return synced_name(copy.group.key_label, azure_name), azure_name
        if given.name is None:
            first = len(key.copies) + 1
            name = await self._names.suggest(account, key.name, first=first, taken=taken, holder=request)
        else:
            name = checked_name(given.name)
        if copy.group.kind is GroupKind.SOURCE:
            if given.azure_name is not None:
                detail = "A source key has no Azure name."
                raise InvalidRequestError(detail, code="field_for_other_kind", field="azure_name")
            return name, None
        return name, checked_azure_name(given.azure_name) if given.azure_name else azure_form(name)

    def _check(self, target: CopyTarget, kind: KeyKind, group: Group, actor: Actor) -> None:
        """Refuse what the target does not take."""
        if group.kind is GroupKind.AZURE:
            plan(new_key(target, group, actor), kind, self._clock.now())
            return
        require_kind(group, GroupKind.SOURCE)
        in_source_group(kind, target.settings)
        checked_validity(target.settings.validity or Validity(), self._clock.now())
        checked_tags(target.settings.tags or ())


def new_key(target: CopyTarget, group: Group, actor: Actor) -> NewKey:
    """Return a copy as the key that it is going to be."""
    names = KeyNames(target.name if is_chosen(target.name) else None, target.azure_name, target.reuse_purged)
    return NewKey(target.request, group, names, target.settings, actor)
