"""Applications of an account, and the service principals that they are bound to."""

from core.domain.permissions import Permission
from core.services.applications import ApplicationChange, ServicePrincipal
from core.wiring import App
from functions.models.accounts import (
    ApplicationDraft,
    ApplicationPatch,
    PrincipalAnswer,
    PrincipalPage,
    ServicePrincipalModel,
)
from functions.models.base import NoQuery
from functions.operations import Answer, Call, Operation, Precondition
from functions.paging import PageQuery, encoded

_TAG = "Applications"
_ROUTE = "v1/accounts/{account}/applications"
_ONE = f"{_ROUTE}/{{application}}"
_BINDING = f"{_ONE}/service-principal"


async def create_application(app: App, call: Call[ApplicationDraft, NoQuery]) -> Answer:
    """Create an application."""
    draft = call.body
    bound_to = _service_principal(draft.service_principal) if draft.service_principal else None
    created = await app.applications.create(call.caller, call.account, draft.title, draft.groups, bound_to)
    location = f"v1/accounts/{call.account}/applications/{created.value.id}"
    return Answer(PrincipalAnswer.shown(created.value), etag=created.etag, location=location)


async def list_applications(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of applications."""
    query = call.query
    page = await app.applications.page(call.caller, call.account, after=query.after, limit=query.limit)
    items = tuple(PrincipalAnswer.shown(stored.value) for stored in page.items)
    return Answer(PrincipalPage(items=items, next=encoded(page.next)))


async def get_application(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one application."""
    stored = await app.applications.get(call.caller, call.account, call.path["application"])
    return Answer(PrincipalAnswer.shown(stored.value), etag=stored.etag)


async def update_application(app: App, call: Call[ApplicationPatch, NoQuery]) -> Answer:
    """Change an application."""
    change = ApplicationChange(call.body.title, call.body.groups, call.body.disabled)
    application = call.path["application"]
    changed = await app.applications.update(call.caller, call.account, application, change, call.etag)
    return Answer(PrincipalAnswer.shown(changed.value), etag=changed.etag)


async def delete_application(app: App, call: Call[None, NoQuery]) -> Answer:
    """Delete an application."""
    await app.applications.delete(call.caller, call.account, call.path["application"], call.etag)
    return Answer()


async def bind_application(app: App, call: Call[ServicePrincipalModel, NoQuery]) -> Answer:
    """Bind an application to a service principal."""
    to = _service_principal(call.body)
    bound = await app.applications.bind(call.caller, call.account, call.path["application"], to, call.etag)
    return Answer(PrincipalAnswer.shown(bound.value), etag=bound.etag)


async def unbind_application(app: App, call: Call[None, NoQuery]) -> Answer:
    """Bind an application to no service principal."""
    bound = await app.applications.bind(call.caller, call.account, call.path["application"], None, call.etag)
    return Answer(PrincipalAnswer.shown(bound.value), etag=bound.etag)


def _service_principal(model: ServicePrincipalModel) -> ServicePrincipal:
    return ServicePrincipal(model.tenant_id, model.object_id)


OPERATIONS = (
    Operation(
        name="create_application",
        method="POST",
        route=_ROUTE,
        summary="Create an application with roles in groups",
        needs=Permission.APPLICATION_WRITE,
        handler=create_application,
        tag=_TAG,
        body=ApplicationDraft,
        answer=PrincipalAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=("title_invalid", "group_unknown", "guid_invalid", "identity_in_use"),
    ),
    Operation(
        name="list_applications",
        method="GET",
        route=_ROUTE,
        summary="List the applications",
        needs=Permission.APPLICATION_READ,
        handler=list_applications,
        tag=_TAG,
        query=PageQuery,
        answer=PrincipalPage,
    ),
    Operation(
        name="get_application",
        method="GET",
        route=_ONE,
        summary="Read an application",
        needs=Permission.APPLICATION_READ,
        handler=get_application,
        tag=_TAG,
        answer=PrincipalAnswer,
        etagged=True,
    ),
    Operation(
        name="update_application",
        method="PATCH",
        route=_ONE,
        summary="Change an application's title or roles, or disable it",
        needs=Permission.APPLICATION_WRITE,
        handler=update_application,
        tag=_TAG,
        body=ApplicationPatch,
        answer=PrincipalAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=("title_invalid", "group_unknown"),
    ),
    Operation(
        name="delete_application",
        method="DELETE",
        route=_ONE,
        summary="Delete an application; its API keys stop working",
        needs=Permission.APPLICATION_WRITE,
        handler=delete_application,
        tag=_TAG,
        status=204,
        precondition=Precondition.OPTIONAL,
    ),
    Operation(
        name="bind_application",
        method="PUT",
        route=_BINDING,
        summary="Bind an application to an Entra service principal instead of the present one",
        needs=Permission.APPLICATION_WRITE,
        handler=bind_application,
        tag=_TAG,
        body=ServicePrincipalModel,
        answer=PrincipalAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
        errors=("guid_invalid", "identity_in_use"),
    ),
    Operation(
        name="unbind_application",
        method="DELETE",
        route=_BINDING,
        summary="Bind an application to no service principal",
        needs=Permission.APPLICATION_WRITE,
        handler=unbind_application,
        tag=_TAG,
        answer=PrincipalAnswer,
        precondition=Precondition.REQUIRED,
        etagged=True,
    ),
)
