"""Built-in roles and the data actions they grant: Azure RBAC for vaults, local RBAC for Managed HSMs.

Actions are named without their provider prefix, as in `operations`. A role is found by its name or by its id,
in any case; an unknown one grants nothing.
"""

from collections.abc import Mapping

_KEYS = frozenset(
    f"keys/{word}"
    for word in (
        "read",
        "create/action",
        "import/action",
        "update/action",
        "delete",
        "recover/action",
        "purge/action",
        "backup/action",
        "restore/action",
        "rotate/action",
        "release/action",
        "encrypt/action",
        "decrypt/action",
        "sign/action",
        "verify/action",
        "wrap/action",
        "unwrap/action",
    )
)
_CRYPTO = frozenset(f"keys/{word}/action" for word in ("encrypt", "decrypt", "sign", "verify", "wrap", "unwrap"))
_ROTATION_POLICIES = frozenset({"keyrotationpolicies/read", "keyrotationpolicies/write"})
_SERVICE_ENCRYPTION = frozenset({"keys/read", "keys/wrap/action", "keys/unwrap/action"})

VAULT_ROLES: Mapping[str, frozenset[str]] = {
    "Key Vault Administrator": _KEYS | _ROTATION_POLICIES,
    "Key Vault Crypto Officer": _KEYS | _ROTATION_POLICIES,
    "Key Vault Crypto User": _CRYPTO | {"keys/read", "keys/update/action", "keys/backup/action"},
    "Key Vault Crypto Service Encryption User": _SERVICE_ENCRYPTION,
    "Key Vault Crypto Service Release User": frozenset({"keys/release/action"}),
    "Key Vault Reader": frozenset({"keys/read", "keyrotationpolicies/read"}),
}
_VAULT_ROLE_IDS = {
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "14b46e9e-c2b7-41b4-b07b-48a6ebf60603": "Key Vault Crypto Officer",
    "12338af0-0e69-4776-bea7-57ae8d297424": "Key Vault Crypto User",
    "e147488a-f6f5-4113-8e2d-b22465e65bf6": "Key Vault Crypto Service Encryption User",
    "08bbd89e-9f13-488c-ac41-acfcb10c90ab": "Key Vault Crypto Service Release User",
    "21090545-7ca7-4776-b22c-e363652d74d2": "Key Vault Reader",
}

_HSM_KEY_WORDS = ("read", "write", "rotate", "backup", "restore", "release", "import")
_HSM_KEYS = frozenset({f"keys/{word}/action" for word in _HSM_KEY_WORDS} | {"keys/create", "keys/delete"})
_HSM_DELETED_KEYS = frozenset(
    {"keys/deletedKeys/read/action", "keys/deletedKeys/recover/action", "keys/deletedKeys/delete"}
)
_HSM_SERVICE_ENCRYPTION = frozenset({"keys/read/action", "keys/wrap/action", "keys/unwrap/action"})

HSM_ROLES: Mapping[str, frozenset[str]] = {
    "Managed HSM Administrator": frozenset(),
    "Managed HSM Crypto Officer": _HSM_DELETED_KEYS,
    "Managed HSM Crypto User": _HSM_KEYS | _CRYPTO | {"rng/action"},
    "Managed HSM Policy Administrator": frozenset(),
    "Managed HSM Crypto Auditor": frozenset({"keys/read/action"}),
    "Managed HSM Crypto Service Encryption User": _HSM_SERVICE_ENCRYPTION,
    "Managed HSM Crypto Service Release User": frozenset({"keys/release/action"}),
    "Managed HSM Backup": frozenset({"keys/backup/action"}),
    "Managed HSM Restore": frozenset({"keys/restore/action"}),
}
_HSM_ROLE_IDS = {
    "a290e904-7015-4bba-90c8-60543313cdb4": "Managed HSM Administrator",
    "515eb02d-2335-4d2d-92f2-b1cbdf9c3778": "Managed HSM Crypto Officer",
    "21dbd100-6940-42c2-9190-5d6cb909625b": "Managed HSM Crypto User",
    "4bd23610-cdcf-4971-bdee-bdc562cc28e4": "Managed HSM Policy Administrator",
    "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3": "Managed HSM Crypto Auditor",
    "33413926-3206-4cdd-b39a-83574fe37a17": "Managed HSM Crypto Service Encryption User",
    "21dbd100-6940-42c2-9190-5d6cb909625c": "Managed HSM Crypto Service Release User",
    "7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8": "Managed HSM Backup",
    "6efe6056-5259-49d2-8b3d-d3d73544b20b": "Managed HSM Restore",
}

_NO_ACTIONS: frozenset[str] = frozenset()
_ACTIONS = {name.lower(): actions for roles in (VAULT_ROLES, HSM_ROLES) for name, actions in roles.items()}
_ACTIONS |= {id_: _ACTIONS[name.lower()] for ids in (_VAULT_ROLE_IDS, _HSM_ROLE_IDS) for id_, name in ids.items()}


def actions_of(role: str) -> frozenset[str]:
    """Return the data actions on keys that a role grants; a role id may end a longer resource id."""
    return _ACTIONS.get(role.rsplit("/", 1)[-1].lower(), _NO_ACTIONS)
