"""Changing keys of emulated vaults: managed HSMs, permissions, tiers, and what a vault refuses."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.adapters.azure.vaults import AzureVaults
from core.domain.connections import VaultFacts
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.new_keys import NewVersion, ReleasePolicy, RotationPolicy, VersionChanges
from core.domain.rate_limits import VaultOperation
from core.domain.secrets import SecretBytes
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    PolicyViolationError,
    VaultAnswerError,
    VaultDeniedError,
)
from core.ports import VaultKeys
from tests.adapters.azure.material import a_private_jwk, a_transfer_blob
from tests.builders.azure import FULL_CONTROL, Application, AzureWorld

EC = NewVersion("EC", KeyKind(KeyFamily.EC, curve="P-256"), ("sign", "verify"))
AES = NewVersion("oct-HSM", KeyKind(KeyFamily.AES, 256), ("encrypt", "decrypt"))
RSA = NewVersion("RSA-HSM", KeyKind(KeyFamily.RSA, 2048), ("sign", "verify"))
EXCHANGE = replace(RSA, operations=("import",))
AUTHORITY = {"authority": "https://attest.example", "allOf": [{"claim": "x-ms-sgx-is-debuggable", "equals": "false"}]}
POLICY = ReleasePolicy(json.dumps({"version": "1.0.0", "anyOf": [AUTHORITY]}))


@pytest.fixture
def opened(azure: AzureWorld, application: Application, vaults: AzureVaults) -> Callable[..., Any]:
    @asynccontextmanager
    async def open_vault(vault: VaultFacts) -> AsyncIterator[VaultKeys]:
        async with vaults.keys(f"grp_{vault.name}", azure.connection(application), vault) as keys:
            yield keys

    return open_vault


async def denied(call: Any) -> dict[str, object]:
    with pytest.raises(VaultDeniedError) as caught:
        await call
    assert caught.value.code == "vault_denied"
    return dict(caught.value.facts)


async def test_a_managed_hsm_generates_and_takes_in_keys(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    vault = await azure.vault(application, sku="managed_hsm")
    async with opened(vault) as keys:
        _, made = await keys.create("aes", AES)
        assert (made.type, made.operations, made.public_key.thumbprint) == ("oct-HSM", ("decrypt", "encrypt"), None)
        # Whatever is imported there becomes hardware-protected; nobody has to say so.
        key = rsa.generate_private_key(65537, 2048)
        _, imported = await keys.import_key("rsa", replace(RSA, type="RSA"), a_private_jwk(key))
        assert imported.type == "RSA-HSM"
        _, exchange = await keys.create("kek", EXCHANGE)
        blob = a_transfer_blob(vault.uri, ("kek", exchange.id, exchange.public_key), bytes(32))
        assert (await keys.import_transfer_blob("byok", AES, blob))[1].type == "oct-HSM"
        point = ec.generate_private_key(ec.SECP256K1())
        blob = a_transfer_blob(vault.uri, ("kek", exchange.id, exchange.public_key), point)
        k1 = NewVersion("EC-HSM", KeyKind(KeyFamily.EC, curve="P-256K"), ("sign",))
        assert (await keys.import_transfer_blob("k1", k1, blob))[1].public_key.curve == "P-256K"
        with pytest.raises(PolicyViolationError):
            await keys.rotate("rsa")
        assert await keys.rotation_policy("rsa") == RotationPolicy()
        policy = RotationPolicy("P28D", None, "P90D")
        assert await keys.set_rotation_policy("rsa", policy) == policy
        assert (await keys.rotate("rsa"))[1].id != imported.id
        assert await keys.set_rotation_policy("rsa", RotationPolicy()) == RotationPolicy()
        backup = await keys.back_up("aes")
        await keys.delete("aes")
        await keys.purge("aes")
        assert (await keys.restore(backup))[1].id == made.id


@pytest.mark.parametrize("sku", ["premium", "managed_hsm"])
async def test_an_exportable_key_has_a_release_policy(
    azure: AzureWorld, application: Application, opened: Callable[..., Any], sku: str
) -> None:
    async with opened(await azure.vault(application, sku=sku)) as keys:
        listed, version = await keys.create("k", replace(RSA, exportable=True, release_policy=POLICY))
        assert (listed.exportable, version.exportable) == (True, True)
        with pytest.raises(PolicyViolationError):
            await keys.create("k", replace(RSA, exportable=True))


@pytest.mark.parametrize(
    "new",
    [
        RSA,
        AES,
        replace(EC, tags=tuple((f"tag-{number}", "") for number in range(16))),
        replace(EC, operations=("encrypt",)),
        replace(RSA, type="RSA", kind=KeyKind(KeyFamily.RSA, 1024)),
        replace(EC, kind=KeyKind(KeyFamily.EC, curve="P-192")),
    ],
    ids=["hardware", "symmetric", "tags", "operations", "size", "curve"],
)
async def test_what_a_standard_vault_finds_wrong(
    azure: AzureWorld, application: Application, opened: Callable[..., Any], new: NewVersion
) -> None:
    async with opened(await azure.vault(application)) as keys:
        with pytest.raises(PolicyViolationError) as caught:
            await keys.create("k", new)
        assert (caught.value.code, caught.value.facts) == ("vault_refused", {"azure_code": "BadParameter"})
        with pytest.raises(NotFoundError):
            await keys.get_version("k", None)


def every_change(keys: VaultKeys, version: str, backup: SecretBytes) -> dict[str, Any]:
    key = a_private_jwk(ec.generate_private_key(ec.SECP256R1()))
    return {
        "create": lambda: keys.create("k", EC),
        "import": lambda: keys.import_key("k", EC, key),
        "update": lambda: keys.update("k", version, VersionChanges(enabled=False)),
        "rotate": lambda: keys.rotate("k"),
        "getrotationpolicy": lambda: keys.rotation_policy("k"),
        "setrotationpolicy": lambda: keys.set_rotation_policy("k", RotationPolicy("P30D")),
        "backup": lambda: keys.back_up("k"),
        "restore": lambda: keys.restore(backup),
        "delete": lambda: keys.delete("k"),
        "recover": lambda: keys.recover("gone"),
        "purge": lambda: keys.purge("gone"),
    }


async def test_permissions_that_an_access_policy_lacks(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    vault = await azure.vault(application)
    await azure.seed(vault, {"name": "k"}, {"name": "gone", "deleted": True})
    async with opened(vault) as keys:
        version, backup = (await keys.get_version("k", None))[1].id, await keys.back_up("k")
        change = {"object_id": application.object_id, "revoke": sorted(FULL_CONTROL - {"get"})}
        await azure.control.post(f"vaults/{vault.name}/permissions", change)
        for permission, call in every_change(keys, version, backup).items():
            facts = await denied(call())
            assert (facts["cause"], facts["operation"], facts["key_permission"]) == (
                "access_denied", permission, permission,
            )  # fmt: skip


async def test_permissions_that_no_role_gives(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    assignment = {"object_id": application.object_id, "role": "Key Vault Reader"}
    vault = await azure.vault(application, rbac=True, role_assignments=[assignment])
    await azure.seed(vault, {"name": "k"})
    async with opened(vault) as keys:
        facts = await denied(keys.create("k", EC))
        assert (facts["key_permission"], facts["azure_code"]) == ("create", "ForbiddenByRbac")


async def test_local_roles_that_a_managed_hsm_asks_for(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    auditor = {"object_id": application.object_id, "role": "Managed HSM Crypto Auditor"}
    hsm = await azure.vault(application, sku="managed_hsm", role_assignments=[auditor])
    await azure.seed(hsm, {"name": "k", "kty": "EC-HSM"}, {"name": "gone", "kty": "EC-HSM", "deleted": True})
    async with opened(hsm) as keys:
        user, officer = "Managed HSM Crypto User", "Managed HSM Crypto Officer"
        for call, role in (
            (keys.create("n", EC), user),
            (keys.restore(SecretBytes(b"b")), user),
            (keys.delete("k"), user),
            (keys.recover("gone"), officer),
            (keys.purge("gone"), officer),
            (keys.get_deleted("gone"), officer),
        ):
            facts = await denied(call)
            assert (facts["local_role"], "key_permission" in facts) == (role, False)


async def test_purge_protection_is_told_from_a_missing_permission(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    vault = await azure.vault(application, purge_protection=True)
    await azure.seed(vault, {"name": "gone", "deleted": True})
    for facts in (vault, replace(vault, purge_protection=False)):
        async with opened(facts) as keys:
            with pytest.raises(ConflictError) as caught:
                await keys.purge("gone")
            assert caught.value.code == "purge_protected"
    change = {"object_id": application.object_id, "revoke": ["purge"]}
    await azure.control.post(f"vaults/{vault.name}/permissions", change)
    async with opened(vault) as keys:
        assert (await denied(keys.purge("gone")))["key_permission"] == "purge"


async def test_a_firewall_is_no_missing_permission(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    vault = await azure.vault(application, firewall=True)
    async with opened(vault) as keys:
        facts = await denied(keys.create("k", EC))
    assert (facts["cause"], "key_permission" in facts) == ("firewall", False)


async def test_a_backup_of_another_subscription_cannot_be_told_from_a_denied_one(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    here, there = (
        await azure.vault(application),
        await azure.vault(application, subscription=await azure.subscription()),
    )
    await azure.seed(here, {"name": "k"})
    async with opened(here) as keys:
        backup = await keys.back_up("k")
    async with opened(there) as keys:
        assert (await denied(keys.restore(backup)))["operation"] == "restore"


async def test_a_backup_of_another_security_domain_is_refused(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    here, there = [await azure.vault(application, sku="managed_hsm", security_domain=name) for name in ("a", "b")]
    await azure.seed(here, {"name": "k", "kty": "EC-HSM"})
    async with opened(here) as keys:
        backup = await keys.back_up("k")
    async with opened(there) as keys:
        with pytest.raises(VaultAnswerError) as caught:
            await keys.restore(backup)
    assert (caught.value.code, caught.value.facts) == ("restore_refused", {"azure_code": "Malformed backup blob"})


async def test_a_hostile_name_reaches_nothing_else(
    azure: AzureWorld, application: Application, opened: Callable[..., Any]
) -> None:
    vault = await azure.vault(application)
    await azure.seed(vault, {"name": "k"})
    async with opened(vault) as keys:
        for name in ("../keys/k", "k?api-version=7.4#", "k/create", "k\r\nX-Evil: 1", "", "%2e%2e/k", "ключ"):
            for call in (keys.delete(name), keys.create(name, EC), keys.purge(name), keys.rotate(name)):
                with pytest.raises(KeystewardError):
                    await call
        assert [page.keys[0].name async for page in keys.list_keys()] == ["k"]
        assert len(await keys.list_versions("k")) == 1


async def test_private_material_shows_nowhere_but_on_the_wire(
    azure: AzureWorld, application: Application, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vault = await azure.vault(application)
    private = a_private_jwk(ec.generate_private_key(ec.SECP256R1()))
    secret = json.loads(private.reveal())["d"]
    body = json.dumps({"error": {"code": secret, "message": secret, "innererror": {"code": f"{secret}/"}}})
    async with opened(vault) as keys:
        await keys.import_key("k", EC, private)
        for status in (400, 403, 409, 422):
            action = {"kind": "respond", "status": status, "body": body}
            await azure.fault(action=action, vault=vault.name, operation="import_key", count=1)
            with pytest.raises(KeystewardError) as caught:
                await keys.import_key("k", EC, private)
            assert secret not in f"{caught.value!r} {caught.value.facts}"
    assert secret not in caplog.text


async def test_a_key_that_was_made_is_known_by_its_weight(
    azure: AzureWorld, application: Application, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = await azure.vault(application, sku="premium")
    async with opened(vault) as keys:
        await keys.create("k", replace(RSA, kind=KeyKind(KeyFamily.RSA, 4096)))
        spent: list[tuple[VaultOperation, int]] = []
        pacer = keys._requests._pacer
        admit = pacer.admit

        async def watched(turn: Any) -> None:
            spent.append((turn.operation, turn.cost))
            await admit(turn)

        monkeypatch.setattr(pacer, "admit", watched)
        await keys.back_up("k")
        await keys.delete("k")
    assert spent == [(VaultOperation.BACK_UP, 16), (VaultOperation.DELETE, 16)]
