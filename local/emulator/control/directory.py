"""Tenants, subscriptions and principals in the control API."""

import base64
import binascii
import secrets
import uuid
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from local.emulator import seeds
from local.emulator.access_tokens import TOKEN_EXCHANGE
from local.emulator.client_assertions import WORKLOAD_ISSUER_PATH
from local.emulator.control.wire import (
    Body,
    ControlError,
    done,
    known_principal,
    known_subscription,
    known_tenant,
    read,
)
from local.emulator.tokens import LIFETIME_SECONDS
from local.emulator.world import (
    EVERYBODY,
    FederatedCredential,
    Principal,
    PrincipalKind,
    Secret,
    Subscription,
    Tenant,
    World,
)


class TenantBody(Body):
    """A tenant to make."""

    display_name: str
    domain: str | None = None
    id: uuid.UUID | None = None
    api_audiences: list[str] = Field(default_factory=list)


class SubscriptionBody(Body):
    """A subscription to make."""

    display_name: str
    id: uuid.UUID | None = None
    tenant_id: str = seeds.CONTOSO_TENANT_ID
    readers: set[str] = Field(default={EVERYBODY})


class SubscriptionPatch(Body):
    """What of a subscription changes."""

    readers: set[str]


class PrincipalBody(Body):
    """A principal to make; an application gets a client secret unless told otherwise."""

    display_name: str
    kind: PrincipalKind = "application"
    tenant_id: str = seeds.CONTOSO_TENANT_ID
    username: str | None = None
    password: str | None = None
    with_secret: bool = True
    secret_expires_on: float | None = None
    certificates: list[str] = Field(default_factory=list)
    federated: list[FederatedCredential] = Field(default_factory=list)


class PrincipalPatch(Body):
    """What of a principal changes; `None` leaves a member as it is."""

    display_name: str | None = None
    password: str | None = None
    certificates: list[str] | None = None
    federated: list[FederatedCredential] | None = None


class SecretBody(Body):
    """A client secret to add; `expires_on` in seconds since 1970."""

    value: str | None = None
    expires_on: float | None = None


class FederatedTokenBody(Body):
    """A token for the workload issuer to mint; `lifetime_seconds` may be negative to have an expired one."""

    subject: str
    audience: str = TOKEN_EXCHANGE
    lifetime_seconds: int = LIFETIME_SECONDS


class _Directory:
    def __init__(self, world: World) -> None:
        self._world = world

    async def add_tenant(self, request: web.Request) -> web.Response:
        body = await read(request, TenantBody)
        tenant_id = str(body.id or uuid.uuid4())
        domain = body.domain or f"{body.display_name.lower()}.example"
        self._world.tenants[tenant_id] = Tenant(tenant_id, body.display_name, domain.lower(), body.api_audiences)
        return web.json_response({"id": tenant_id, "domain": domain}, status=201)

    async def add_subscription(self, request: web.Request) -> web.Response:
        body = await read(request, SubscriptionBody)
        tenant = known_tenant(self._world, body.tenant_id)
        subscription = Subscription(str(body.id or uuid.uuid4()), tenant.id, body.display_name, body.readers)
        self._world.subscriptions[subscription.id] = subscription
        return web.json_response({"id": subscription.id}, status=201)

    async def change_subscription(self, request: web.Request) -> web.Response:
        body = await read(request, SubscriptionPatch)
        known_subscription(self._world, request.match_info["id"]).readers = body.readers
        return done()

    async def add_principal(self, request: web.Request) -> web.Response:
        body = await read(request, PrincipalBody)
        is_user = body.kind == "user"
        principal = Principal(
            known_tenant(self._world, body.tenant_id).id,
            str(uuid.uuid4()),
            "" if is_user else str(uuid.uuid4()),
            body.display_name,
            body.kind,
            certificates=[_der(certificate) for certificate in body.certificates],
            federated=body.federated,
            username=body.username,
            password=body.password,
        )
        if body.kind == "application" and body.with_secret:
            principal.secrets.append(_new_secret(None, body.secret_expires_on))
        self._world.principals[principal.object_id] = principal
        return web.json_response(_created(principal), status=201)

    async def change_principal(self, request: web.Request) -> web.Response:
        principal = known_principal(self._world, request.match_info["oid"])
        body = await read(request, PrincipalPatch)
        if body.certificates is not None:
            principal.certificates = [_der(certificate) for certificate in body.certificates]
        for member in ("display_name", "password", "federated"):
            if (value := getattr(body, member)) is not None:
                setattr(principal, member, value)
        return done()

    async def delete_principal(self, request: web.Request) -> web.Response:
        principal = known_principal(self._world, request.match_info["oid"])
        del self._world.principals[principal.object_id]
        return done()

    async def add_secret(self, request: web.Request) -> web.Response:
        principal = known_principal(self._world, request.match_info["oid"])
        body = await read(request, SecretBody)
        secret = _new_secret(body.value, body.expires_on)
        principal.secrets.append(secret)
        return web.json_response({"id": secret.id, "secret": secret.value}, status=201)

    async def delete_secrets(self, request: web.Request) -> web.Response:
        known_principal(self._world, request.match_info["oid"]).secrets.clear()
        return done()

    async def mint_federated_token(self, request: web.Request) -> web.Response:
        body = await read(request, FederatedTokenBody)
        issuer = f"{self._world.entra_url}{WORKLOAD_ISSUER_PATH}"
        now = int(self._world.clock.token_now())
        begins, ends = min(now, now + body.lifetime_seconds), now + body.lifetime_seconds
        claims = {"iss": issuer, "sub": body.subject, "aud": body.audience, "iat": begins, "nbf": begins, "exp": ends}
        return web.json_response({"token": self._world.tokens.workload_key.sign(claims), "issuer": issuer})


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of tenants, subscriptions and principals."""
    directory = _Directory(world)
    return [
        web.post("/control/tenants", directory.add_tenant),
        web.post("/control/subscriptions", directory.add_subscription),
        web.patch("/control/subscriptions/{id}", directory.change_subscription),
        web.post("/control/principals", directory.add_principal),
        web.patch("/control/principals/{oid}", directory.change_principal),
        web.delete("/control/principals/{oid}", directory.delete_principal),
        web.post("/control/principals/{oid}/secrets", directory.add_secret),
        web.delete("/control/principals/{oid}/secrets", directory.delete_secrets),
        web.post("/control/federated-token", directory.mint_federated_token),
    ]


def _new_secret(value: str | None, expires_on: float | None) -> Secret:
    return Secret(str(uuid.uuid4()), value or secrets.token_urlsafe(30), expires_on)


def _created(principal: Principal) -> dict[str, Any]:
    return {
        "tenant_id": principal.tenant_id,
        "object_id": principal.object_id,
        "client_id": principal.client_id,
        "username": principal.username,
        "secret": principal.secrets[0].value if principal.secrets else None,
    }


def _der(certificate: str) -> str:
    try:
        if certificate.lstrip().startswith("-----BEGIN"):
            parsed = x509.load_pem_x509_certificate(certificate.encode())
        else:
            parsed = x509.load_der_x509_certificate(base64.b64decode(certificate, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ControlError(400, "InvalidCertificate", "A certificate is neither PEM nor base64 DER.") from error
    return base64.b64encode(parsed.public_bytes(Encoding.DER)).decode()
