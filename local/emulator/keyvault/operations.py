"""The operations of the key data plane, and how a request's method and path name one.

This table is the only place that says which permission an operation needs and which limit it counts against.
Paths are read leniently, as the services do: a trailing slash, and an empty version segment (`//`) or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote


class Budget(Enum):
    """Which transaction limit an operation counts against."""

    CREATE = "create"
    IMPORT = "import"
    KEY = "key"
    VAULT = "vault"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, with the permission it needs under access policies, Azure RBAC and Managed HSM local RBAC."""

    name: str
    permission: str
    action: str
    hsm_action: str
    budget: Budget = Budget.KEY


@dataclass(frozen=True, slots=True)
class Route:
    """What a request asks for: an operation on a name and version; both are empty where there is none."""

    operation: Operation
    name: str = ""
    version: str = ""


def _key_operation(name: str, permission: str, action: str, budget: Budget = Budget.KEY) -> Operation:
    return Operation(name, permission, f"keys/{action}/action", f"keys/{action}/action", budget)


CREATE_KEY = Operation("create_key", "create", "keys/create/action", "keys/create", Budget.CREATE)
IMPORT_KEY = _key_operation("import_key", "import", "import", Budget.IMPORT)
GET_KEY = Operation("get_key", "get", "keys/read", "keys/read/action")
UPDATE_KEY = Operation("update_key", "update", "keys/update/action", "keys/write/action")
LIST_KEYS = Operation("list_keys", "list", "keys/read", "keys/read/action", Budget.VAULT)
LIST_KEY_VERSIONS = Operation("list_key_versions", "list", "keys/read", "keys/read/action", Budget.VAULT)
DELETE_KEY = Operation("delete_key", "delete", "keys/delete", "keys/delete")
LIST_DELETED_KEYS = Operation("list_deleted_keys", "list", "keys/read", "keys/deletedKeys/read/action", Budget.VAULT)
GET_DELETED_KEY = Operation("get_deleted_key", "get", "keys/read", "keys/deletedKeys/read/action")
RECOVER_DELETED_KEY = Operation(
    "recover_deleted_key", "recover", "keys/recover/action", "keys/deletedKeys/recover/action"
)
PURGE_DELETED_KEY = Operation("purge_deleted_key", "purge", "keys/purge/action", "keys/deletedKeys/delete")
BACKUP_KEY = _key_operation("backup_key", "backup", "backup")
RESTORE_KEY = _key_operation("restore_key", "restore", "restore", Budget.VAULT)
ROTATE_KEY = _key_operation("rotate_key", "rotate", "rotate", Budget.CREATE)
GET_ROTATION_POLICY = Operation(
    "get_key_rotation_policy", "getrotationpolicy", "keyrotationpolicies/read", "keys/read/action"
)
UPDATE_ROTATION_POLICY = Operation(
    "update_key_rotation_policy", "setrotationpolicy", "keyrotationpolicies/write", "keys/write/action"
)
GET_KEY_ATTESTATION = Operation("get_key_attestation", "get", "keys/read", "keys/read/action")
RELEASE_KEY = _key_operation("release_key", "release", "release", Budget.CREATE)
ENCRYPT = _key_operation("encrypt", "encrypt", "encrypt")
DECRYPT = _key_operation("decrypt", "decrypt", "decrypt")
SIGN = _key_operation("sign", "sign", "sign")
VERIFY = _key_operation("verify", "verify", "verify")
WRAP_KEY = _key_operation("wrap_key", "wrapkey", "wrap")
UNWRAP_KEY = _key_operation("unwrap_key", "unwrapkey", "unwrap")
GET_RANDOM_BYTES = Operation("get_random_bytes", "", "", "rng/action", Budget.VAULT)

# /keys/{name} and /keys/{name}/{version}, the version absent or empty for the newest.
_ON_KEY: Mapping[str, Operation] = {"GET": GET_KEY, "PATCH": UPDATE_KEY}
_ON_NAME: Mapping[str, Operation] = {"PUT": IMPORT_KEY, "DELETE": DELETE_KEY, **_ON_KEY}
# /keys/{name}/{word}
_NAME_WORDS: Mapping[tuple[str, str], Operation] = {
    ("POST", "create"): CREATE_KEY,
    ("POST", "import"): IMPORT_KEY,
    ("POST", "backup"): BACKUP_KEY,
    ("POST", "rotate"): ROTATE_KEY,
    ("GET", "versions"): LIST_KEY_VERSIONS,
    ("GET", "rotationpolicy"): GET_ROTATION_POLICY,
    ("PUT", "rotationpolicy"): UPDATE_ROTATION_POLICY,
}
# /keys/{name}/{version}/{word}
_VERSION_WORDS: Mapping[tuple[str, str], Operation] = {
    ("GET", "attestation"): GET_KEY_ATTESTATION,
    ("POST", "release"): RELEASE_KEY,
    ("POST", "encrypt"): ENCRYPT,
    ("POST", "decrypt"): DECRYPT,
    ("POST", "sign"): SIGN,
    ("POST", "verify"): VERIFY,
    ("POST", "wrapkey"): WRAP_KEY,
    ("POST", "unwrapkey"): UNWRAP_KEY,
}
_COLLECTIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "keys"): LIST_KEYS,
    ("GET", "deletedkeys"): LIST_DELETED_KEYS,
    ("POST", "rng"): GET_RANDOM_BYTES,
}
_DELETED: Mapping[tuple[str, str], Operation] = {
    ("GET", ""): GET_DELETED_KEY,
    ("DELETE", ""): PURGE_DELETED_KEY,
    ("POST", "recover"): RECOVER_DELETED_KEY,
}


def route_of(method: str, raw_path: str) -> Route | None:
    """Return what a request asks for, or None where the service has nothing; `raw_path` is percent-encoded."""
    segments = [unquote(segment) for segment in raw_path.lstrip("/").split("/")]
    collection, rest = segments[0].lower(), segments[1:]
    if not any(rest):
        operation = _COLLECTIONS.get((method, collection))
        return Route(operation) if operation else None
    if collection == "keys":
        return _key_route(method, rest)
    return _deleted_route(method, rest) if collection == "deletedkeys" else None


def _key_route(method: str, segments: list[str]) -> Route | None:
    match segments:
        case ["restore"] if method == "POST":
            return Route(RESTORE_KEY)
        case [name] | [name, ""]:
            operation = _ON_NAME.get(method)
            return Route(operation, name) if operation else None
        case [name, second] | [name, second, ""]:
            return _second_segment_route(method, name, second)
        case [name, version, word]:
            operation = _VERSION_WORDS.get((method, word.lower()))
            return Route(operation, name, version) if operation else None
        case _:
            return None


def _second_segment_route(method: str, name: str, second: str) -> Route | None:
    words = (method, second.lower())
    operation = _NAME_WORDS.get(words) or _VERSION_WORDS.get(words)
    if operation is not None:
        return Route(operation, name)
    on_version = _ON_KEY.get(method)
    return Route(on_version, name, second) if on_version else None


def _deleted_route(method: str, segments: list[str]) -> Route | None:
    match segments:
        case [name] | [name, ""]:
            operation = _DELETED.get((method, ""))
        case [name, word]:
            operation = _DELETED.get((method, word.lower())) if word else None
        case _:
            return None
    return Route(operation, name) if operation else None
