"""The sealing key in the platform vault, through the vendor's SDK.

Invariants: the private half is used by the vault only; wrapping is done in the process with the public half; only the
configured vault and key are ever asked, whatever a stored key id says of its host: after a vault is restored
elsewhere, versions are the same and the host is another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import CredentialUnavailableError
from azure.keyvault.keys import KeyVaultKeyIdentifier
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import KeyWrapAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient

from core.adapters.azure.failures import CALL_ERRORS
from core.adapters.azure.retries import REPEATABLE, BoundedRetryPolicy
from core.adapters.azure.transports import transport
from core.domain.clouds import Cloud
from core.domain.data_keys import data_key_unavailable
from core.domain.secrets import SecretBytes
from core.errors import KeystewardError, VaultAnswerError, VaultDeniedError, VaultUnavailableError
from core.ports import Clock
from core.timed_cache import TimedCache

_ALGORITHM = KeyWrapAlgorithm.rsa_oaep_256
# Public keys of versions do not change; the time only bounds what a process holds.
_VERSION_LIFETIME = timedelta(hours=1)
_VERSION_LIMIT = 64
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _TOO_MANY, _SERVER_ERROR = 400, 401, 403, 429, 500


def open_sealing_key(
    key_id: str, cloud: Cloud, credential: AsyncTokenCredential, session: aiohttp.ClientSession, clock: Clock
) -> "VaultSealingKey":
    """Return the sealing key with this id (without a version); `session` stays its owner's."""
    named = KeyVaultKeyIdentifier(key_id)
    client = KeyClient(
        named.vault_url,
        credential,
        verify_challenge_resource=cloud.verify_challenge_resource,
        transport=transport(session),
        retry_policy=BoundedRetryPolicy(),
    )
    return VaultSealingKey(client, named.name, clock)


class VaultSealingKey:
    """One RSA key of the vault that `client` speaks to; `name` is the key's name there."""

    def __init__(self, client: KeyClient, name: str, clock: Clock) -> None:
        self._client = client
        self._name = name
        self._versions: TimedCache[str, CryptographyClient] = TimedCache(clock, _VERSION_LIFETIME, _VERSION_LIMIT)

    async def newest(self) -> str:
        """Return the key id of the newest version."""
        with _translated():
            return _key_id((await self._client.get_key(self._name)).id)

    async def rotate(self) -> str:
        """Make a new version of the same kind and return its key id."""
        with _translated():
            return _key_id((await self._client.rotate_key(self._name)).id)

    async def wrap(self, sealing_key: str, key_to_wrap: SecretBytes) -> bytes:
        """Wrap under the version `sealing_key`."""
        version = await self._version(sealing_key)
        with _translated():
            return (await version.wrap_key(_ALGORITHM, key_to_wrap.reveal(), **REPEATABLE)).encrypted_key

    async def unwrap(self, sealing_key: str, wrapped_key: bytes) -> SecretBytes:
        """Unwrap with the version `sealing_key`; IntegrityError `data_key_unavailable` where the vault finds it bad."""
        version = await self._version(sealing_key)
        try:
            with _translated():
                return SecretBytes((await version.unwrap_key(_ALGORITHM, wrapped_key, **REPEATABLE)).key)
        except _BadRequestError as error:
            raise data_key_unavailable() from error

    async def _version(self, sealing_key: str) -> CryptographyClient:
        return await self._versions.get(sealing_key, lambda: self._open(sealing_key))

    async def _open(self, sealing_key: str) -> CryptographyClient:
        try:
            named = KeyVaultKeyIdentifier(sealing_key)
        except ValueError as error:
            raise data_key_unavailable() from error
        if named.name != self._name or not named.version:
            raise data_key_unavailable()
        return self._client.get_cryptography_client(self._name, key_version=named.version)


class _BadRequestError(VaultAnswerError):
    """The vault refused the content of a request, which on unwrapping means that the wrapped key is not whole."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except CALL_ERRORS as error:
        raise _family(error) from error


def _family(error: Exception) -> KeystewardError:
    if isinstance(error, CredentialUnavailableError):
        return _unavailable()
    # The SDK raises ValueError before calling, for a version outside its dates.
    if isinstance(error, ValueError):
        return _unusable()
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if isinstance(error, ClientAuthenticationError) or status in {_UNAUTHORIZED, _FORBIDDEN}:
        return VaultDeniedError(
            "The platform vault refused this app's identity the use of the sealing key.", code="sealing_key_denied"
        )
    if status is None or status == _TOO_MANY or status >= _SERVER_ERROR:
        return _unavailable()
    if status == _BAD_REQUEST:
        return _BadRequestError("The platform vault refused a request of the sealing key.", code="sealing_key_unusable")
    return _unusable()


def _unavailable() -> VaultUnavailableError:
    return VaultUnavailableError(
        "The platform vault cannot be reached, throttles or fails.", code="sealing_key_unavailable"
    )


def _unusable() -> VaultAnswerError:
    return VaultAnswerError(
        "The sealing key, or the version of it that is needed, is missing, disabled or outside its dates.",
        code="sealing_key_unusable",
    )


def _key_id(id_: str | None) -> str:
    if id_ is None:
        raise _unusable()
    return id_
