"""Accounts, and who the caller is."""

from typing import Any

from core.domain.permissions import Permission
from core.wiring import App
from functions.models.accounts import AccountAnswer, AccountDraft, AccountPage
from functions.models.base import NoQuery
from functions.models.me import MeAnswer
from functions.operations import Answer, Call, Openness, Operation, Precondition
from functions.paging import PageQuery, encoded

_TAG = "Accounts"
_ROUTE = "v1/accounts"


async def get_me(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer who the caller is."""
    return Answer(MeAnswer.of(await app.who_am_i(call.caller)))


async def create_account(app: App, call: Call[AccountDraft, NoQuery]) -> Answer:
    """Create an account."""
    created = await app.create_account(call.caller, call.body.title)
    location = f"{_ROUTE}/{created.value.id}"
    return Answer(AccountAnswer.of(created.value), etag=created.etag, location=location)


async def list_accounts(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of the caller's accounts."""
    page = await app.accounts.mine(call.caller, after=call.query.after, limit=call.query.limit)
    items = tuple(AccountAnswer.of(stored.value) for stored in page.items)
    return Answer(AccountPage(items=items, next=encoded(page.next)))


async def get_account(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one account."""
    stored = await app.accounts.get(call.caller, call.account)
    return Answer(AccountAnswer.of(stored.value), etag=stored.etag)


async def update_account(app: App, call: Call[AccountDraft, Any]) -> Answer:
    """Rename an account."""
    renamed = await app.accounts.rename(call.caller, call.account, call.body.title, call.etag)
    return Answer(AccountAnswer.of(renamed.value), etag=renamed.etag)


OPERATIONS = (
    Operation(
        name="get_me",
        method="GET",
        route="v1/me",
        summary="Who I am: my accounts, my groups, and whether they are connected",
        needs=Openness.AUTHENTICATED,
        handler=get_me,
        tag=_TAG,
        answer=MeAnswer,
    ),
    Operation(
        name="create_account",
        method="POST",
        route=_ROUTE,
        summary="Create an account and become its admin",
        needs=Permission.ACCOUNT_CREATE,
        handler=create_account,
        tag=_TAG,
        body=AccountDraft,
        answer=AccountAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=("title_invalid", "sealing_key_denied"),
    ),
    Operation(
        name="list_accounts",
        method="GET",
        route=_ROUTE,
        summary="List my accounts",
        needs=Openness.AUTHENTICATED,
        handler=list_accounts,
        tag=_TAG,
        query=PageQuery,
        answer=AccountPage,
    ),
    Operation(
        name="get_account",
        method="GET",
        route=f"{_ROUTE}/{{account}}",
        summary="Read an account",
        needs=Permission.ACCOUNT_READ,
        handler=get_account,
        tag=_TAG,
        answer=AccountAnswer,
        etagged=True,
    ),
    Operation(
        name="update_account",
        method="PATCH",
        route=f"{_ROUTE}/{{account}}",
        summary="Rename an account",
        needs=Permission.ACCOUNT_UPDATE,
        handler=update_account,
        tag=_TAG,
        body=AccountDraft,
        answer=AccountAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=("title_invalid",),
    ),
)
