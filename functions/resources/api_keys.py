"""API keys of applications: shown once, rotated with overlap, revoked."""

from collections.abc import Mapping
from datetime import timedelta

from core.domain.permissions import Permission
from core.services.api_keys import IssuedApiKey, Rotation
from core.wiring import App
from functions.models.api_keys import ApiKeyAnswer, ApiKeyDraft, ApiKeyPage, ApiKeyRotation, IssuedApiKeyAnswer
from functions.models.base import NoQuery
from functions.operations import Answer, Call, Operation, Precondition
from functions.paging import PageQuery, encoded

_TAG = "API keys"
_ROUTE = "v1/accounts/{account}/applications/{application}/api-keys"
_ONE = f"{_ROUTE}/{{api_key}}"


async def issue_api_key(app: App, call: Call[ApiKeyDraft, NoQuery]) -> Answer:
    """Issue an API key."""
    application = call.path["application"]
    issued = await app.api_keys.issue(call.caller, call.account, application, call.body.expires_on)
    return _issued(issued, call.path)


async def list_api_keys(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of an application's API keys."""
    page = await app.api_keys.page(
        call.caller, call.account, call.path["application"], after=call.query.after, limit=call.query.limit
    )
    items = tuple(ApiKeyAnswer.of(stored.value) for stored in page.items)
    return Answer(ApiKeyPage(items=items, next=encoded(page.next)))


async def get_api_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one API key, without the key."""
    path = call.path
    stored = await app.api_keys.get(call.caller, call.account, path["application"], path["api_key"])
    return Answer(ApiKeyAnswer.of(stored.value), etag=stored.etag)


async def rotate_api_key(app: App, call: Call[ApiKeyRotation, NoQuery]) -> Answer:
    """Issue an API key in place of another."""
    path = call.path
    rotation = Rotation(timedelta(seconds=call.body.overlap_seconds), call.body.expires_on, call.etag)
    issued = await app.api_keys.rotate(call.caller, call.account, path["application"], path["api_key"], rotation)
    return _issued(issued, path)


async def revoke_api_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Revoke an API key."""
    path = call.path
    revoked = await app.api_keys.revoke(call.caller, call.account, path["application"], path["api_key"], call.etag)
    return Answer(ApiKeyAnswer.of(revoked.value), etag=revoked.etag)


def _issued(issued: IssuedApiKey, path: Mapping[str, str]) -> Answer:
    api_key = issued.api_key
    location = f"v1/accounts/{path['account']}/applications/{path['application']}/api-keys/{api_key.value.id}"
    return Answer(IssuedApiKeyAnswer.issued(api_key.value, issued.text), etag=api_key.etag, location=location)


OPERATIONS = (
    Operation(
        name="issue_api_key",
        method="POST",
        route=_ROUTE,
        summary="Issue an API key; the key is shown in this answer only",
        needs=Permission.API_KEY_WRITE,
        handler=issue_api_key,
        tag=_TAG,
        body=ApiKeyDraft,
        body_optional=True,
        answer=IssuedApiKeyAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=("expiry_invalid",),
    ),
    Operation(
        name="list_api_keys",
        method="GET",
        route=_ROUTE,
        summary="List an application's API keys, without the keys",
        needs=Permission.API_KEY_READ,
        handler=list_api_keys,
        tag=_TAG,
        query=PageQuery,
        answer=ApiKeyPage,
    ),
    Operation(
        name="get_api_key",
        method="GET",
        route=_ONE,
        summary="Read an API key, without the key",
        needs=Permission.API_KEY_READ,
        handler=get_api_key,
        tag=_TAG,
        answer=ApiKeyAnswer,
        etagged=True,
    ),
    Operation(
        name="rotate_api_key",
        method="POST",
        route=f"{_ONE}/rotate",
        summary="Issue an API key in place of another, which goes on to work for the overlap",
        needs=Permission.API_KEY_WRITE,
        handler=rotate_api_key,
        tag=_TAG,
        body=ApiKeyRotation,
        body_optional=True,
        answer=IssuedApiKeyAnswer,
        status=201,
        precondition=Precondition.OPTIONAL,
        etagged=True,
        located=True,
        errors=("expiry_invalid", "overlap_invalid", "api_key_not_active"),
    ),
    Operation(
        name="revoke_api_key",
        method="POST",
        route=f"{_ONE}/revoke",
        summary="Revoke an API key at once",
        needs=Permission.API_KEY_WRITE,
        handler=revoke_api_key,
        tag=_TAG,
        answer=ApiKeyAnswer,
        precondition=Precondition.OPTIONAL,
        etagged=True,
    ),
)
