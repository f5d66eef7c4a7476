"""An Azure subscription as Keysteward finds it: vaults with keys that have a past, and who may use them."""

import asyncio

from local.demo.expect import expect
from local.demo.seeds import VAULTS, SeededVault
from local.demo.stage import Application, Stage, Vault


async def populate(stage: Stage) -> tuple[list[Vault], Application, Application]:
    """Make vaults, keys and two applications: the one that Keysteward uses, and an administrator's."""
    stage.show.scene("A subscription with two key vaults and a managed HSM")
    connector = await _application(stage, "Keysteward connector")
    administrator = await _application(stage, "Vault administrators")
    vaults = list(await asyncio.gather(*(_vault(stage, one, connector, administrator) for one in VAULTS)))
    columns = ("Vault", "Tier", "Keys", "Active", "Pre-active", "Deactivated", "Soft-deleted")
    stage.show.table(columns, [_row(one) for one in VAULTS])
    world = await stage.control.get("world")
    expect("vaults in the subscription", {one.name for one in VAULTS} - {v["name"] for v in world["vaults"]}, set())
    return vaults, connector, administrator


async def _application(stage: Stage, name: str) -> Application:
    made = await stage.control.post("principals", {"display_name": name})
    return Application(made["tenant_id"], made["object_id"], made["client_id"], made["secret"])


async def _vault(stage: Stage, seeded: SeededVault, connector: Application, administrator: Application) -> Vault:
    by_role = seeded.rbac or seeded.sku == "managed_hsm"
    everything = seeded.grant if by_role else ("all",)
    grants = ((connector.object_id, seeded.grant), (administrator.object_id, everything))
    body: dict[str, object] = {"name": seeded.name, "sku": seeded.sku, "rbac": seeded.rbac}
    if by_role:
        roles = [{"object_id": who, "role": role} for who, granted in grants for role in granted]
        body["role_assignments"] = roles
    else:
        body["access_policies"] = [{"object_id": who, "keys": granted} for who, granted in grants]
    made = await stage.control.post("vaults", body)
    await stage.control.post(f"vaults/{seeded.name}/keys", {"keys": [seed.body() for seed in seeded.seeds]})
    return Vault(seeded, made["uri"], made["resource_id"])


def _row(seeded: SeededVault) -> tuple[object, ...]:
    states = seeded.states
    shown = [states[name] for name in ("active", "pre-active", "deactivated", "soft-deleted")]
    return (seeded.name, seeded.sku.replace("_", " "), seeded.total, *shown)
