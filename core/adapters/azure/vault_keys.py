"""The keys of one vault as `ports.VaultKeys`: reading them here, changing them in `vault_changes`."""

from collections.abc import AsyncIterator, Callable

from core.adapters.azure import key_answers, key_requests
from core.adapters.azure.key_requests import VaultRequest
from core.adapters.azure.refusals import key_not_found
from core.adapters.azure.vault_changes import VaultChanges
from core.domain.keys import KeyVersion
from core.domain.observed import KeyPage, ListedKey, ListedVersion
from core.domain.rate_limits import VaultOperation
from core.domain.secrets import SecretBytes
from core.errors import VaultAnswerError

_PAGE = "maxresults=25"


class AzureVaultKeys(VaultChanges):
    """`ports.VaultKeys` of one vault or managed HSM."""

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
        path = key_requests.versions_path(name)
        while True:
            request = key_requests.page(path, token or _PAGE)
            versions, following = await self._requests.send(request, key_answers.version_page)
            found += versions
            if following is None:
                break
            token = _advanced(token, following)
        if not found:
            raise key_not_found()
        return tuple(found)

    async def get_version(self, name: str, version: str | None) -> tuple[ListedKey, KeyVersion]:
        """Return one version, or the current one."""
        return await self._get(name, key_requests.get_version(name, version))

    async def get_deleted(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Return a soft-deleted key with its newest version."""
        return await self._get(name, key_requests.get_deleted(name))

    async def back_up(self, name: str) -> SecretBytes:
        """Return the backup blob; VaultAnswerError `backup_refused` if the vault makes none of this key."""
        return await self._requests.send(key_requests.back_up(name), key_answers.backup_blob, self._weight(name))

    async def _get(self, name: str, request: VaultRequest) -> tuple[ListedKey, KeyVersion]:
        expected = self._weight(name)
        listed, version = await self._requests.send(request, key_answers.key_bundle, expected)
        # Neither list nor name tells a key's type; what it cost beyond the expectation is known only now.
        self._requests.charge(VaultOperation.GET, self._remember(name, version) - expected)
        return listed, version

    async def _pages(
        self, path: str, token: str | None, read: Callable[[bytes, str | None], KeyPage]
    ) -> AsyncIterator[KeyPage]:
        while True:
            page = await self._requests.send(key_requests.page(path, token or _PAGE), _reading(read, token))
            if page.next_token is not None:
                token = _advanced(token, page.next_token)
            yield page
            if page.next_token is None:
                return


def _reading(read: Callable[[bytes, str | None], KeyPage], token: str | None) -> Callable[[bytes], KeyPage]:
    return lambda content: read(content, token)


def _advanced(token: str | None, following: str) -> str:
    if following == token:
        raise VaultAnswerError("The vault's list leads back to the same page.", code="vault_answer_malformed")
    return following
