"""Refusals of the Key Vault and Managed HSM data planes.

Every refusal is a `KeyVaultError`; `app` is the only place that turns one into a response. The two services
word the same refusal differently, so factories take the vault. Texts follow recorded answers of the services
wherever one is known; a Managed HSM ends every message with an activity id.
"""

import json
import uuid
from http import HTTPStatus

from local.emulator.keyvault.kinds import is_hsm
from local.emulator.world import Vault

_LEARN_MORE = (
    "If you recently deleted this key you may be able to recover it using the correct recovery command. "
    "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
)


class KeyVaultError(Exception):
    """A refused request: HTTP status, service code, message and, where the service has one, an inner code."""

    def __init__(self, status: int, code: str, message: str, inner: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner

    def body(self, *, managed_hsm: bool) -> bytes:
        """Return the JSON body on the wire."""
        message = f"{self.message} (Activity ID: {uuid.uuid1()})" if managed_hsm else self.message
        error: dict[str, object] = {"code": self.code, "message": message}
        if self.inner is not None:
            error["innererror"] = {"code": self.inner}
        return json.dumps({"error": error}, separators=(",", ":")).encode()


class MalformedUriError(Exception):
    """A path that the service's web server refuses itself, with an HTML page."""


def bad_parameter(message: str) -> KeyVaultError:
    """Refuse a value in the request."""
    return KeyVaultError(HTTPStatus.BAD_REQUEST, "BadParameter", message)


def forbidden(message: str, inner: str | None = None) -> KeyVaultError:
    """Refuse something that the caller or the key may not do."""
    return KeyVaultError(HTTPStatus.FORBIDDEN, "Forbidden", message, inner)


def conflict(message: str, inner: str | None = None) -> KeyVaultError:
    """Refuse something that the state of the name forbids now."""
    return KeyVaultError(HTTPStatus.CONFLICT, "Conflict", message, inner)


def not_supported(message: str) -> KeyVaultError:
    """Refuse an operation that this vault does not have."""
    return KeyVaultError(HTTPStatus.BAD_REQUEST, "NotSupported", message)


def key_not_found(vault: Vault, name: str, version: str | None = None, *, rotating: bool = False) -> KeyVaultError:
    """Refuse a name or version that is not there; a Managed HSM doubles its prefix when rotating."""
    path = f"{name}/{version}" if version else name
    if is_hsm(vault):
        prefix = "Key not found: Key not found: " if rotating else "Key not found: "
        return KeyVaultError(HTTPStatus.NOT_FOUND, "KeyNotFound", f"{prefix}{vault.base_url}/keys/{path}")
    message = f"A key with (name/id) {path} was not found in this key vault. {_LEARN_MORE}"
    return KeyVaultError(HTTPStatus.NOT_FOUND, "KeyNotFound", message)


def deleted_key_not_found(vault: Vault, name: str) -> KeyVaultError:
    """Refuse a name that is not, or not yet, among the deleted keys."""
    if is_hsm(vault):
        return key_not_found(vault, name)
    return KeyVaultError(HTTPStatus.NOT_FOUND, "KeyNotFound", f"Deleted Key not found: {name}")


def deleted_but_recoverable(name: str) -> KeyVaultError:
    """Refuse to reuse the name of a soft-deleted key."""
    message = (
        f"Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; "
        "in this state, the key can only be recovered or purged."
    )
    return conflict(message, "ObjectIsDeletedButRecoverable")


def being_deleted() -> KeyVaultError:
    """Refuse work on a key whose deletion or purge still runs."""
    return conflict("Key is currently being deleted.", "ObjectIsBeingDeleted")


def being_recovered() -> KeyVaultError:
    """Refuse work on a key whose recovery still runs."""
    return conflict("Key is currently being recovered.", "ObjectIsBeingRecovered")


def restore_conflict(key_id: str) -> KeyVaultError:
    """Refuse to restore over a name that is taken, soft-deleted or just purged."""
    message = (
        f"There was a conflict restoring the key '{key_id}'. This can happen if either: a second key with the same "
        "name was created after the first key was deleted; thus trying to restore a key whose name is already in "
        "use. To fix this, rename the second key to something else so that the restore works. The second probable "
        "cause of this exception is when multiple operations are performed in parallel against the key. To avoid "
        "this error, perform operations against a key in a sequential manner."
    )
    return conflict(message)


def malformed_backup(message: str = "Backup blob is corrupt.") -> KeyVaultError:
    """Refuse something that is no backup; the code has spaces on the wire too."""
    return KeyVaultError(HTTPStatus.BAD_REQUEST, "Malformed backup blob", message)


def throttled() -> KeyVaultError:
    """Refuse a request over the transaction limit of the vault."""
    message = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
    return KeyVaultError(HTTPStatus.TOO_MANY_REQUESTS, "Throttled", message)
