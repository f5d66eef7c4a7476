"""Connections as people give them, with secrets in the open, before they are sealed; and what makes one acceptable.

Invariants: KEEP leaves a stored secret as it is; the rules here look at form alone, and every refusal names its field.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from urllib.parse import urlsplit

from core.domain.clouds import Cloud, CloudName
from core.domain.connections import Connection, CredentialKind
from core.domain.secrets import SecretText
from core.errors import InvalidRequestError


class Keep(Enum):
    """Stands for 'as it is' where None has a meaning of its own."""

    KEEP = "keep"


KEEP = Keep.KEEP

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HOST = re.compile(r"[0-9a-zA-Z]([0-9a-zA-Z.-]*[0-9a-zA-Z])?")
_WITH_SECRET = frozenset({CredentialKind.CLIENT_SECRET, CredentialKind.CLIENT_CERTIFICATE})


@dataclass(frozen=True, slots=True)
class CredentialDraft:
    """A credential; `secret` is a client secret, or a certificate with its key in PEM.

    `expires_on` is what its owner knows of a client secret; a certificate's end is read from it.
    """

    kind: CredentialKind
    tenant_id: str | None = None
    client_id: str | None = None
    secret: SecretText | Keep = KEEP
    expires_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class TlsDraft:
    """TLS settings; `client_certificate` is a certificate with its key in PEM, None for none."""

    custom_ca: str | None = None
    validate_host: bool = True
    client_certificate: SecretText | Keep | None = None


@dataclass(frozen=True, slots=True)
class ProxyDraft:
    """An HTTP proxy."""

    url: str
    username: str | None = None
    password: SecretText | Keep | None = None


@dataclass(frozen=True, slots=True)
class ConnectionDraft:
    """All of a connection."""

    cloud: Cloud
    credential: CredentialDraft
    subscription_id: str
    tls: TlsDraft = TlsDraft()
    proxy: ProxyDraft | None = None


def check_connection(draft: ConnectionDraft) -> None:
    """Raise InvalidRequestError `connection_invalid` with the field that is wrong in form."""
    _check_cloud(draft.cloud)
    _require_guid(draft.subscription_id, "subscription_id")
    check_credential(draft.credential)
    check_tls(draft.tls)
    if draft.proxy is not None:
        check_proxy(draft.proxy)


def check_credential(draft: CredentialDraft) -> None:
    """Raise InvalidRequestError `connection_invalid` if a member is missing, too many, or malformed."""
    if draft.kind is CredentialKind.MANAGED_IDENTITY:
        if draft.client_id is not None:
            _require_guid(draft.client_id, "credential.client_id")
    else:
        _require_guid(draft.tenant_id, "credential.tenant_id")
        _require_guid(draft.client_id, "credential.client_id")
    if draft.kind not in _WITH_SECRET and draft.secret is not KEEP:
        raise refused("This kind of credential has no secret.", "credential.secret")
    if isinstance(draft.secret, SecretText) and not draft.secret:
        raise refused("The secret is empty.", "credential.secret")


def check_tls(draft: TlsDraft) -> None:
    """Raise InvalidRequestError `connection_invalid`: host names go unchecked only beside a custom CA."""
    if not draft.validate_host and draft.custom_ca is None:
        raise refused("Host names can go unvalidated only with a custom CA.", "tls.validate_host")


def check_proxy(draft: ProxyDraft) -> None:
    """Raise InvalidRequestError `connection_invalid` unless the URL is `http://host:port` and nothing more."""
    try:
        url = urlsplit(draft.url)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port, url = "", None, urlsplit("")
    extra = url.username or url.password or url.query or url.fragment or url.path not in {"", "/"}
    if url.scheme != "http" or not _HOST.fullmatch(host) or port is None or extra:
        raise refused("A proxy's URL has the form http://host:port.", "proxy.url")
    if draft.username is None and isinstance(draft.password, SecretText):
        raise refused("A password belongs to a user name.", "proxy.username")
    if draft.username is not None and (":" in draft.username or not draft.username.isprintable()):
        raise refused("A user name for a proxy has no colon and no control characters.", "proxy.username")


def check_kept(draft: ConnectionDraft, stored: Connection) -> None:
    """Raise InvalidRequestError `secret_required` where a stored secret would take a way that its owner did not choose.

    Whoever sets the CA or the proxy can read what passes; only who knows a secret may send it there. Taking a custom
    CA or a proxy away opens no new way.
    """
    tls, proxy = stored.tls, stored.proxy
    moved = draft.tls.custom_ca not in {None, tls.custom_ca} or (tls.validate_host and not draft.tls.validate_host)
    moved |= draft.proxy is not None and draft.proxy.url != (proxy.url if proxy else None)
    if moved and needs_secret(draft.credential.kind) and draft.credential.secret is KEEP:
        raise _secret_required("credential.secret")
    if moved and draft.proxy and proxy and proxy.sealed_password and draft.proxy.password is KEEP:
        raise _secret_required("proxy.password")


def _secret_required(field: str) -> InvalidRequestError:
    detail = "A change of the CA or the proxy needs the secret again: it would pass there."
    return InvalidRequestError(detail, code="secret_required", field=f"connection.{field}")


def needs_secret(kind: CredentialKind) -> bool:
    """Whether a credential of this kind stores a secret."""
    return kind in _WITH_SECRET


def refused(detail: str, field: str) -> InvalidRequestError:
    """Return the refusal of a field of the connection."""
    return InvalidRequestError(detail, code="connection_invalid", field=f"connection.{field}")


def _check_cloud(cloud: Cloud) -> None:
    if cloud.name is not CloudName.CUSTOM:
        return
    for field in ("authority", "resource_manager"):
        if not _is_https(getattr(cloud, field)):
            raise refused("An endpoint has the form https://host, without a trailing slash.", f"cloud.{field}")
    for field in ("resource_manager_scope", "key_vault_scope", "managed_hsm_scope"):
        scope: str = getattr(cloud, field)
        if not scope.endswith("/.default") or any(character.isspace() for character in scope):
            raise refused("A scope ends with /.default.", f"cloud.{field}")


def _is_https(text: str) -> bool:
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError:
        return False
    plain = not (url.username or url.password or url.query or url.fragment or text.endswith("/"))
    return url.scheme == "https" and _HOST.fullmatch(host) is not None and plain


def _require_guid(text: str | None, field: str) -> None:
    if text is None:
        raise refused("This credential needs it.", field)
    if not _GUID.fullmatch(text):
        raise refused("This is not a GUID.", field)
