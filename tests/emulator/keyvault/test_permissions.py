"""Access policies, Azure RBAC, local RBAC and the firewall."""

import pytest

from local.emulator.client import ControlClient

from .clients import MakeRaw, MakeVault


async def stranger(control: ControlClient) -> dict[str, str]:
    return dict(await control.post("principals", {"display_name": "stranger"}))


def caller_text(application: dict[str, str], extra: str = "") -> str:
    issuer = f"https://sts.windows.net/{application['tenant_id']}/"
    return f"appid={application['client_id']};oid={application['object_id']};{extra}iss={issuer}"


async def test_a_caller_without_a_policy(control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault, application = await make_vault("standard"), await stranger(control)

    answer = await (await raw_of(vault, application))("GET", "/keys/any")

    assert answer.error == (403, "Forbidden", "ForbiddenByPolicy")
    assert answer.message == (
        f'Operation is not allowed.\r\nOperation: "get"\r\nCaller: {caller_text(application, "numgroups=0;")}\r\n'
        f"Vault: {vault.name};location=westeurope"
    )


async def test_a_policy_that_lacks_the_permission(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault
) -> None:
    application = await stranger(control)
    vault = await make_vault("standard", access_policies=[{"object_id": application["object_id"], "keys": ["list"]}])
    raw = await raw_of(vault, application)

    answer = await raw("POST", "/keys/any/backup")

    assert (await raw("GET", "/keys")).status == 200
    assert answer.error == (403, "Forbidden", "AccessDenied")
    assert answer.message == (
        f"The user, group or application '{caller_text(application)}' does not have keys backup permission on key "
        f"vault '{vault.name};location=westeurope'. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125287"
    )


@pytest.mark.parametrize(
    ("permission", "method", "path", "allowed_status"),
    [
        ("create", "POST", "/keys/new/create", 400),
        ("import", "PUT", "/keys/new", 400),
        ("get", "GET", "/keys/key/", 200),
        ("update", "PATCH", "/keys/key/", 200),
        ("list", "GET", "/keys", 200),
        ("list", "GET", "/keys/key/versions", 200),
        ("list", "GET", "/deletedkeys", 200),
        ("get", "GET", "/deletedkeys/gone", 200),
        ("recover", "POST", "/deletedkeys/gone/recover", 200),
        ("purge", "DELETE", "/deletedkeys/gone2", 204),
        ("delete", "DELETE", "/keys/old", 200),
        ("backup", "POST", "/keys/key/backup", 200),
        ("restore", "POST", "/keys/restore", 400),
        ("rotate", "POST", "/keys/key/rotate", 200),
        ("getrotationpolicy", "GET", "/keys/key/rotationpolicy", 200),
        ("setrotationpolicy", "PUT", "/keys/key/rotationpolicy", 200),
        ("release", "POST", "/keys/key//release", 403),
        ("encrypt", "POST", "/keys/key//encrypt", 403),
        ("decrypt", "POST", "/keys/key//decrypt", 403),
        ("sign", "POST", "/keys/key//sign", 400),
        ("verify", "POST", "/keys/key//verify", 400),
        ("wrapkey", "POST", "/keys/key//wrapkey", 403),
        ("unwrapkey", "POST", "/keys/key//unwrapkey", 403),
    ],
)
async def test_each_operation_needs_its_permission(  # noqa: PLR0917 - fixtures and a table
    control: ControlClient,
    raw_of: MakeRaw,
    make_vault: MakeVault,
    permission: str,
    method: str,
    path: str,
    allowed_status: int,
) -> None:
    application = await stranger(control)
    object_id = application["object_id"]
    vault = await make_vault("standard", access_policies=[{"object_id": object_id, "keys": ["all"]}])
    live = [{"name": "key"}, {"name": "old"}]
    await control.post(
        f"vaults/{vault.name}/keys",
        {"keys": [*live, *({"name": name, "deleted": True} for name in ("gone", "gone2"))]},
    )
    raw = await raw_of(vault, application)
    change = f"vaults/{vault.name}/permissions"

    await control.post(change, {"object_id": object_id, "revoke": [permission]})
    refused = await raw(method, path, {} if method in ("PUT", "PATCH") else None)
    await control.post(change, {"object_id": object_id, "revoke": ["all"]})
    await control.post(change, {"object_id": object_id, "grant": [permission]})
    allowed = await raw(method, path, {} if method in ("PUT", "PATCH") else None)

    assert refused.error == (403, "Forbidden", "AccessDenied")
    assert f"does not have keys {permission} permission" in refused.message
    assert allowed.status == allowed_status
    if allowed_status == 403:
        assert "permission on key vault" not in allowed.message


async def test_rbac(control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    application = await stranger(control)
    vault = await make_vault("standard", rbac=True)
    await control.post(f"vaults/{vault.name}/keys", {"keys": [{"name": "key"}, {"name": "other"}]})
    raw = await raw_of(vault, application)

    refused = await raw("GET", "/keys/key")
    assert refused.error == (403, "Forbidden", "ForbiddenByRbac")
    assert f"\r\nCaller: {caller_text(application)}\r\nAction: 'Microsoft.KeyVault/vaults/keys/read'\r\n" in (
        refused.message
    )
    assert f"Resource: '{vault.resource_id.lower()}/keys/key'" in refused.message

    grant = {"object_id": application["object_id"], "scope": f"{vault.resource_id}/keys/key"}
    await control.post(f"vaults/{vault.name}/permissions", grant | {"grant": ["Key Vault Crypto User"]})
    assert (await raw("GET", "/keys/key")).status == 200
    assert (await raw("GET", "/keys/other")).status == 403
    assert (await raw("GET", "/keys")).status == 403
    assert (await raw("DELETE", "/keys/key")).status == 403


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("Key Vault Administrator", {"read", "backup", "delete", "policy"}),
        ("14b46e9e-c2b7-41b4-b07b-48a6ebf60603", {"read", "backup", "delete", "policy"}),
        ("Key Vault Crypto User", {"read", "backup"}),
        ("Key Vault Crypto Service Encryption User", {"read"}),
        ("Key Vault Reader", {"read", "policy"}),
        ("Owner", set()),
    ],
)
async def test_roles_grant_what_they_are_documented_to(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, role: str, allowed: set[str]
) -> None:
    application = await stranger(control)
    assignment = {"object_id": application["object_id"], "role": role, "scope": "/subscriptions"}
    vault = await make_vault("standard", rbac=True, role_assignments=[assignment])
    await control.post(f"vaults/{vault.name}/keys", {"keys": [{"name": "key"}]})
    raw = await raw_of(vault, application)
    requests = {
        "read": ("GET", "/keys"),
        "backup": ("POST", "/keys/key/backup"),
        "policy": ("GET", "/keys/key/rotationpolicy"),
        "delete": ("DELETE", "/keys/key"),
    }

    granted = {name for name, request in requests.items() if (await raw(*request)).status == 200}

    assert granted == allowed


@pytest.mark.parametrize(
    ("role", "scope", "allowed"),
    [
        ("Managed HSM Crypto User", "/", {"list", "get", "backup", "delete"}),
        ("Managed HSM Crypto User", "/keys", {"list", "get", "backup", "delete"}),
        ("Managed HSM Crypto User", "/keys/key", {"get", "backup", "delete"}),
        ("Managed HSM Crypto User", "/keys/ke", set()),
        ("Managed HSM Crypto Officer", "/", {"list deleted"}),
        ("Managed HSM Crypto Auditor", "/", {"list", "get"}),
        ("7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8", "/", {"backup"}),
        ("Managed HSM Administrator", "/", set()),
    ],
)
async def test_local_roles(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, role: str, scope: str, allowed: set[str]
) -> None:
    application = await stranger(control)
    assignment = {"object_id": application["object_id"], "role": role, "scope": scope}
    hsm = await make_vault("managed_hsm", role_assignments=[assignment])
    await control.post(f"vaults/{hsm.name}/keys", {"keys": [{"name": "key"}]})
    raw = await raw_of(hsm, application)
    requests = {
        "list": ("GET", "/keys"),
        "get": ("GET", "/keys/key"),
        "list deleted": ("GET", "/deletedkeys"),
        "backup": ("POST", "/keys/key/backup"),
        "delete": ("DELETE", "/keys/key"),
    }

    answers = {name: await raw(*request) for name, request in requests.items()}

    assert {name for name, answer in answers.items() if answer.status == 200} == allowed
    for name in requests.keys() - allowed:
        assert answers[name].error == (403, "AccessDenied", None)


async def test_the_firewall_refuses_everybody(control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault = await make_vault("standard")
    raw = await raw_of(vault)
    await control.patch(f"vaults/{vault.name}", {"firewall": True})

    answer = await raw("GET", "/keys")

    assert answer.error == (403, "Forbidden", "ForbiddenByFirewall")
    assert answer.message.startswith("Client address is not authorized and caller is not a trusted service.")
