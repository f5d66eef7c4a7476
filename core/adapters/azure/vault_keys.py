"""The keys of one vault, read through the SDK's key client.

Requests go out by `KeyClient.send_request`: authentication, retries and transport are the SDK's, while answers are read
by `key_answers`, which refuses what the SDK's models would paper over and costs half their time.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from azure.core.exceptions import DecodeError
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.keyvault.keys.aio import KeyClient

from core.adapters.azure import key_answers
from core.adapters.azure.failures import CALL_ERRORS, failure_of, refusal_of
from core.adapters.azure.rate_limit import VaultPacer, paced, retry_after
from core.adapters.azure.refusals import inner_code
from core.adapters.azure.retries import REPEATABLE
from core.adapters.azure.spans import vault_call
from core.domain.connections import VaultFacts
from core.domain.keys import KeyVersion
from core.domain.observed import KeyPage, ListedKey, ListedVersion
from core.domain.rate_limits import VaultOperation, weight_of
from core.domain.secrets import SecretBytes
from core.errors import NotFoundError, VaultAnswerError

_PAGE = "maxresults=25"
_OK, _NOT_FOUND = 200, 404
_REMEMBERED_WEIGHTS = 4_096


class AzureVaultKeys:
    """`ports.VaultKeys` of one vault or managed HSM."""

    def __init__(self, client: KeyClient, vault: VaultFacts, pacer: VaultPacer) -> None:
        self._client = client
        self._vault = vault
        self._pacer = pacer
        self._weights: OrderedDict[str, int] = OrderedDict()

    def list_keys(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        """Yield pages of live keys from `token` on."""
        return self._pages("/keys", token, key_answers.key_page)

    def list_deleted(self, token: str | None = None) -> AsyncIterator[KeyPage]:
        """Yield pages of soft-deleted keys from `token` on."""
        return self._pages("/deletedkeys", token, key_answers.deleted_page)

    async def list_versions(self, name: str) -> tuple[ListedVersion, ...]:
        """Return all versions in the vault's order."""
        found: list[ListedVersion] = []
        token: str | None = None
        while True:
            content = await self._call(
                VaultOperation.LIST, "GET", f"/keys/{quote(name, safe='')}/versions?{token or _PAGE}"
            )
            versions, following = key_answers.version_page(content)
            found += versions
            if following is None:
                break
            token = _advanced(token, following)
        if not found:
            raise _key_not_found()
        return tuple(found)

    async def get_version(self, name: str, version: str | None) -> tuple[ListedKey, KeyVersion]:
        """Return one version, or the current one."""
        path = f"/keys/{quote(name, safe='')}/{quote(version or '', safe='')}"
        return await self._get(name, path)

    async def get_deleted(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Return a soft-deleted key with its newest version."""
        return await self._get(name, f"/deletedkeys/{quote(name, safe='')}")

    async def back_up(self, name: str) -> SecretBytes:
        """Return the backup blob; VaultAnswerError `backup_refused` if the vault makes none of this key."""
        path = f"/keys/{quote(name, safe='')}/backup"
        return key_answers.backup_blob(await self._call(VaultOperation.BACK_UP, "POST", path, self._weight(name)))

    async def _get(self, name: str, path: str) -> tuple[ListedKey, KeyVersion]:
        expected = self._weight(name)
        listed, version = key_answers.key_bundle(await self._call(VaultOperation.GET, "GET", path, expected))
        # Neither list nor name tells a key's type; what it cost beyond the expectation is known only now.
        weight = weight_of(self._vault.type, version.type, version.size)
        self._pacer.charge(VaultOperation.GET, weight - expected)
        self._remember(name, weight)
        return listed, version

    async def _pages(
        self, path: str, token: str | None, read: Callable[[bytes, str | None], KeyPage]
    ) -> AsyncIterator[KeyPage]:
        while True:
            page = read(await self._call(VaultOperation.LIST, "GET", f"{path}?{token or _PAGE}"), token)
            if page.next_token is not None:
                token = _advanced(token, page.next_token)
            yield page
            if page.next_token is None:
                return

    async def _call(self, operation: VaultOperation, method: str, path: str, cost: int = 1) -> bytes:
        with vault_call(self._vault.uri, operation):
            try:
                response = await self._client.send_request(
                    HttpRequest(method, path), **paced(operation, cost), **REPEATABLE
                )
            except DecodeError:
                raise key_answers.not_json() from None
            except CALL_ERRORS as error:
                raise failure_of(error).error() from None
            return _content(response, operation)

    def _weight(self, name: str) -> int:
        return self._weights.get(name, 1)

    def _remember(self, name: str, weight: int) -> None:
        if weight > 1:
            self._weights[name] = weight
            if len(self._weights) > _REMEMBERED_WEIGHTS:
                self._weights.popitem(last=False)


def _content(response: AsyncHttpResponse, operation: VaultOperation) -> bytes:
    status = response.status_code
    if status == _OK:
        return response.content
    if status == _NOT_FOUND:
        raise _key_not_found()
    failure = refusal_of(status, inner_code(response), retry_after(response.headers))
    if failure is not None:
        raise failure.error()
    code = "backup_refused" if operation is VaultOperation.BACK_UP else None
    raise VaultAnswerError(f"The vault refuses the operation '{operation}' with status {status}.", code=code)


def _key_not_found() -> NotFoundError:
    return NotFoundError("The vault has no such key or version.", code="key_not_found")


def _advanced(token: str | None, following: str) -> str:
    if following == token:
        raise VaultAnswerError("The vault's list leads back to the same page.", code="vault_answer_malformed")
    return following
