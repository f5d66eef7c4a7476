"""Keys that a vault generates: once, whatever happens to the answer, and never over a key that is there."""

from azure.keyvault.keys.aio import KeyClient

from local.demo.client import Json, Keysteward
from local.demo.expect import expect
from local.demo.outside import DELETED
from local.demo.stage import Group, Stage

_NOT_FREE = (
    ("card-token-000000", "key_name_taken"),
    ("old-gateway-000000", "key_name_soft_deleted"),
    (DELETED, "key_name_purged"),
)


async def generate(stage: Stage, alice: Keysteward, group: Group, vault: KeyClient) -> None:
    """Generate a key, then ask for names that are not free."""
    show = stage.show
    show.scene("A key is generated in its vault, and one that is there is never overwritten")
    path = f"groups/{group.id}/keys"
    made = await alice.post(path, {"name": "refunds", "type": "EC", "curve": "P-384", "tags": {"env": "prod"}})
    show.answer((name, made[name]) for name in ("name", "state", "type", "curve", "origin", "kid"))
    show.answer([("by", made["created_by"]["name"]), ("in escrow since", made["escrow"][0]["verified_on"])])
    expect("the generated key", (made["type"], made["curve"], made["origin"]), ("EC-HSM", "P-384", "native"))
    expect("its versions in the vault", await versions_in(vault, "refunds"), 1)
    before = await versions_in(vault, _NOT_FREE[0][0])
    show.say("A name that is not free is refused before anything is sent, with the ways out:")
    rows = []
    for azure_name, code in _NOT_FREE:
        problem = await alice.refused("POST", path, {"azure_name": azure_name, "type": "EC"})
        expect(f"answer about the name {azure_name}", (problem["status"], problem["code"]), (409, code))
        rows.append((azure_name, code, _ways(problem)))
    show.table(("Name", "Code", "Ways out"), rows)
    expect("versions of the key that has the name", await versions_in(vault, _NOT_FREE[0][0]), before)
    stage.seen.append(("Generated in a vault", "EC P-384 in the HSM; three names that were not free, refused"))


async def lose_the_answer(stage: Stage, alice: Keysteward, group: Group, vault: KeyClient) -> None:
    """Cut the connection after the vault made a key, and repeat the request."""
    show = stage.show
    show.scene("The vault makes a key and its answer is lost: there is one key, and it is known")
    fault = {"service": "keyvault", "vault": group.vault.seeded.name, "operation": "create_key", "count": 1}
    await stage.control.post("faults", {**fault, "action": {"kind": "cut_after"}})
    body = {"name": "chargebacks", "type": "RSA", "size": 2048}
    made = await alice.post(f"groups/{group.id}/keys", body, once="make-chargebacks")
    show.say("Keysteward asked the vault what had become of it. The caller repeats its request all the same:")
    again = await alice.post(f"groups/{group.id}/keys", body, once="make-chargebacks")
    versions = await versions_in(vault, "chargebacks")
    show.answer([("the same key", again["id"] == made["id"]), ("versions in the vault", versions)])
    expect("the key of the repeated request", again["id"], made["id"])
    expect("its versions in the vault", versions, 1)
    stage.seen.append(("Answer lost, request repeated", "one key, one version"))


async def versions_in(vault: KeyClient, name: str) -> int:
    """Ask the vault itself how many versions a key has."""
    return len([one async for one in vault.list_properties_of_key_versions(name)])


def _ways(problem: Json) -> str:
    return ", ".join(one["way"] for one in problem["ways_out"])
