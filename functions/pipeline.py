"""The way of a request: identity, ids, permission, query, body, precondition, idempotency, handler, answer.

Invariants: nothing about an account is told before the permission was checked; bad input is never a 5xx; every answer
carries the correlation id that the log lines have.
"""

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from time import perf_counter

import azure.functions as func
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from core import correlation
from core.domain.accounts import Principal
from core.domain.callers import Caller
from core.domain.identifiers import IdKind, is_id, new_id
from core.domain.permissions import RULES
from core.domain.permissions import Scope as PermissionScope
from core.errors import InvalidRequestError, KeystewardError, NotFoundError
from core.services.access import Access
from core.services.idempotency import Scope
from core.wiring import App
from functions import caller, etags, logs
from functions.answers import Rendered, render, render_problem
from functions.bodies import FORM, canonical_body, media_type_of
from functions.once import Once
from functions.operations import Answer, Call, Openness, Operation, Precondition, Static
from functions.problems import InternalError, PreconditionRequiredError
from functions.validation import read_body, read_query
from functions.work import Work, working

#: Which kinds of id a route's parameter takes.
ID_KINDS: Mapping[str, tuple[IdKind, ...]] = {
    "account": (IdKind.ACCOUNT,),
    "application": (IdKind.APPLICATION,),
    "api_key": (IdKind.API_KEY,),
    "group": (IdKind.GROUP,),
    "job": (IdKind.JOB,),
    "key": (IdKind.KEY,),
    "member": (IdKind.PRINCIPAL,),
    "principal": (IdKind.PRINCIPAL, IdKind.APPLICATION),
}
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_SERVER_FAULT = 500

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer("keysteward")


class Pipeline:
    """Answers requests; `app` gives the wired services when the first request needs them."""

    def __init__(self, app: Callable[[], Awaitable[App]], *, platform_authentication: bool) -> None:
        self._app = app
        self._platform_authentication = platform_authentication

    async def answer(self, operation: Operation, req: func.HttpRequest) -> func.HttpResponse:
        """Answer a request to `operation`; never raises."""
        correlation_id = correlation.accepted_or_new(req.headers.get("x-correlation-id"))
        account = req.route_params.get("account")
        with working(Work(operation.name, account), correlation_id), _span(operation, req, correlation_id) as span:
            started = perf_counter()
            rendered = await self._rendered(operation, req, correlation_id)
            _conclude(span, rendered, duration_ms=(perf_counter() - started) * 1_000)
            return rendered.response(correlation_id)

    async def _rendered(self, operation: Operation, req: func.HttpRequest, correlation_id: str) -> Rendered:
        try:
            return await self._checked(operation, req)
        except KeystewardError as error:
            return render_problem(error, correlation_id)
        except Exception as error:  # noqa: BLE001 - the last resort: a bare problem, because the text may be sensitive
            logs.event(_log, logging.ERROR, "unexpected exception", **logs.describe(error))
            internal = InternalError("Something went wrong here. The log has more under the correlation id.")
            return render_problem(internal, correlation_id)

    async def _checked(self, operation: Operation, req: func.HttpRequest) -> Rendered:
        if isinstance(operation.handler, Static):
            read_query(operation.query, req.params)
            return render(operation.handler.answer(), operation.status)
        app = await self._app()
        identity = await caller.resolve(req, app.verify_api_key, platform_authentication=self._platform_authentication)
        path = _path(operation, req.route_params)
        principal = await _permitted(app.access, operation, identity, path)
        query = read_query(operation.query, req.params)
        canonical = _body(operation, req)
        body = read_body(operation.body, canonical) if operation.body else None
        etag, key = _etag(operation, req), _idempotency_key(operation, req)
        handler = operation.handler

        async def work(request: str) -> Answer:
            return await handler(app, Call(identity, principal, path, body, query, etag, request))

        if key is None:
            return render(await work(new_id(IdKind.INTENT)), operation.status)
        scope = Scope(identity.principal, path.get("account"), key)
        once = Once(app.idempotency, scope, _fingerprint(req, canonical))
        return await once.rendered(work, operation.status)


async def _permitted(
    access: Access, operation: Operation, identity: Caller, path: Mapping[str, str]
) -> Principal | None:
    """Return what the caller is in the route's account, if it may do this there.

    An operation on groups without one in its route spans all groups that the caller sees: its handler filters them.
    """
    if isinstance(operation.needs, Openness):
        return None
    scope = RULES[operation.needs].scope
    if scope is PermissionScope.PLATFORM:
        access.require_platform(identity, operation.needs)
        return None
    if scope is PermissionScope.GROUP and "group" not in path:
        return await access.resolve(identity, path["account"])
    return await access.require(identity, path["account"], operation.needs, path.get("group"))


def _path(operation: Operation, route_params: Mapping[str, str]) -> dict[str, str]:
    """Return the route's ids; one without the form of its kind names nothing, just as an unknown one."""
    path = {name: route_params.get(name, "") for name in operation.parameters}
    for name, value in path.items():
        if not any(is_id(value, kind) for kind in ID_KINDS[name]):
            what = name.replace("_", " ")
            raise NotFoundError(f"There is no such {what}.", code=f"{name}_not_found")
    return path


def _body(operation: Operation, req: func.HttpRequest) -> bytes:
    if req.method == "GET":
        return b""
    content, content_type = req.get_body() or b"", req.headers.get("content-type")
    if operation.upload is not None and media_type_of(content_type) == FORM:
        # Imported when somebody uploads: files are rare, and the app is to start fast.
        from functions.uploads import canonical_form  # noqa: PLC0415

        return canonical_form(operation.upload, content, content_type or "", req.headers.get("authorization"))
    canonical = canonical_body(content, content_type)
    if operation.body is None and canonical not in (b"", b"{}"):
        raise InvalidRequestError("This operation takes no body.", code="unexpected_body")
    return b"{}" if operation.body_optional and not canonical else canonical


def _etag(operation: Operation, req: func.HttpRequest) -> str | None:
    if_match = req.headers.get("if-match")
    if operation.precondition is Precondition.NONE:
        return None
    if if_match is not None:
        return etags.from_wire(if_match)
    if operation.precondition is Precondition.REQUIRED:
        raise PreconditionRequiredError("An update needs the ETag of what was read, in If-Match.", field="If-Match")
    return None


def _idempotency_key(operation: Operation, req: func.HttpRequest) -> str | None:
    key: str | None = req.headers.get("idempotency-key")
    if key is None or operation.method == "GET":
        return None
    if not operation.kept:
        # Ignored, it would be trusted: the client would repeat what is then done again.
        detail = "The answer is not kept, so a repetition is another request: leave the Idempotency-Key out."
        raise InvalidRequestError(detail, code="idempotency_not_offered", field="Idempotency-Key")
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        detail = "An idempotency key has 1 to 128 visible ASCII characters."
        raise InvalidRequestError(detail, code="invalid_header", field="Idempotency-Key")
    return key


def _fingerprint(req: func.HttpRequest, canonical: bytes) -> str:
    target = req.url.partition("://")[2].partition("/")[2]
    parts = (req.method, target, req.headers.get("if-match") or "")
    return hashlib.sha256("\x1f".join(parts).encode(errors="backslashreplace") + b"\x1f" + canonical).hexdigest()


def _span(operation: Operation, req: func.HttpRequest, correlation_id: str) -> AbstractContextManager[Span]:
    # The worker sets the host's trace context where telemetry is on; else the caller's own header counts.
    current = trace.get_current_span().get_span_context()
    context = None if current.is_valid else propagate.extract(dict(req.headers))
    attributes = {"http.request.method": operation.method, "http.route": operation.route}
    return _tracer.start_as_current_span(
        operation.name,
        context,
        kind=SpanKind.SERVER,
        attributes={**attributes, "keysteward.correlation_id": correlation_id},
        record_exception=False,
        set_status_on_exception=False,
    )


def _conclude(span: Span, rendered: Rendered, *, duration_ms: float) -> None:
    span.set_attribute("http.response.status_code", rendered.status)
    fault = rendered.status >= _SERVER_FAULT
    if fault:
        span.set_status(Status(StatusCode.ERROR, rendered.code))
    fields = {"status": rendered.status, "outcome": rendered.code or "ok", "duration_ms": round(duration_ms, 2)}
    logs.event(_log, logging.ERROR if fault else logging.INFO, "request", **fields)
