"""HTTP in front of the app: routing, keys, limits, and the translation between HTTP and the worker's messages.

As the real host: no route or a wrong method is 404, a wrong key 401, an exception of the app 500, all without a body;
the body is read only when it has a length; empty query values are dropped; header names arrive in lower case.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie

from aiohttp import hdrs, web

from local.host.easy_auth import EasyAuth, InvalidTokenError
from local.host.functions import Function
from local.host.keys import HostKeys
from local.host.messages import InvocationResponse, RpcHttp, RpcHttpCookie, TypedData
from local.host.routes import RouteTable, decode_path
from local.host.settings import BODY_LIMIT
from local.host.worker import Worker

_LOG = logging.getLogger(__name__)
AdminHandler = Callable[[web.BaseRequest, str], Awaitable[web.Response]]


class Frontend:
    """Answers every request to the host; `cut_after` is the load balancer's limit in seconds."""

    def __init__(
        self,
        worker: Worker,
        routes: RouteTable,
        keys: HostKeys,
        admin: AdminHandler,
        easy_auth: EasyAuth | None,
        *,
        cut_after: float,
    ) -> None:
        self._worker = worker
        self._routes = routes
        self._keys = keys
        self._admin = admin
        self._easy_auth = easy_auth
        self._cut_after = cut_after

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        headers = _headers(request)
        if self._easy_auth is not None:
            try:
                await self._easy_auth.apply(headers)
            except InvalidTokenError as error:
                _LOG.info("a bearer token was refused: %s", error)
                return web.Response(status=401, headers={hdrs.WWW_AUTHENTICATE: 'Bearer error="invalid_token"'})
        path = decode_path(request.raw_path)
        if path.lower().startswith("admin/"):
            return await self._admin(request, path)
        match = self._routes.match(request.method, path)
        if match is None:
            return web.Response(status=404)
        function, params = match
        if not self._keys.opens(function, headers.get("x-functions-key") or request.query.get("code")):
            return web.Response(status=401)
        if (request.content_length or 0) > BODY_LIMIT:
            return web.Response(status=413)
        rpc = RpcHttp(
            method=request.method,
            url=f"{request.scheme}://{request.host}{request.raw_path}",
            headers=headers,
            params=params,
            query=_query(request),
            body=await _body(request),
        )
        return await self._call(function, rpc)

    async def _call(self, function: Function, rpc: RpcHttp) -> web.Response:
        call = self._worker.invoke(
            function,
            TypedData(http=rpc),
            trace_parent=rpc.headers.get("traceparent", ""),
            trace_state=rpc.headers.get("tracestate", ""),
        )
        # A task of its own: the function goes on when the load balancer gives up on it. Started at once, because most
        # of the host's time on a quick function would be the way through the event loop.
        invocation = asyncio.Task(call, loop=asyncio.get_running_loop(), eager_start=True)
        if not invocation.done():
            await asyncio.wait((invocation,), timeout=self._cut_after)
        if not invocation.done():
            return web.Response(status=504)
        answer = invocation.result()
        if answer.result.exception is not None:
            error = answer.result.exception
            _LOG.error("function %s failed: %s\n%s", function.name, error.message, error.stack_trace)
            return web.Response(status=500)
        return _response(answer)


def _headers(request: web.BaseRequest) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        lower = name.lower()
        headers[lower] = f"{headers[lower]},{value}" if lower in headers else value
    return headers


def _query(request: web.BaseRequest) -> dict[str, str]:
    query: dict[str, str] = {}
    if request.query_string:
        for name, value in request.query.items():
            query[name] = f"{query[name]},{value}" if name in query else value
    return {name: value for name, value in query.items() if value}


async def _body(request: web.BaseRequest) -> TypedData:
    if not request.content_length:
        return TypedData()
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return TypedData(bytes=await request.read())


def _response(answer: InvocationResponse) -> web.Response:
    value = answer.return_value
    if value is None:
        return web.Response(status=204)
    if value.WhichOneof("data") != "http":
        return web.Response(text=value.string)
    rpc: RpcHttp = value.http
    response = web.Response(
        status=int(rpc.status_code), headers=rpc.headers, body=rpc.body.bytes if rpc.body is not None else None
    )
    for cookie in rpc.cookies or []:
        response.headers.add(hdrs.SET_COOKIE, _set_cookie(cookie))
    return response


def _set_cookie(cookie: RpcHttpCookie) -> str:
    jar: SimpleCookie = SimpleCookie()
    jar[cookie.name] = cookie.value
    morsel = jar[cookie.name]
    attributes = {
        "domain": cookie.domain,
        "path": cookie.path,
        "max-age": cookie.max_age,
        "secure": cookie.secure,
        "httponly": cookie.http_only,
    }
    for name, present in attributes.items():
        if present is not None and present.value:
            morsel[name] = int(present.value) if name == "max-age" else present.value
    if cookie.same_site:
        morsel["samesite"] = cookie.same_site
    return morsel.OutputString()
