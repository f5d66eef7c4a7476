"""A copy whose material is not its source key's is drift, and critical, for as long as it is so."""

import asyncio

from azure.keyvault.keys.aio import KeyClient

from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.material import jwk_of
from tests.integration.test_copying import Source

#: Azure's times are whole seconds: a key that is changed in the second of its creation looks unchanged in a list.
#: And a managed HSM makes one key a second.
A_SECOND = 1.1


async def drift_of(estate: Estate, group: str, copy: Json) -> tuple[Json, list[tuple[str, str | None]]]:
    """Sync, and return the copy with the drift that this sync found, by kind and version."""
    job = await estate.sync(group)
    shown = await estate.api.get(f"groups/{group}/keys/{copy['id']}")
    found = [(drift["kind"], drift["version"]) for drift in shown["drift"] if drift["job"] == job["id"]]
    return shown, sorted(found)


async def test_a_version_made_outside_is_not_the_sources_material(site: Site) -> None:
    await in_each(site, drifts, [("EC P-256", "standard"), ("AES 256", "managed_hsm")])


async def drifts(estate: Estate, kind: str, sku: str) -> None:
    source = await Source.of(estate, kind)
    vault, group = await estate.vault_group(sku)
    (copy,) = await source.copied({"group": group})
    _, found = await drift_of(estate, group, copy)
    assert found == []
    async with estate.azure.owner(vault) as owner:
        await asyncio.sleep(A_SECOND)
        foreign = await made_outside(owner, copy["azure_name"], kind)
    shown, found = await drift_of(estate, group, copy)
    assert found == [("material", foreign), ("new_version", foreign)]
    assert shown["copied_from"]["material_matches"] is False
    assert (shown["copied_from"]["source_version"], shown["origin"]) == (1, "keysteward")
    (drift,) = [one for one in shown["drift"] if one["kind"] == "material"]
    assert drift["before"] == copy["versions"][0]["public_key"]["thumbprint"]
    assert drift["after"] == shown["versions"][0]["public_key"]["thumbprint"]
    assert [version["source_version"] for version in shown["versions"]] == [None, 1]
    finding = (await estate.findings(group))["material_drift"]
    assert (finding["severity"], finding["key"]) == ("critical", copy["id"])
    assert len(shown["escrow"]) == 2, "it is escrowed all the same"
    # It stays so, and is not found anew.
    shown, found = await drift_of(estate, group, copy)
    assert (found, shown["copied_from"]["material_matches"]) == ([], False)
    assert "material_drift" in await estate.findings(group)


async def made_outside(owner: KeyClient, name: str, kind: str) -> str:
    """Make a new version with material of the vault's own, and return its id."""
    made = await (owner.create_ec_key(name) if kind.startswith("EC") else owner.create_oct_key(name))
    return str(made.properties.version)


async def test_the_right_material_ends_the_drift(estate: Estate) -> None:
    source = await Source.of(estate, "RSA 2048")
    vault, group = await estate.vault_group()
    (copy,) = await source.copied({"group": group})
    async with estate.azure.owner(vault) as owner:
        await asyncio.sleep(A_SECOND)
        await owner.create_rsa_key(copy["azure_name"], size=2048)
        await drift_of(estate, group, copy)
        assert "material_drift" in await estate.findings(group)
        await asyncio.sleep(A_SECOND)
        await owner.import_key(copy["azure_name"], jwk_of(source.material))
    shown, found = await drift_of(estate, group, copy)
    assert [kind for kind, _ in found] == ["new_version"]
    assert shown["copied_from"]["material_matches"] is True
    assert "material_drift" not in await estate.findings(group)
    # The source key goes its own way: its copies are at the version that they have.
    await estate.api.post(f"{source.path}/versions")
    shown, found = await drift_of(estate, group, copy)
    assert (found, shown["copied_from"]["material_matches"]) == ([], True)
