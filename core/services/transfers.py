"""Key transfer blobs: made for download, checked, and imported.

Invariant: a blob is checked against the key exchange key as its vault shows it at that moment; what is wrong with it is
said before anything is sent to the vault.
"""

from dataclasses import dataclass, replace

from core.domain.callers import Actor
from core.domain.groups import Group, vault_of
from core.domain.key_kinds import KeyKind, Protection, check_kind, target_of
from core.domain.key_names import azure_form
from core.domain.keys import VirtualKey
from core.domain.new_keys import NewKey
from core.domain.transfer_blobs import (
    BlobProblem,
    KeyExchangeKey,
    TransferBlob,
    kid_parts,
    problems_of_form,
    problems_of_key_exchange_key,
    problems_of_target,
    read_transfer_blob,
    written,
)
from core.errors import InvalidRequestError
from core.material.transfer import make_transfer_blob
from core.ports import Clock, VaultKeys
from core.services.exchange_keys import ExchangeKeys, require_hardware
from core.services.group_vaults import GroupVaults
from core.services.new_keys import NewKeys
from core.services.source_keys import SourceKeys, SourceUse


@dataclass(frozen=True, slots=True)
class MadeBlob:
    """A transfer blob for download: its file name and content, and the key exchange key that it needs."""

    filename: str
    content: bytes
    kid: str


@dataclass(frozen=True, slots=True)
class CheckedBlob:
    """What a check found; usable exactly if there is no problem."""

    blob: TransferBlob | None
    problems: tuple[BlobProblem, ...]


class Transfers:
    """Makes, checks and imports transfer blobs. Permissions are decided before anything here is called."""

    def __init__(
        self, exchange_keys: ExchangeKeys, new_keys: NewKeys, sources: SourceKeys, vaults: GroupVaults, clock: Clock
    ) -> None:
        self._exchange_keys = exchange_keys
        self._new_keys = new_keys
        self._sources = sources
        self._vaults = vaults
        self._clock = clock

    async def make(self, group: Group, use: SourceUse, named: str | None, actor: Actor) -> MadeBlob:
        """Wrap a source key for the group's vault, under its key exchange key or the one `named` (a name or full id).

        Raises ConflictError (`vault_without_hsm`, `group_kind`, `vault_not_selected`), the errors of SourceKeys.opened,
        PolicyViolationError `key_not_allowed`, NotFoundError `key_exchange_key_not_found`, InvalidRequestError
        `key_exchange_key_unsuitable`.
        """
        require_hardware(group)
        key, version, material = await self._sources.opened(group.account, use, "export")
        with material:
            check_kind(target_of(vault_of(group).type, Protection.HSM), material.kind, group.key_policy)
            async with self._vaults.opened(group) as keys:
                exchange_key = await self._chosen(keys, group, named, actor)
            content = make_transfer_blob(exchange_key, material)
        detail = f"version {version.number}, for {exchange_key.kid}"
        await self._sources.note(group.account, use, "key.transfer_blob_made", actor, detail)
        return MadeBlob(f"{azure_form(key.name)}.byok", content, exchange_key.kid)

    async def check(self, group: Group, content: bytes, kind: KeyKind | None) -> CheckedBlob:
        """Say what is wrong with a blob for the group's vault, as a key of `kind` where that is given."""
        require_hardware(group)
        async with self._vaults.opened(group) as keys:
            return await self._checked(keys, group, content, kind)

    async def bring(self, new: NewKey, kind: KeyKind, content: bytes) -> VirtualKey:
        """Import a blob; InvalidRequestError `transfer_blob_refused` with its problems, and the errors of NewKeys."""
        require_hardware(new.group)
        if new.settings.protection is Protection.SOFTWARE:
            detail = "What comes in a transfer blob is protected by an HSM."
            raise InvalidRequestError(detail, code="field_for_other_kind", field="protection")
        new = replace(new, settings=replace(new.settings, protection=Protection.HSM))
        async with self._vaults.opened(new.group) as keys:
            checked = await self._checked(keys, new.group, content, kind)
            blob = checked.blob
            if blob is None or checked.problems:
                first = checked.problems[0]
                problems = [{"code": one.code, "detail": one.detail} for one in checked.problems]
                raise InvalidRequestError(
                    first.detail, code="transfer_blob_refused", field="blob", facts={"problems": problems}
                )
            # Whatever form it came in, the vault gets it as specified.
            file = written(blob.kid, blob.ciphertext, blob.generator)
            return await self._new_keys.bring_blob(keys, new, kind, file)

    async def _checked(self, keys: VaultKeys, group: Group, content: bytes, kind: KeyKind | None) -> CheckedBlob:
        try:
            blob = read_transfer_blob(content)
        except InvalidRequestError as error:
            return CheckedBlob(None, (BlobProblem(error.code, error.detail),))
        problems = problems_of_form(blob)
        if any(problem.code == "transfer_blob_kid" for problem in problems):
            return CheckedBlob(blob, problems)
        now = self._clock.now()
        uri = vault_of(group).uri
        _, name, version = kid_parts(blob.kid)
        found = await self._exchange_keys.shown(keys, group, name, version)
        problems += problems_of_key_exchange_key(blob, found, uri, now)
        # What is no RSA key has no modulus that the ciphertext's length could be compared with.
        if found is not None and found.n and kind is not None:
            problems += problems_of_target(blob, found.size, kind)
        return CheckedBlob(blob, problems)

    async def _chosen(self, keys: VaultKeys, group: Group, named: str | None, actor: Actor) -> KeyExchangeKey:
        if named is None:
            return await self._exchange_keys.current(keys, group, actor)
        return await self._exchange_keys.require(keys, group, named)
