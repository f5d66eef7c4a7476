"""Validation: the field is named by its path in the request, the value is never repeated."""

import json
from typing import Any

import pytest

from core.domain.secrets import SecretText
from core.errors import InvalidRequestError
from functions.models.accounts import MemberDraft
from functions.models.base import RequestModel
from functions.models.connections import ClientSecretModel, ConnectionModel
from functions.models.groups import GroupDraft
from functions.models.keys import KeysQuery
from functions.validation import read_body, read_query

TENANT = "11111111-1111-1111-1111-111111111111"
CANARY = "canary-7d1f"


def a_connection(**changes: object) -> dict[str, Any]:
    credential = {"kind": "client_secret", "secret": "s3cret"}
    connection = {"tenant_id": TENANT, "client_id": TENANT, "subscription_id": TENANT, "credential": credential}
    return {**connection, **changes}


def refusal(model: type[RequestModel], body: object) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as refused:
        read_body(model, json.dumps(body).encode())
    return refused.value


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"subscription_id": TENANT}, "missing_field", "credential"),
        (a_connection(surprise=1), "unknown_field", "surprise"),
        (a_connection(subscription_id=CANARY), "invalid_field", "subscription_id"),
        (a_connection(credential={}), "missing_field", "credential.kind"),
        (a_connection(credential={"kind": CANARY}), "invalid_field", "credential.kind"),
        (a_connection(credential={"kind": "client_secret", "secret": ""}), "invalid_field", "credential.secret"),
        (a_connection(credential={"kind": "client_secret", "secret": [CANARY]}), "invalid_field", "credential.secret"),
        (a_connection(credential={"kind": "managed_identity", "secret": CANARY}), "unknown_field", "credential.secret"),
        (a_connection(credential={"kind": "workload_identity"}), "missing_field", "credential.tenant_id"),
        (a_connection(cloud=CANARY), "invalid_field", "cloud"),
        (a_connection(cloud={"authority": "https://a.example"}), "missing_field", "cloud.resource_manager"),
        (a_connection(tls={"validate_host": CANARY}), "invalid_field", "tls.validate_host"),
        ([CANARY], "invalid_field", None),
    ],
)
def test_names_the_field_and_not_the_value(body: object, code: str, field: str | None) -> None:
    refused = refusal(ConnectionModel, body)
    assert (refused.code, refused.field) == (code, field)
    assert CANARY not in json.dumps([refused.detail, dict(refused.facts)])


def test_tells_every_violation() -> None:
    refused = refusal(MemberDraft, {"role": "king", "object_id": 5, "more": True})
    violations = refused.facts["violations"]
    assert isinstance(violations, list)
    assert {each["field"] for each in violations} == {"role", "object_id", "more"}


def test_a_moment_needs_its_offset_and_a_plausible_year() -> None:
    for moment in ("2027-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", 1_700_000_000):
        credential = {"kind": "client_secret", "secret": "s", "expires_on": moment}
        assert refusal(ConnectionModel, a_connection(credential=credential)).field == "credential.expires_on"


def test_a_secret_is_hidden_as_soon_as_it_is_read() -> None:
    read = read_body(ConnectionModel, json.dumps(a_connection()).encode())
    assert isinstance(read.credential, ClientSecretModel)
    assert read.credential.secret == SecretText("s3cret")
    assert "s3cret" not in repr(read)


@pytest.mark.parametrize(
    ("kind", "ids", "field"),
    [
        ("client_secret", {"client_id": TENANT}, "connection.tenant_id"),
        ("client_certificate", {"tenant_id": TENANT}, "connection.client_id"),
        ("managed_identity", {"tenant_id": TENANT}, "connection.tenant_id"),
        ("managed_identity", {"client_id": TENANT}, "connection.client_id"),
    ],
)
def test_ids_stand_where_the_kind_of_credential_has_them(kind: str, ids: dict[str, str], field: str) -> None:
    connection = {"subscription_id": TENANT, "credential": {"kind": kind}, **ids}
    body = {"kind": "azure", "title": "Payments", "connection": connection}
    draft = read_body(GroupDraft, json.dumps(body).encode())
    with pytest.raises(InvalidRequestError) as refused:
        draft.new()
    assert (refused.value.code, refused.value.field) == ("connection_invalid", field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "1,2"}, "limit"),
        ({"limit": "9" * 5_000}, "limit"),
        ({"state": "gone"}, "state"),
        ({"sort": "size"}, "sort"),
        ({"group": "grp_x"}, "group"),
        ({"expires_before": "soon"}, "expires_before"),
        ({"text": "a\x00b"}, "text"),
        ({"nope": "1"}, "nope"),
    ],
)
def test_query_parameters_are_validated_alike(query: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_query(KeysQuery, query)
    assert refused.value.field == field
