"""The whole API on memory: requests go through the routes in the host's order, the pipeline and the real services."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import azure.functions as func

from core.domain.callers import Caller, CallerKind
from core.domain.connections import ConnectionReport
from core.services.access import Access
from core.services.action_settling import ActionJobs
from core.services.connections import Connections
from core.services.findings import Findings
from core.services.groups import Groups
from core.services.idempotency import Idempotency
from core.wiring import App
from functions.api import OPERATIONS
from functions.operations import Operation
from functions.pipeline import Pipeline
from local.host.functions import Function, Trigger
from local.host.routes import Route, RouteTable, build_route
from tests.builders.groups import OFFER
from tests.builders.people import HOME, ROOT, Office
from tests.builders.syncs import SyncStage
from tests.fakes.storage import MemoryCollection


@dataclass(frozen=True)
class Response:
    """What a client sees."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    media_type: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        return str(self.json["code"])


def principal_header(caller: Caller, *, short: bool = False) -> str:
    """The platform's header for a user or service principal, with mapped claim types or short ones."""
    microsoft, soap = (
        ("", "")
        if short
        else (
            "http://schemas.microsoft.com/identity/claims/",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/",
        )
    )
    claims = {
        "tid" if short else f"{microsoft}tenantid": caller.tenant_id,
        "oid" if short else f"{microsoft}objectidentifier": caller.object_id,
        "name": caller.display_name,
        "preferred_username": caller.email,
        "sub" if short else f"{soap}nameidentifier": "pairwise",
        "idtyp": "app" if caller.kind is CallerKind.SERVICE_PRINCIPAL else "user",
    }
    listed = [{"typ": name, "val": value} for name, value in claims.items() if value is not None]
    return base64.b64encode(json.dumps({"auth_typ": "aad", "claims": listed}).encode()).decode()


class Api:
    """The API for one caller; `calling` gives it for another one."""

    def __init__(
        self, app: App, operations: Iterable[Operation] = OPERATIONS, *, platform_authentication: bool = True
    ) -> None:
        async def opened() -> App:
            return app

        self._pipeline = Pipeline(opened, platform_authentication=platform_authentication)
        self._operations = {operation.name: operation for operation in operations}
        self.routes = route_table(self._operations.values())
        self._headers: dict[str, str] = {}

    def calling(self, caller: Caller | None = None, *, api_key: str | None = None) -> "Api":
        other = object.__new__(Api)
        other.__dict__ = {**self.__dict__, "_headers": {}}
        if caller is not None:
            other._headers["x-ms-client-principal"] = principal_header(caller)
        if api_key is not None:
            other._headers["authorization"] = f"Bearer {api_key}"
        return other

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request; `body` is sent as JSON, `content` as it is. An unknown route is the host's bare 404."""
        matched = self.routes.match(method, f"api/{path}")
        if matched is None:
            return Response(404, {}, b"{}")
        function, parameters = matched
        sent = dict(self._headers)
        if body is not None:
            content = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        sent.update(headers or {})
        url = f"https://app.example/api/{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        request = func.HttpRequest(
            method, url, headers=sent, params=query, route_params=parameters, body=content or b""
        )
        answered = await self._pipeline.answer(self._operations[function.name], request)
        return Response(answered.status_code, dict(answered.headers), answered.get_body(), answered.mimetype)

    async def upload(
        self,
        method: str,
        path: str,
        body: object,
        file: bytes,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a form: `body` as its part `request`, and `file`; with a bearer token, as every form needs one."""
        content = form(part("request", json.dumps(body).encode(), "application/json"), part("file", file))
        sent = {"authorization": "Bearer eyJ0", "content-type": FORM, **self._headers, **(headers or {})}
        return await self.send(method, path, content=content, headers=sent)


BOUNDARY = "----keysteward7MA4YWxk"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, data: bytes, content_type: str | None = None, *, filename: str | None = "key.pem") -> bytes:
    """One part of a form, with its headers."""
    disposition = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    headers = [disposition, *([f"Content-Type: {content_type}"] if content_type else [])]
    return "".join(f"{header}\r\n" for header in headers).encode() + b"\r\n" + data


def form(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    """A form of parts."""
    delimiter = b"--" + boundary.encode()
    return b"".join(delimiter + b"\r\n" + each + b"\r\n" for each in parts) + delimiter + b"--\r\n"


def route_table(operations: Iterable[Operation]) -> RouteTable:
    """The routes as the host tries them."""
    routes: list[Route] = []
    for operation in operations:
        settings = {"route": operation.route, "methods": [operation.method]}
        function = Function(operation.name, operation.name, Trigger("httpTrigger", "req", settings))
        routes.append(build_route(function, "api", routes))
    return RouteTable(routes)


@dataclass
class Premises:
    """All services on memory, and all that they stand on."""

    office: Office = field(default_factory=Office)
    stage: SyncStage = field(default_factory=SyncStage)

    def __post_init__(self) -> None:
        office, stage = self.office, self.stage
        stage.clock, stage.groups = office.clock, office.group_rows
        stage.sealer = office.sealing.sealer
        stage.wire()
        made = stage.made
        self.idempotency_rows: MemoryCollection[Any] = MemoryCollection()
        sealer = office.sealing.sealer
        findings = Findings(stage.index, office.clock)
        connections = Connections(sealer, stage.vaults, office.group_rows, findings, OFFER, office.clock)
        self.app = App(
            clock=office.clock,
            sealer=sealer,
            access=office.access,
            verify_api_key=office.verify_api_key,
            idempotency=Idempotency(self.idempotency_rows, stage.index, sealer, office.clock),
            create_account=office.create_account,
            accounts=office.accounts,
            members=office.members,
            applications=office.applications,
            api_keys=office.api_keys,
            group_members=office.group_members,
            who_am_i=office.who_am_i,
            connections=connections,
            groups=Groups(
                office.group_rows,
                stage.index,
                connections=connections,
                links=made.links,
                members=office.group_members,
                syncs=stage.syncs,
                drills=stage.drills,
                clock=office.clock,
            ),
            syncs=stage.syncs,
            drills=stage.drills,
            scratch_restores=stage.care.scratch_restores,
            drift_reviews=stage.care.drift_reviews,
            vault_rotations=stage.care.vault_rotations,
            expiring_keys=stage.care.expiring_keys(office.account_rows),
            jobs=stage.jobs,
            keys=stage.keys,
            source_keys=made.source_keys,
            new_keys=made.new_keys,
            given_keys=made.given_keys,
            copies=made.copies(stage.jobs),
            exports=made.exports,
            transfers=made.transfers,
            exchange_keys=made.exchange_keys,
            placements=made.placements,
            intents=made.intents,
            attributes=stage.acting.attributes,
            source_attributes=stage.acting.source_attributes,
            deletions=stage.acting.deletions,
            restores=stage.acting.restores,
            settling=stage.acting.settling,
            action_jobs=ActionJobs(made.records, stage.jobs),
            reimports=stage.acting.reimports,
            retirements=stage.acting.retirements,
            rotations=stage.rotating.rotations,
            source_rotations=stage.rotating.source_rotations,
            rotation_jobs=stage.rotation_jobs,
            rotation_schedules=stage.rotation_schedules,
            escrows=stage.escrows,
            findings=findings,
            rewrap_data_keys=office.rewrap,
        )

    @property
    def access(self) -> Access:
        return self.office.access

    def api(self, *, platform_authentication: bool = True) -> Api:
        """The API as the platform admin calls it."""
        return Api(self.app, platform_authentication=platform_authentication).calling(ROOT)


SECRET = "the-client-secret-9f31"
CONNECTION: dict[str, Any] = {
    "tenant_id": HOME,
    "client_id": HOME,
    "subscription_id": HOME,
    "credential": {"kind": "client_secret", "secret": SECRET},
}


class AccountStage:
    """An account whose admin is ROOT, and the API as ROOT calls it."""

    def __init__(self, premises: Premises, account: str) -> None:
        self.premises = premises
        self.account = account
        self.api: Api = premises.api()

    def path(self, below: str) -> str:
        return f"v1/accounts/{self.account}/{below}"

    async def get(self, below: str, **query: str) -> Response:
        return await self.api.send("GET", self.path(below), query=query)

    async def post(self, below: str, body: object = None) -> Response:
        return await self.api.send("POST", self.path(below), body)

    async def change(self, method: str, below: str, body: object, *, of: str | None = None) -> Response:
        etag = (await self.get(of or below)).headers["ETag"]
        return await self.api.send(method, self.path(below), body, headers={"if-match": etag})

    def reports(self, report: ConnectionReport) -> None:
        self.premises.stage.vaults.report = report
