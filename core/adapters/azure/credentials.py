"""How a connection signs in: the four kinds of credential as azure-identity clients.

Invariants: a secret lives in the SDK's client only; the app's own identity is asked through the platform's endpoint,
never through a connection's proxy; tokens are asked for one at a time, so that a burst of calls makes one sign-in.

On App Service a user-assigned managed identity can stand as federated credential of an application ('Configure an
application to trust a managed identity'); elsewhere the platform writes assertions to AZURE_FEDERATED_TOKEN_FILE.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity import CredentialUnavailableError
from azure.identity.aio import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
)

from core.adapters.azure.retries import BoundedRetryPolicy
from core.domain.clouds import CloudName
from core.domain.connections import Credential, CredentialKind, OpenConnection
from core.errors import IntegrityError

_EXCHANGE_AUDIENCES: Mapping[CloudName, str] = MappingProxyType(
    {
        CloudName.USGOV: "api://AzureADTokenExchangeUSGov",
        CloudName.CHINA: "api://AzureADTokenExchangeChina",
    }
)
_EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"


@dataclass(frozen=True, slots=True)
class AppIdentity:
    """The app's own identity: its client id if user-assigned, and where the platform writes federated tokens, if so."""

    client_id: str | None = None
    federated_token_file: Path | None = None


class TokenSource(Protocol):
    """What of a credential the SDK's clients use."""

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token for the scopes."""

    async def close(self) -> None:
        """Let go of what the credential holds."""


class QueuedCredential:
    """Asks for one token at a time: whoever waited finds it in the credential's cache."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._turn = asyncio.Lock()

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token for the scopes; the SDK's sign-in errors."""
        async with self._turn:
            return await self._source.get_token_info(*scopes, options=options)

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: object,
    ) -> AccessToken:
        """Return a token in the older form, which the SDK's protocol still names."""
        options: TokenRequestOptions = {"enable_cae": enable_cae}
        if claims is not None:
            options["claims"] = claims
        if tenant_id is not None:
            options["tenant_id"] = tenant_id
        token = await self.get_token_info(*scopes, options=options)
        return AccessToken(token.token, token.expires_on)

    async def close(self) -> None:
        """Close the credential; shared sessions stay open."""
        await self._source.close()

    async def __aenter__(self) -> Self:
        """Enter; the credential is open from the start."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close the credential."""
        await self.close()


class PlatformIdentity:
    """The app's own managed identity; whatever goes wrong with it, it is the identity that is not available."""

    def __init__(self, client_id: str | None, direct: AioHttpTransport) -> None:
        self._source = ManagedIdentityCredential(
            client_id=client_id, transport=direct, retry_policy_class=BoundedRetryPolicy
        )

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token of the identity; CredentialUnavailableError."""
        try:
            token: AccessTokenInfo = await self._source.get_token_info(*scopes, options=options)
        except AzureError as error:
            raise CredentialUnavailableError(message="The managed identity gave no token.") from error
        return token

    async def close(self) -> None:
        """Close the identity's client."""
        await self._source.close()


class FederatedCredential:
    """Signs in as an application with a token of the platform as assertion."""

    def __init__(
        self,
        tenant_id: str,
        client_id: str,
        assertions: TokenSource,
        audience: str,
        **options: Any,  # noqa: ANN401 - the SDK's options
    ) -> None:
        self._assertions = assertions
        self._scope = f"{audience}/.default"
        self._assertion = ""
        self._application = ClientAssertionCredential(tenant_id, client_id, lambda: self._assertion, **options)

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token of the application."""
        # The SDK asks for the assertion synchronously, so it is renewed first; the identity's client caches it.
        self._assertion = (await self._assertions.get_token_info(self._scope)).token
        return await self._application.get_token_info(*scopes, options=options or {})

    async def close(self) -> None:
        """Close both ends."""
        await self._application.close()
        await self._assertions.close()


def open_credential(
    connection: OpenConnection, identity: AppIdentity, shared: AioHttpTransport, direct: AioHttpTransport
) -> QueuedCredential:
    """Return the credential of a connection, signing in through `shared`; the app's own identity through `direct`.

    Raises ValueError if a certificate or tenant id has no usable form.
    """
    cloud, credential = connection.connection.cloud, connection.connection.credential
    options: dict[str, Any] = {
        "authority": cloud.authority,
        "disable_instance_discovery": not cloud.discover_instance,
        "transport": shared,
        "retry_policy_class": BoundedRetryPolicy,
    }
    match credential.kind:
        case CredentialKind.CLIENT_SECRET:
            source: TokenSource = ClientSecretCredential(*_application(credential), _secret(connection), **options)
        case CredentialKind.CLIENT_CERTIFICATE:
            content = _secret(connection).encode()
            source = CertificateCredential(*_application(credential), certificate_data=content, **options)
        case CredentialKind.MANAGED_IDENTITY:
            source = PlatformIdentity(credential.client_id or identity.client_id, direct)
        case CredentialKind.WORKLOAD_IDENTITY:
            source = _federated(connection, identity, direct, options)
    return QueuedCredential(source)


def _federated(
    connection: OpenConnection, identity: AppIdentity, direct: AioHttpTransport, options: dict[str, Any]
) -> TokenSource:
    application = _application(connection.connection.credential)
    if identity.federated_token_file is not None:
        return ClientAssertionCredential(*application, identity.federated_token_file.read_text, **options)
    audience = _EXCHANGE_AUDIENCES.get(connection.connection.cloud.name, _EXCHANGE_AUDIENCE)
    return FederatedCredential(*application, PlatformIdentity(identity.client_id, direct), audience, **options)


def _application(credential: Credential) -> tuple[str, str]:
    if credential.tenant_id is None or credential.client_id is None:
        raise IntegrityError("A stored credential lacks its tenant or client.")
    return credential.tenant_id, credential.client_id


def _secret(connection: OpenConnection) -> str:
    if connection.credential_secret is None:
        raise IntegrityError("A stored credential lacks its secret.")
    return connection.credential_secret.reveal()
