"""Who may use an identity that proves nothing about its user, and where a stored secret may be sent."""

from dataclasses import replace

import pytest

from core.domain.clouds import CLOUDS, Cloud, CloudName
from core.domain.connection_drafts import KEEP, ConnectionDraft, CredentialDraft, ProxyDraft, TlsDraft, check_kept
from core.domain.connections import Connection, Credential, CredentialKind, Proxy, TlsSettings
from core.domain.identity_use import ANY, IdentityOffer
from core.domain.secrets import SecretText
from core.errors import InvalidRequestError, PolicyViolationError

OWN = "99999999-9999-9999-9999-999999999999"
LENT = "AAAAAAAA-1111-1111-1111-111111111111"
OTHER = "bbbbbbbb-1111-1111-1111-111111111111"
PUBLIC = CLOUDS[CloudName.PUBLIC]
ELSEWHERE = replace(PUBLIC, name=CloudName.CUSTOM, resource_manager="https://attacker.example")
ANOTHER_AUDIENCE = replace(PUBLIC, name=CloudName.CUSTOM, resource_manager_scope="https://storage.azure.com/.default")


def a_connection(kind: CredentialKind, client_id: str | None, cloud: Cloud = PUBLIC, **members: object) -> Connection:
    return Connection(cloud, Credential(kind, client_id=client_id), "s1", **members)


def an_offer(**accounts: frozenset[str]) -> IdentityOffer:
    return IdentityOffer(PUBLIC, OWN, {LENT.lower(): frozenset({"acc_1"})} | accounts)


@pytest.mark.parametrize("kind", [CredentialKind.MANAGED_IDENTITY, CredentialKind.WORKLOAD_IDENTITY])
@pytest.mark.parametrize(
    ("offer", "account", "client_id", "lent"),
    [
        (an_offer(), "acc_1", LENT, True),
        (an_offer(), "acc_2", LENT, False),
        (an_offer(), "acc_1", OTHER, False),
        (an_offer(), "acc_1", None, False),
        (IdentityOffer(PUBLIC), "acc_1", LENT, False),
        (an_offer(**{ANY: frozenset({ANY})}), "acc_2", OTHER, True),
        # The app's own identity reaches the sealing key: a wildcard does not lend it.
        (an_offer(**{ANY: frozenset({ANY})}), "acc_1", OWN, False),
        (an_offer(**{ANY: frozenset({ANY})}), "acc_1", None, False),
        (an_offer(**{OWN: frozenset({"acc_1"})}), "acc_1", None, True),
    ],
)
def test_an_identity_is_used_by_whom_it_is_lent_to(
    kind: CredentialKind, offer: IdentityOffer, account: str, client_id: str | None, lent: bool
) -> None:
    connection = a_connection(kind, client_id)
    if lent:
        offer.check(account, connection)
        return
    with pytest.raises(PolicyViolationError) as caught:
        offer.check(account, connection)
    assert caught.value.code == "identity_not_offered"


@pytest.mark.parametrize(
    ("cloud", "members"),
    [
        (ELSEWHERE, {}),
        (ANOTHER_AUDIENCE, {}),
        (CLOUDS[CloudName.CHINA], {}),
        (PUBLIC, {"tls": TlsSettings(custom_ca="pem")}),
        (PUBLIC, {"proxy": Proxy("http://proxy.example:3128")}),
    ],
)
def test_its_tokens_go_nowhere_that_a_caller_chooses(cloud: Cloud, members: dict[str, object]) -> None:
    with pytest.raises(PolicyViolationError):
        an_offer().check("acc_1", a_connection(CredentialKind.MANAGED_IDENTITY, LENT, cloud, **members))


@pytest.mark.parametrize("kind", [CredentialKind.CLIENT_SECRET, CredentialKind.CLIENT_CERTIFICATE])
def test_a_secret_is_proof_enough(kind: CredentialKind) -> None:
    IdentityOffer(PUBLIC).check("acc_2", a_connection(kind, OTHER, ELSEWHERE, proxy=Proxy("http://p.example:1")))


STORED = Connection(
    PUBLIC,
    Credential(CredentialKind.CLIENT_SECRET, sealed="sealed"),
    "s1",
    TlsSettings(custom_ca="pem"),
    Proxy("http://proxy.example:3128", "user", "sealed"),
)


def a_change(secret: object, tls: TlsDraft, proxy: ProxyDraft | None) -> ConnectionDraft:
    return ConnectionDraft(PUBLIC, CredentialDraft(CredentialKind.CLIENT_SECRET, secret=secret), "s1", tls, proxy)


SAME_TLS = TlsDraft(custom_ca="pem")
SAME_PROXY = ProxyDraft("http://proxy.example:3128", "user", KEEP)


@pytest.mark.parametrize(
    ("secret", "tls", "proxy", "field"),
    [
        (KEEP, SAME_TLS, SAME_PROXY, None),
        (KEEP, TlsDraft(custom_ca="other"), SAME_PROXY, "connection.credential.secret"),
        (KEEP, TlsDraft(custom_ca="pem", validate_host=False), SAME_PROXY, "connection.credential.secret"),
        (KEEP, TlsDraft(), None, None),
        (KEEP, SAME_TLS, ProxyDraft("http://attacker.example:1", "user", KEEP), "connection.credential.secret"),
        (SecretText("s"), SAME_TLS, ProxyDraft("http://attacker.example:1", "user", KEEP), "connection.proxy.password"),
        (SecretText("s"), TlsDraft(custom_ca="other"), None, None),
    ],
)
def test_a_stored_secret_takes_no_new_way(secret: object, tls: TlsDraft, proxy: ProxyDraft, field: str | None) -> None:
    draft = a_change(secret, tls, proxy)
    if field is None:
        check_kept(draft, STORED)
        return
    with pytest.raises(InvalidRequestError) as caught:
        check_kept(draft, STORED)
    assert (caught.value.code, caught.value.field) == ("secret_required", field)
