"""Requests generated from the OpenAPI document, well-formed and not: never a 5xx, and answers as the document has them.

Every request goes to objects that are there, so that it gets past routing and permissions to the code behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from core.domain.identifiers import IdKind, new_id
from local.stack.stack import ROOT
from tests.integration.azure import CHANGING
from tests.integration.client import Json
from tests.integration.estate import PAUSED, Estate, Site

#: All that any operation needs: a vault that refuses would be a 502.
GRANTED = (*CHANGING, "delete", "recover", "purge", "restore", "rotate", "getrotationpolicy", "setrotationpolicy")
EXAMPLES = 10
TIMEOUT_SECONDS = 30
#: A longer request line is the host's to refuse; no operation sees it.
LONGEST_URL = 8_000
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

schema = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.json")
schema.config.phases.coverage.enabled = False


@dataclass(frozen=True)
class Grounds:
    """An account to throw away, with a group, its key and a job."""

    estate: Estate
    ids: Mapping[str, str]

    async def fresh(self) -> "Grounds":
        """Add what requests may end: an application with an API key, and a member."""
        application = (await self.estate.api.post("applications", {"title": "P"}))["id"]
        member = await self.estate.api.post(
            "members", {"role": "member", "email": f"{new_id(IdKind.KEY)}@contoso.example"}
        )
        api_key = (await self.estate.api_key(application))["id"]
        ids = {"application": application, "api_key": api_key, "member": member["id"], "principal": application}
        return Grounds(self.estate, {**self.ids, **ids})

    def harmless(self, operation: str, body: Any) -> Any:
        """Return the body without what reaches beyond this account and the emulator, and without syncs by the clock."""
        if not isinstance(body, dict):
            return body
        tamed = dict(body)
        if isinstance(body.get("connection"), dict):
            connection = {name: value for name, value in body["connection"].items() if name != "proxy"}
            tamed["connection"] = {**connection, "cloud": self.estate.azure.cloud()}
        if isinstance(body.get("schedule"), dict):
            tamed["schedule"] = {**body["schedule"], **PAUSED}
        if operation == "rotate_sealing_key" and body.get("new_version", True) is True:
            # A vault makes so many versions in ten seconds and no more, and each rewraps the keys of all accounts.
            tamed["new_version"] = False
        return tamed

    def etag(self, path: str, headers: Json) -> str | None:
        """Return the ETag of what a request is about to change."""
        for part in ("/vault", "/service-principal"):
            path = path.removesuffix(part)
        return requests.get(path, headers=headers, timeout=TIMEOUT_SECONDS).headers.get("ETag")


@pytest_asyncio.fixture(scope="module")
async def account(site: Site) -> Grounds:
    """The account and what no request can end, because its group holds a key."""
    estate = await site.estate()
    group = await estate.link(await estate.azure.vault(keys=[{"name": "k"}], grant=GRANTED))
    job = await estate.sync(group)
    key = (await estate.keys(group))["k"]["id"]
    return Grounds(estate, {"account": estate.account, "group": group, "job": job["id"], "key": key})


@pytest_asyncio.fixture
async def grounds(account: Grounds) -> tuple[Grounds, Json]:
    """What one operation is tried on, and the admin's headers."""
    token = await account.estate.site.token("alice")
    return await account.fresh(), {"Authorization": f"Bearer {token}"}


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_generated_requests(case: Case[Any], grounds: tuple[Grounds, Json]) -> None:
    premises, headers = grounds
    case.path_parameters = {name: premises.ids[name] for name in case.path_parameters or {}}
    case.body = premises.harmless(case.operation.definition.raw["operationId"], case.body)
    url = f"{premises.estate.site.stack.host_url}/api"
    if case.headers.get("If-Match") and (etag := premises.etag(f"{url}{case.formatted_path}", headers)):
        case.headers["If-Match"] = etag
    response = case.call(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS)
    assume(len(response.request.url or "") < LONGEST_URL)
    case.validate_response(response, checks=CHECKS)
