"""What of a connection is accepted in form."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain.clouds import CLOUDS, Cloud, CloudName
from core.domain.connection_drafts import (
    ConnectionDraft,
    CredentialDraft,
    ProxyDraft,
    TlsDraft,
    check_connection,
)
from core.domain.connections import CredentialKind
from core.domain.secrets import SecretText
from core.errors import InvalidRequestError

GUID = "11111111-1111-1111-1111-111111111111"
KIND = CredentialKind
PRIVATE = Cloud(
    CloudName.CUSTOM,
    "https://login.example",
    "https://arm.example:8443",
    "https://arm.example/.default",
    "https://vault.example/.default",
    "https://hsm.example/.default",
)


def a_draft(**members: Any) -> ConnectionDraft:
    credential = CredentialDraft(KIND.CLIENT_SECRET, GUID, GUID, SecretText("secret"))
    return replace(ConnectionDraft(CLOUDS[CloudName.PUBLIC], credential, GUID), **members)


@pytest.mark.parametrize(
    "draft",
    [
        a_draft(),
        a_draft(cloud=PRIVATE),
        a_draft(subscription_id=GUID.upper()),
        a_draft(credential=CredentialDraft(KIND.MANAGED_IDENTITY)),
        a_draft(credential=CredentialDraft(KIND.MANAGED_IDENTITY, client_id=GUID)),
        a_draft(credential=CredentialDraft(KIND.WORKLOAD_IDENTITY, GUID, GUID)),
        a_draft(tls=TlsDraft(custom_ca="pem", validate_host=False)),
        a_draft(proxy=ProxyDraft("http://proxy.example:3128")),
        a_draft(proxy=ProxyDraft("http://10.0.0.1:3128/", "me", SecretText("p"))),
    ],
)
def test_a_good_connection_passes(draft: ConnectionDraft) -> None:
    check_connection(draft)


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (a_draft(subscription_id="mine"), "subscription_id"),
        (a_draft(subscription_id=f"{GUID}/../x"), "subscription_id"),
        (a_draft(credential=CredentialDraft(KIND.CLIENT_SECRET, None, GUID, SecretText("s"))), "credential.tenant_id"),
        (a_draft(credential=CredentialDraft(KIND.CLIENT_SECRET, GUID, None, SecretText("s"))), "credential.client_id"),
        (a_draft(credential=CredentialDraft(KIND.CLIENT_SECRET, GUID, GUID, SecretText(""))), "credential.secret"),
        (a_draft(credential=CredentialDraft(KIND.MANAGED_IDENTITY, client_id="x")), "credential.client_id"),
        (a_draft(credential=CredentialDraft(KIND.MANAGED_IDENTITY, secret=SecretText("s"))), "credential.secret"),
        (a_draft(tls=TlsDraft(validate_host=False)), "tls.validate_host"),
        (a_draft(cloud=replace(PRIVATE, authority="http://login.example")), "cloud.authority"),
        (a_draft(cloud=replace(PRIVATE, authority="https://login.example/")), "cloud.authority"),
        (a_draft(cloud=replace(PRIVATE, authority="https://a:b@login.example")), "cloud.authority"),
        (a_draft(cloud=replace(PRIVATE, resource_manager="https://arm.example:x")), "cloud.resource_manager"),
        (a_draft(cloud=replace(PRIVATE, resource_manager="https://")), "cloud.resource_manager"),
        (a_draft(cloud=replace(PRIVATE, key_vault_scope="https://vault.example")), "cloud.key_vault_scope"),
        *[
            (a_draft(proxy=ProxyDraft(url)), "proxy.url")
            for url in (
                "https://proxy.example:3128", "http://proxy.example", "http://u:p@proxy.example:3128", "proxy:3128",
                "http://proxy.example:99999", "http://proxy.example:3128/path", "http://[::1", "http://a b:80",
            )
        ],
        (a_draft(proxy=ProxyDraft("http://p.example:1", None, SecretText("p"))), "proxy.username"),
        (a_draft(proxy=ProxyDraft("http://p.example:1", "a:b")), "proxy.username"),
    ],
)  # fmt: skip
def test_a_bad_one_names_its_field(draft: ConnectionDraft, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_connection(draft)
    assert (caught.value.code, caught.value.field) == ("connection_invalid", f"connection.{field}")
