"""Which connections may use an identity of this deployment.

A client secret or certificate proves that whoever links a vault may act as that application. A managed identity, and an
application that trusts one, prove nothing about the caller: the app would lend them to any account. So the deployment
says which account may use which of them, and their tokens go to the deployment's own cloud alone.

Invariant: no caller decides to which host, or for which audience, a token of the deployment's identities is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from core.domain.clouds import Cloud
from core.domain.connections import Connection, CredentialKind
from core.errors import PolicyViolationError

#: Stands for every account, or for every identity but the app's own.
ANY = "*"
_LENT = frozenset({CredentialKind.MANAGED_IDENTITY, CredentialKind.WORKLOAD_IDENTITY})


@dataclass(frozen=True, slots=True)
class IdentityOffer:
    """What the deployment lends: client ids (lower case) with the accounts that may use them.

    `own` is the app's own identity, which reaches the platform vault and the storage account: ANY does not offer it.
    """

    cloud: Cloud
    own: str | None = None
    accounts: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def check(self, account: str, connection: Connection) -> None:
        """Raise PolicyViolationError `identity_not_offered` unless `account` may use the connection's identity."""
        credential = connection.credential
        if credential.kind not in _LENT:
            return
        client_id = (credential.client_id or self.own or "").lower()
        own = client_id == (self.own or "").lower()
        accounts = self.accounts.get(client_id) or (frozenset() if own else self.accounts.get(ANY, frozenset()))
        if not accounts & {account, ANY}:
            raise _refused("This deployment does not lend this identity to the account.", "credential.client_id")
        if replace(connection.cloud, name=self.cloud.name) != self.cloud:
            raise _refused("An identity of the deployment is used in the deployment's own cloud only.", "cloud")
        if connection.tls.custom_ca is not None or connection.proxy is not None:
            raise _refused("An identity of the deployment takes neither a custom CA nor a proxy.", "tls")


def _refused(detail: str, field: str) -> PolicyViolationError:
    return PolicyViolationError(detail, code="identity_not_offered", field=f"connection.{field}")
