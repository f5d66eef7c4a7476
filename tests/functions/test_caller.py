"""Who is calling: what the platform's header says, what is believed, and what is not."""

import base64
import json

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.callers import Caller, CallerKind
from core.domain.identities import entra_principal_id
from core.domain.secrets import SecretText
from core.errors import NotAuthenticatedError
from functions.caller import caller_of, resolve
from tests.builders.http import principal_header
from tests.builders.people import ALICE, HOME, a_service_principal, object_id

APPLICATION = Caller(CallerKind.API_KEY, "app_x", "Billing", account="acc_x")
KEY = "ks_aebagbafaydqqcikbmgq2dyc_" + "x" * 43


async def verify(presented: SecretText) -> Caller:
    if presented.reveal() != KEY:
        raise NotAuthenticatedError("wrong", code="api_key_invalid")
    return APPLICATION


def a_request(**headers: str) -> func.HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpRequest("GET", "https://app.example/api/v1/me", headers=named, body=b"")


def a_header(claims: object) -> str:
    return base64.b64encode(json.dumps({"claims": claims}).encode()).decode()


def claims_of(**claims: str) -> list[dict[str, str]]:
    return [{"typ": name, "val": value} for name, value in claims.items()]


@pytest.mark.parametrize("short", [False, True])
def test_reads_mapped_and_short_claim_types(short: bool) -> None:
    found = caller_of(principal_header(ALICE, short=short))
    assert (found.kind, found.principal, found.display_name) == (CallerKind.USER, ALICE.principal, "Alice")
    assert (found.tenant_id, found.object_id, found.email) == (HOME, object_id("alice"), "alice@contoso.example")


def test_knows_a_service_principal_by_idtyp() -> None:
    found = caller_of(principal_header(a_service_principal("pipeline")))
    assert (found.kind, found.email) == (CallerKind.SERVICE_PRINCIPAL, None)


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ({"sub": object_id("x")}, CallerKind.SERVICE_PRINCIPAL),
        ({"sub": "pairwise"}, CallerKind.USER),
        ({"sub": object_id("x"), "idtyp": "user"}, CallerKind.USER),
        ({"sub": "pairwise", "idtyp": "app"}, CallerKind.SERVICE_PRINCIPAL),
    ],
)
def test_without_idtyp_only_an_application_is_its_own_subject(extra: dict[str, str], kind: CallerKind) -> None:
    assert caller_of(a_header(claims_of(tid=HOME, oid=object_id("x"), **extra))).kind is kind


def test_ids_are_compared_without_case() -> None:
    found = caller_of(a_header(claims_of(tid=HOME.upper(), oid=object_id("alice").upper(), sub="s")))
    assert found.principal == entra_principal_id(HOME, object_id("alice"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "not base64!",
        base64.b64encode(b"\xff\xfe").decode(),
        base64.b64encode(b"[1]").decode(),
        base64.b64encode(b"[" * 30_000).decode(),
        a_header(None),
        a_header([1]),
        a_header([{"typ": "tid"}]),
        a_header(claims_of(tid=HOME)),
        a_header(claims_of(tid="common", oid=object_id("alice"))),
        a_header(claims_of(tid=HOME, oid="\ud800")),
        "A" * 70_000,
    ],
)
def test_a_header_that_names_nobody_authenticates_nobody(header: str) -> None:
    with pytest.raises(NotAuthenticatedError) as refused:
        caller_of(header)
    assert refused.value.code == "principal_unusable"


@given(st.text(max_size=200))
def test_no_header_breaks_the_reader(header: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        caller_of(header)


async def test_the_header_counts_only_by_the_platforms_word() -> None:
    request = a_request(x_ms_client_principal=principal_header(ALICE))
    assert (await resolve(request, verify, platform_authentication=True)).principal == ALICE.principal
    with pytest.raises(NotAuthenticatedError):
        await resolve(request, verify, platform_authentication=False)


async def test_an_api_key_is_verified() -> None:
    found = await resolve(a_request(authorization=f"bearer {KEY}"), verify, platform_authentication=True)
    assert found == APPLICATION


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer eyJ.e.s", "Basic ks_abc", "ks_abc", "Bearer ks_\udc80"]
)
async def test_what_is_no_api_key_proves_nothing(authorization: str) -> None:
    with pytest.raises(NotAuthenticatedError) as refused:
        await resolve(a_request(authorization=authorization), verify, platform_authentication=True)
    assert refused.value.code == "not_authenticated"


async def test_two_identities_are_one_too_many() -> None:
    request = a_request(x_ms_client_principal=principal_header(ALICE), authorization=f"Bearer {KEY}")
    with pytest.raises(NotAuthenticatedError) as refused:
        await resolve(request, verify, platform_authentication=True)
    assert refused.value.code == "ambiguous_credentials"
