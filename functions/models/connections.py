"""Connections on the wire: given with secrets, shown without."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from core.domain.clouds import CLOUDS, Cloud, CloudName
from core.domain.connection_drafts import (
    KEEP,
    ConnectionDraft,
    CredentialDraft,
    Keep,
    ProxyDraft,
    TlsDraft,
    needs_secret,
    refused,
)
from core.domain.connections import (
    Connection,
    Credential,
    CredentialKind,
    TlsSettings,
)
from core.domain.group_drafts import GroupChanges
from functions.models.base import Guid, Moment, Pem, RequestModel, Secret, SecretPem

_ENDPOINT = Annotated[str, Field(max_length=500, examples=["https://login.example.org"])]
ResourceId = Annotated[str, Field(min_length=1, max_length=500, description="An ARM resource id.")]

_NO_TLS = TlsSettings()


class CloudModel(RequestModel):
    """The endpoints and token scopes of a private cloud."""

    authority: _ENDPOINT
    resource_manager: _ENDPOINT
    resource_manager_scope: Annotated[str, Field(max_length=500)]
    key_vault_scope: Annotated[str, Field(max_length=500)]
    managed_hsm_scope: Annotated[str, Field(max_length=500)]
    verify_challenge_resource: bool = True
    discover_instance: bool = True


type AnyCloud = Annotated[
    Annotated[Literal["public", "usgov", "china"], Tag("name")] | Annotated[CloudModel, Tag("endpoints")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "endpoints"),
]


class ClientSecretModel(RequestModel):
    """A client secret. Its end is what its owner knows of it: Entra does not tell."""

    kind: Literal["client_secret"]
    secret: Secret | None = None
    expires_on: Moment | None = None


class ClientCertificateModel(RequestModel):
    """A client certificate with its private key, in PEM."""

    kind: Literal["client_certificate"]
    certificate_pem: SecretPem | None = None


class ManagedIdentityModel(RequestModel):
    """A managed identity of the app: user-assigned by its client id, else the system-assigned one."""

    kind: Literal["managed_identity"]
    client_id: Guid | None = None


class WorkloadIdentityModel(RequestModel):
    """An application of any tenant that trusts the app's managed identity by a federated credential."""

    kind: Literal["workload_identity"]
    tenant_id: Guid
    client_id: Guid


type AnyCredential = Annotated[
    ClientSecretModel | ClientCertificateModel | ManagedIdentityModel | WorkloadIdentityModel,
    Field(discriminator="kind"),
]


class TlsModel(RequestModel):
    """How certificates are checked, and which one is shown. Host names go unchecked only beside a custom CA.

    Without `client_certificate_pem` a stored one stays; null deletes it.
    """

    custom_ca: Pem | None = None
    validate_host: bool = True
    client_certificate_pem: SecretPem | None = None

    def draft(self, present: TlsSettings = _NO_TLS) -> TlsDraft:
        """Return it for the service; what is left out stays as it is at `present`."""
        given = self.model_fields_set
        return TlsDraft(
            custom_ca=self.custom_ca if "custom_ca" in given else present.custom_ca,
            validate_host=self.validate_host if "validate_host" in given else present.validate_host,
            client_certificate=self.client_certificate_pem if "client_certificate_pem" in given else KEEP,
        )


class ProxyModel(RequestModel):
    """An HTTP proxy. Without `password` a stored one stays while `username` does; null deletes it."""

    url: Annotated[str, Field(max_length=500, examples=["http://proxy.contoso.com:3128"])]
    username: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    password: Secret | None = None

    def draft(self) -> ProxyDraft:
        """Return it for the service."""
        return ProxyDraft(self.url, self.username, self.password if "password" in self.model_fields_set else KEEP)


class ConnectionModel(RequestModel):
    """A connection. Secrets may be left out where a stored one of the same kind is to stay.

    `tenant_id` and `client_id` belong to a client secret or a client certificate.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "cloud": "public",
                    "tenant_id": "72f988bf-86f1-41af-91ab-2d7cd011db47",
                    "client_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
                    "subscription_id": "5f3e7a9c-6b1d-4c8e-9a2b-1d0f8e7c6b5a",
                    "credential": {"kind": "client_secret", "secret": "the secret's value"},
                }
            ]
        }
    )

    cloud: AnyCloud = "public"
    tenant_id: Guid | None = None
    client_id: Guid | None = None
    subscription_id: Guid
    credential: AnyCredential
    tls: TlsModel = TlsModel()
    proxy: ProxyModel | None = None

    def draft(self) -> ConnectionDraft:
        """Return it for the services; InvalidRequestError `connection_invalid`."""
        return ConnectionDraft(
            cloud=cloud_of(self.cloud),
            credential=credential_draft(self.credential, self.tenant_id, self.client_id),
            subscription_id=self.subscription_id,
            tls=self.tls.draft(),
            proxy=self.proxy.draft() if self.proxy else None,
        )


class ConnectionPatch(RequestModel):
    """What to change of a connection; what is left out stays. Cloud and subscription are accepted only as they are."""

    cloud: AnyCloud | None = None
    tenant_id: Guid | None = None
    client_id: Guid | None = None
    subscription_id: Guid | None = None
    credential: AnyCredential | None = None
    tls: TlsModel | None = None
    proxy: ProxyModel | None = None

    def credential_changes(self, present: Credential) -> CredentialDraft | Keep:
        """Return the credential for the services, completed with what stays of `present`."""
        if self.credential is None and self.tenant_id is None and self.client_id is None:
            return KEEP
        if self.credential is None:
            kind, expires_on = present.kind, present.expires_on
            ids = (self.tenant_id or present.tenant_id, self.client_id or present.client_id)
            return CredentialDraft(kind, *ids, expires_on=expires_on)
        tenant_id, client_id = self.tenant_id, self.client_id
        if needs_secret(CredentialKind(self.credential.kind)):
            tenant_id, client_id = tenant_id or present.tenant_id, client_id or present.client_id
        return credential_draft(self.credential, tenant_id, client_id)

    def changes(self, present: Connection) -> GroupChanges:
        """Return the changes for the services."""
        proxy = self.proxy.draft() if self.proxy else None
        return GroupChanges(
            credential=self.credential_changes(present.credential),
            tls=self.tls.draft(present.tls) if self.tls else KEEP,
            proxy=proxy if "proxy" in self.model_fields_set else KEEP,
            cloud=cloud_of(self.cloud) if self.cloud else KEEP,
            subscription_id=self.subscription_id or KEEP,
        )


class ConnectionTest(RequestModel):
    """A connection that is not saved, and optionally a vault of it whose key permissions are to be probed."""

    connection: ConnectionModel
    vault: ResourceId | None = None


def cloud_of(cloud: AnyCloud) -> Cloud:
    """Return a cloud by its name or from its endpoints."""
    if isinstance(cloud, CloudModel):
        return Cloud(name=CloudName.CUSTOM, **cloud.model_dump())
    return CLOUDS[CloudName(cloud)]


def credential_draft(credential: AnyCredential, tenant_id: str | None, client_id: str | None) -> CredentialDraft:
    """Return a credential for the services; InvalidRequestError `connection_invalid` where an id is out of place."""
    match credential:
        case ClientSecretModel():
            ids = (_required(tenant_id, "tenant_id"), _required(client_id, "client_id"))
            return CredentialDraft(CredentialKind.CLIENT_SECRET, *ids, credential.secret or KEEP, credential.expires_on)
        case ClientCertificateModel():
            ids = (_required(tenant_id, "tenant_id"), _required(client_id, "client_id"))
            return CredentialDraft(CredentialKind.CLIENT_CERTIFICATE, *ids, credential.certificate_pem or KEEP)
        case ManagedIdentityModel():
            _refuse_ids(tenant_id, client_id)
            return CredentialDraft(CredentialKind.MANAGED_IDENTITY, client_id=credential.client_id)
        case WorkloadIdentityModel():
            _refuse_ids(tenant_id, client_id)
            kind = CredentialKind.WORKLOAD_IDENTITY
            return CredentialDraft(kind, credential.tenant_id, credential.client_id)


def _required(value: str | None, field: str) -> str:
    if value is None:
        raise refused("This credential needs it.", field)
    return value


def _refuse_ids(tenant_id: str | None, client_id: str | None) -> None:
    for field, value in (("tenant_id", tenant_id), ("client_id", client_id)):
        if value is not None:
            raise refused("A credential of this kind has its ids in `credential`.", field)
