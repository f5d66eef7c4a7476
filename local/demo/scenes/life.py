"""The life of keys: rotation with all copies, soft-deletion and recovery, purge and restore, a schedule that runs."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from time import monotonic

from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import SignatureAlgorithm

from local.demo.client import Json, Keysteward
from local.demo.expect import UnexpectedError, expect
from local.demo.outside import Clients
from local.demo.scenes.copying import SourceKey, ended, modulus_in
from local.demo.stage import Group, Stage

_DIGEST = hashlib.sha256(b"a payment order").digest()
_SECONDS_BETWEEN_POLLS = 0.2
_LONGEST_RUN = 30.0
_DAYS_ON = 93


async def rotate_with_copies(
    stage: Stage, alice: Keysteward, source: SourceKey, copies: list[Json], clients: Clients
) -> None:
    """Rotate the source key and all its copies in one call."""
    show = stage.show
    show.scene("One call rotates the source key and every copy, in all vaults at the same time")
    body = {"copies": "all", "previous": {"action": "deactivate", "grace_days": 7}}
    job = await ended(alice, await alice.post(f"{source.path}/rotate", body))
    expect("end of the rotation", (job["status"], job["progress"]["errors"]), ("succeeded", []))
    rotated = await alice.get(source.path)
    expect("versions of the source key", rotated["versions_total"], 2)
    modulus = rotated["versions"][0]["public_key"]["n"]
    rows = []
    for group, (name, vault) in zip(copies, clients.items(), strict=True):
        copy = await alice.get(f"groups/{group['group']}/keys/{group['key']}", quiet=True)
        seen = await modulus_in(vault, copy["azure_name"])
        expect(f"public key of the copy in {name}", (seen, seen != source.modulus), (modulus, True))
        expect(f"source version of the copy in {name}", copy["copied_from"]["source_version"], 2)
        retired = [one["on"][:10] for one in copy["retirements"]]
        rows.append((name, copy["versions_total"], copy["copied_from"]["source_version"], ", ".join(retired)))
    show.table(("Vault", "Versions", "Is at source version", "Previous version disabled on"), rows)
    show.say("The copy that an administrator had changed is a copy again: its finding is gone.")
    findings = await alice.pages("findings", quiet=True)
    expect("findings about copies", [one for one in findings if one["code"] == "material_drift"], [])
    stage.seen.append(("Rotated in one call", "a source key and its three copies; old versions end in 7 days"))


async def delete_and_recover(stage: Stage, alice: Keysteward, group: Group, vault: KeyClient) -> Json:
    """Soft-delete a key and recover it; return it."""
    show = stage.show
    show.scene("A key is soft-deleted, and recovered with all versions")
    made = await alice.post(f"groups/{group.id}/keys", {"name": "orders", "type": "EC", "curve": "P-256"})
    path = f"groups/{group.id}/keys/{made['id']}"
    await alice.post(f"{path}/rotate", {})
    problem = await alice.refused("POST", f"{path}/soft-delete", {})
    show.answer([("without saying that it is understood", problem["code"])])
    expect("refusal", problem["code"], "acknowledgement_needed")
    deleted = await alice.post(f"{path}/soft-delete", {"acknowledge": True})
    show.answer([("state", deleted["state"]), ("recoverable until", deleted["deletion"]["scheduled_purge_on"])])
    expect("state after the soft-deletion", deleted["state"], "soft-deleted")
    recovered = await alice.post(f"{path}/recover")
    show.answer([("state", recovered["state"]), ("versions", recovered["versions_total"])])
    expect("after the recovery", (recovered["state"], recovered["versions_total"]), ("active", 2))
    expect("what the vault has", (await vault.get_key("orders")).properties.version, recovered["versions"][0]["id"])
    stage.seen.append(("Soft-deleted, recovered", "with both versions"))
    return recovered


async def purge_and_restore(stage: Stage, alice: Keysteward, key: Json, vault: KeyClient) -> None:
    """Sign with every version, purge the key, restore it, and verify the signatures in the vault."""
    show = stage.show
    show.scene("A purge is final in Azure; from the escrow the key comes back all the same")
    path = f"groups/{key['group']['id']}/keys/{key['id']}"
    signed = {one["id"]: await _sign(vault, key["azure_name"], one["id"]) for one in key["versions"]}
    show.say("Each version signs something in the vault. Then the key is soft-deleted, and purged:")
    await alice.post(f"{path}/soft-delete", {"acknowledge": True})
    problem = await alice.refused("POST", f"{path}/purge", {})
    show.answer([("code", problem["code"]), ("permission", problem["permission"])])
    expect("answer to an admin without the extra permission", problem["code"], "not_permitted")
    me = f"groups/{key['group']['id']}/members/{key['created_by']['id']}"
    await alice.put(me, {"role": "admin", "extra": ["key.purge"]})
    purged = await alice.post(f"{path}/purge", {})
    show.answer([("state", purged["state"])])
    expect("state after the purge", purged["state"], "purged")
    expect(
        "soft-deleted keys of its name",
        [one.name async for one in vault.list_deleted_keys() if one.name == "orders"],
        [],
    )
    restored = await alice.post(f"{path}/restore", {})
    verified = [await _verifies(vault, key["azure_name"], version, mac) for version, mac in signed.items()]
    show.answer(
        [("state", restored["state"]), ("signatures of before that verify", f"{sum(verified)} of {len(signed)}")]
    )
    expect("the restored key", (restored["state"], restored["id"]), ("active", key["id"]))
    expect("signatures that verify", verified, [True, True])
    stage.seen.append(("Purged, restored", "signatures of both versions from before the purge verify"))


async def run_schedule(stage: Stage, alice: Keysteward, key: Json, vault: KeyClient) -> None:
    """Have a key rotated by its schedule, as the clock moves on."""
    show = stage.show
    show.scene(f"A schedule rotates a key by itself: the clock moves on by {_DAYS_ON} days")
    path = f"groups/{key['group']['id']}/keys/{key['id']}"
    start = (datetime.now(UTC) + timedelta(days=1)).replace(hour=2, minute=0, second=0, microsecond=0, tzinfo=None)
    when = {"every_days": 30, "start": start.isoformat(), "time_zone": "Europe/Berlin"}
    shown = await alice.put(f"{path}/rotation-schedule", when)
    show.answer([("next run", shown["next_run_on"])])
    await stage.stack.host.move_clock(timedelta(days=_DAYS_ON).total_seconds())
    await stage.stack.host.run_function("rotate_due_keys")
    rotated = await _rotated(alice, path, key["versions_total"] + 1)
    await stage.stack.host.move_clock(0)
    versions = len([one async for one in vault.list_properties_of_key_versions(key["azure_name"])])
    by = next(one["actor"]["kind"] for one in rotated["history"] if one["event"] == "key.rotated")
    following = (await alice.get(f"{path}/rotation-schedule"))["next_run_on"]
    show.answer([("versions", versions), ("by", by), ("next run", following)])
    show.say("Four runs were missed; they were made up for by one.")
    expect("versions in the vault", (versions, by), (key["versions_total"] + 1, "timer"))
    expect("whether the next run is later", following > shown["next_run_on"], wanted=True)
    stage.seen.append(("A schedule, 93 days later", "one rotation by the timer, the next one planned"))


async def _rotated(alice: Keysteward, path: str, versions: int) -> Json:
    began = monotonic()
    while True:
        key = await alice.get(path, quiet=True)
        if key["versions_total"] == versions and key["pending"] is None:
            return key
        if monotonic() - began > _LONGEST_RUN:
            raise UnexpectedError(f"the schedule did not rotate the key within {_LONGEST_RUN:.0f} s")
        await asyncio.sleep(_SECONDS_BETWEEN_POLLS)


async def _sign(vault: KeyClient, name: str, version: str) -> bytes:
    key = vault.get_cryptography_client(name, key_version=version)
    return (await key.sign(SignatureAlgorithm.es256, _DIGEST)).signature


async def _verifies(vault: KeyClient, name: str, version: str, signature: bytes) -> bool:
    key = vault.get_cryptography_client(name, key_version=version)
    return bool((await key.verify(SignatureAlgorithm.es256, _DIGEST, signature)).is_valid)
