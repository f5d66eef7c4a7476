"""Vaults and managed HSMs as Azure Resource Manager shows them.

Only the lists by subscription are used: `vaults.list()` of the SDK answers neither properties nor tier.
"""

import asyncio
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.keyvault.aio import KeyVaultManagementClient

from core.adapters.azure.failures import CALL_ERRORS, Failure, failure_of, refusal_of
from core.adapters.azure.rate_limit import retry_after
from core.domain.connections import ConnectionCause, VaultFacts, VaultType
from core.errors import NotFoundError, VaultAnswerError

_DEFAULT_RETENTION_DAYS = 90
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The subscription's vaults and managed HSMs by name, and what could not be read."""

    vaults: tuple[VaultFacts, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    vaults: list[VaultFacts]
    malformed: int


class ManagementError(Exception):
    """A call of ARM failed; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.cause.value)
        self.failure = failure


async def discover(client: KeyVaultManagementClient, now: datetime) -> Discovery:
    """List the vaults and managed HSMs of the client's subscription; ManagementError."""
    vaults, hsms = await asyncio.gather(
        _collect(client.vaults.list_by_subscription(), _vault_facts, now),
        _collect(client.managed_hsms.list_by_subscription(), _hsm_facts, now),
    )
    found = sorted(vaults.vaults + hsms.vaults, key=lambda facts: (facts.name.lower(), facts.resource_id))
    malformed = vaults.malformed + hsms.malformed
    warnings = (f"{malformed} of the subscription's vaults could not be read and are left out.",) if malformed else ()
    return Discovery(tuple(found), warnings)


async def read(client: KeyVaultManagementClient, vault: VaultFacts, now: datetime) -> VaultFacts:
    """Read one vault's facts again; NotFoundError `vault_not_found`, and the errors of its failure."""
    group, name = _group_and_name(vault.resource_id)
    try:
        if vault.type is VaultType.MANAGED_HSM:
            return _hsm_facts(await client.managed_hsms.get(group, name), now)
        return _vault_facts(await client.vaults.get(group, name), now)
    except _UNREADABLE:
        raise VaultAnswerError("The vault's facts are not as documented.", code="vault_answer_malformed") from None
    except CALL_ERRORS as error:
        if isinstance(error, ResourceNotFoundError) and _code(error) != "SubscriptionNotFound":
            detail = "The vault is not, or no longer, in the subscription."
            raise NotFoundError(detail, code="vault_not_found") from None
        raise _failure(error).error() from None


async def _collect(items: AsyncIterable[Any], convert: Callable[[Any, datetime], VaultFacts], now: datetime) -> _Found:
    found = _Found([], 0)
    malformed = 0
    try:
        async for item in items:
            try:
                found.vaults.append(convert(item, now))
            except _UNREADABLE:
                malformed += 1
    except CALL_ERRORS as error:
        raise ManagementError(_failure(error)) from None
    return _Found(found.vaults, malformed)


def _code(error: HttpResponseError) -> str | None:
    return error.error.code if error.error is not None else None


def _failure(error: BaseException) -> Failure:
    if not isinstance(error, HttpResponseError) or error.status_code is None or error.response is None:
        return failure_of(error)
    # ARM answers 401 for a token of another tenant than the subscription's, 404 for an unknown subscription.
    if error.status_code in {_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND}:
        return Failure(ConnectionCause.SUBSCRIPTION_NOT_VISIBLE)
    refusal = refusal_of(error.status_code, None, retry_after(getattr(error.response, "headers", {})))
    return refusal or Failure(ConnectionCause.SERVICE_FAILED)


def _vault_facts(vault: Any, now: datetime) -> VaultFacts:  # noqa: ANN401 - the SDK's model, not to be trusted
    properties = vault.properties
    return VaultFacts(
        resource_id=_text(vault.id),
        name=_text(vault.name),
        type=VaultType(_text(properties.sku.name).lower()),
        uri=_uri(properties.vault_uri),
        location=_text(vault.location),
        tenant_id=_text(properties.tenant_id),
        soft_delete_retention_days=_days(properties.soft_delete_retention_in_days),
        # Azure leaves the member out where protection is off, and null means access policies.
        purge_protection=properties.enable_purge_protection is True,
        rbac=properties.enable_rbac_authorization is True,
        observed_on=now,
    )


def _hsm_facts(hsm: Any, now: datetime) -> VaultFacts:  # noqa: ANN401 - as above
    properties = hsm.properties
    return VaultFacts(
        resource_id=_text(hsm.id),
        name=_text(hsm.name),
        type=VaultType.MANAGED_HSM,
        uri=_uri(properties.hsm_uri),
        location=_text(hsm.location),
        tenant_id=_text(properties.tenant_id),
        soft_delete_retention_days=_days(properties.soft_delete_retention_in_days),
        purge_protection=properties.enable_purge_protection is True,
        # A managed HSM knows local RBAC only.
        rbac=True,
        observed_on=now,
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(type(value).__name__)
    return value


def _uri(value: object) -> str:
    uri = _text(value).rstrip("/")
    if not uri.lower().startswith("https://"):
        raise ValueError(uri)
    return uri


def _days(value: object) -> int:
    return value if isinstance(value, int) else _DEFAULT_RETENTION_DAYS


def _group_and_name(resource_id: str) -> tuple[str, str]:
    parts = resource_id.strip("/").split("/")
    return parts[3], parts[-1]
