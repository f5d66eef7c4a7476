"""Every cell of the lifecycle's table over HTTP, with real keys; and a purge behind Keysteward's back."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import SignatureAlgorithm

from core.domain.keys import Condition
from core.domain.lifecycle import TABLE
from core.domain.pending_actions import KeyAction
from tests.integration.azure import CHANGING, Vault
from tests.integration.client import Json, Reply
from tests.integration.estate import Estate

DIGEST = hashlib.sha256(b"a contract").digest()
BODIES: dict[KeyAction, Json] = {
    KeyAction.UPDATE: {"tags": {"seen": "yes"}},
    KeyAction.DEACTIVATE: {"reason": "A test"},
    KeyAction.SOFT_DELETE: {"acknowledge": True},
    KeyAction.ROTATE: {"expires_on": "2099-01-01T00:00:00Z"},
}
#: The state in which an action leaves a key, where that is one.
LEFT_IN = {
    KeyAction.DEACTIVATE: "deactivated",
    KeyAction.ACTIVATE: "active",
    KeyAction.SOFT_DELETE: "soft-deleted",
    KeyAction.RECOVER: "active",
    KeyAction.PURGE: "purged",
    KeyAction.RESTORE: "active",
    KeyAction.DELETE: "destroyed",
}
#: How a key that is active comes into a condition, by actions.
WAYS: dict[Condition, tuple[KeyAction, ...]] = {
    Condition.DISABLED: (KeyAction.DEACTIVATE,),
    Condition.SOFT_DELETED: (KeyAction.SOFT_DELETE,),
    Condition.PURGED: (KeyAction.SOFT_DELETE, KeyAction.PURGE),
    Condition.DESTROYED: (KeyAction.SOFT_DELETE, KeyAction.PURGE, KeyAction.DELETE),
}
STATES = {Condition.DISABLED: "deactivated", Condition.EXPIRED: "deactivated"}


async def a_vault(estate: Estate) -> tuple[Vault, str]:
    """Make a vault in which Keysteward may end keys, too; return it and the id of its group."""
    vault = await estate.azure.vault("standard", grant=(*CHANGING, "delete", "recover", "purge", "restore"))
    return vault, await estate.link(vault)


async def allow(estate: Estate, group: str) -> None:
    """Give the admin what no role has by itself."""
    (admin,) = [one["id"] for one in await estate.api.pages("members") if one["role"] == "admin"]
    await estate.api.put(f"groups/{group}/members/{admin}", {"role": "admin", "extra": ["key.purge", "key.delete"]})


async def act(estate: Estate, path: str, action: KeyAction) -> Reply:
    if action is KeyAction.UPDATE:
        headers = {"If-Match": (await estate.api.send("GET", path)).etag}
        return await estate.api.send("PATCH", path, BODIES[action], headers=headers)
    if action is KeyAction.DELETE:
        return await estate.api.send("DELETE", path)
    return await estate.api.send("POST", f"{path}/{action.replace('_', '-')}", BODIES.get(action))


async def in_condition(estate: Estate, group: str, owner: KeyClient, condition: Condition, name: str) -> str:
    """Make a key that is in a condition, but for one that is to be seen by a sync first; return its path."""
    body: Json = {"azure_name": name, "type": "EC", "curve": "P-256"}
    if condition is Condition.PRE_ACTIVE:
        body["not_before"] = "2099-01-01T00:00:00Z"
    key = await estate.api.post(f"groups/{group}/keys", body)
    path = f"groups/{group}/keys/{key['id']}"
    if condition is Condition.EXPIRED:
        await owner.update_key_properties(name, expires_on=datetime.now(UTC) - timedelta(minutes=1))
    for action in WAYS.get(condition, ()):
        reply = await act(estate, path, action)
        assert reply.status == 200, (condition, action, reply.content)
    return path


async def test_every_cell_of_the_table(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    await allow(estate, group)
    cells = [(condition, action) for condition in Condition for action in KeyAction]
    async with estate.azure.owner(vault) as owner:
        paths: list[str] = []
        for condition in Condition:
            names = (f"{condition}-{action}".replace("_", "-") for action in KeyAction)
            paths += await asyncio.gather(*(in_condition(estate, group, owner, condition, name) for name in names))
        await estate.sync(group)
        for (condition, action), path in zip(cells, paths, strict=True):
            await play(estate, path, condition, action)


async def play(estate: Estate, path: str, condition: Condition, action: KeyAction) -> None:
    before = await estate.api.get(path)
    assert before["state"] == STATES.get(condition, condition.value), (condition, action)
    reply = await act(estate, path, action)
    code = TABLE[condition][action].code
    if (condition, action) == (Condition.PURGED, KeyAction.REIMPORT):
        code = "no_source_key"
    if code is not None:
        assert (reply.status, reply.json["code"]) == (409, code), (condition, action, reply.content)
        after = await estate.api.get(path)
        assert after == {**before, "state_on": after["state_on"]}
        return
    assert reply.status == 200, (condition, action, reply.content)
    assert reply.json["pending"] is None
    assert reply.json["state"] == LEFT_IN.get(action, reply.json["state"]), (condition, action)
    if action is KeyAction.UPDATE:
        assert (reply.json["state"], reply.json["tags"]) == (before["state"], {"seen": "yes"})
    if action is KeyAction.ROTATE:
        assert reply.json["versions_total"] == 2


async def test_a_key_purged_behind_our_back_comes_back_with_all_versions(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    key = await estate.api.post(f"groups/{group}/keys", {"azure_name": "k", "type": "EC", "curve": "P-256"})
    path = f"groups/{group}/keys/{key['id']}"
    await estate.api.post(f"{path}/rotate", {})
    versions = [one["id"] for one in (await estate.api.get(path))["versions"]]
    async with estate.azure.owner(vault) as owner:
        signed = {
            version: (
                await owner.get_cryptography_client("k", key_version=version).sign(SignatureAlgorithm.es256, DIGEST)
            ).signature
            for version in versions
        }
        await owner.delete_key("k")
        await owner.purge_deleted_key("k")
        await estate.sync(group)
        assert (await estate.api.get(path))["state"] == "purged"
        restored = await estate.api.post(f"{path}/restore", {})
        assert (restored["id"], restored["state"]) == (key["id"], "active")
        assert [one["id"] for one in restored["versions"]] == versions
        for version, signature in signed.items():
            client = owner.get_cryptography_client("k", key_version=version)
            assert (await client.verify(SignatureAlgorithm.es256, DIGEST, signature)).is_valid
            assert (await client.sign(SignatureAlgorithm.es256, DIGEST)).signature
    await estate.sync(group)
    assert (await estate.api.get(path))["escrow_pending"] is False
