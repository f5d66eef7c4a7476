"""Source keys: made in Keysteward, copied to vaults of every tier in one call, and what happens to a copy."""

import asyncio
import base64
from dataclasses import dataclass
from time import monotonic

from azure.keyvault.keys.aio import KeyClient

from local.demo.client import Json, Keysteward
from local.demo.expect import UnexpectedError, expect
from local.demo.outside import Clients
from local.demo.scenes.syncing import sync
from local.demo.stage import Group, Stage

_SECONDS_BETWEEN_POLLS = 0.2
_LONGEST_COPY = 60.0
_TYPES = {"payments": "RSA-HSM", "webshop": "RSA", "roots": "RSA-HSM"}


@dataclass(frozen=True, slots=True)
class SourceKey:
    """A source key of the demo: its group's id, and its detail."""

    group: str
    detail: Json

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.detail["id"])

    @property
    def path(self) -> str:
        """Where it is, below the account."""
        return f"groups/{self.group}/keys/{self.id}"

    @property
    def modulus(self) -> str:
        """Its public modulus, base64url."""
        return str(self.detail["versions"][0]["public_key"]["n"])


async def make_source_key(stage: Stage, alice: Keysteward) -> SourceKey:
    """Make a source group with a key that may be copied."""
    show = stage.show
    show.scene("A source key: its material is in Keysteward, sealed, and nowhere in Azure yet")
    group = await alice.post("groups", {"kind": "source", "title": "Own keys"})
    body = {"name": "master", "type": "RSA", "size": 3072, "permissions": ["export", "sign", "verify"]}
    made = await alice.post(f"groups/{group['id']}/keys", {**body, "tags": {"owner": "treasury"}})
    show.answer((name, made[name]) for name in ("name", "kind", "state", "type", "size"))
    show.answer([("permissions of the key itself", ", ".join(made["permissions"])), ("kid", made["kid"] or "-")])
    expect("the source key", (made["kind"], made["kid"], made["versions_total"]), ("source", None, 1))
    return SourceKey(group["id"], made)


async def copy_to_all(
    stage: Stage, alice: Keysteward, source: SourceKey, groups: list[Group], clients: Clients
) -> list[Json]:
    """Copy it to three vaults in one call; return the results."""
    show = stage.show
    show.scene("One call copies it to a premium vault's HSM, a standard vault and a managed HSM")
    job = await alice.post(f"{source.path}/copies", {"targets": [{"group": group.id} for group in groups]})
    job = await ended(alice, job)
    expect("end of the copies", (job["status"], job["progress"]["errors"]), ("succeeded", []))
    results: list[Json] = job["results"]
    rows = []
    for group, result in zip(groups, results, strict=True):
        name = group.vault.seeded.name
        key = await alice.get(f"groups/{group.id}/keys/{result['key']}", quiet=True)
        expect(f"type of the copy in {name}", (key["type"], key["origin"]), (_TYPES[name], "keysteward"))
        expect(f"public key of the copy in {name}", await modulus_in(clients[name], key["azure_name"]), source.modulus)
        rows.append((group.title, result["name"], result["status"], key["azure_name"], key["type"]))
    show.table(("Group", "Copy", "Result", "Name in the vault", "Type"), rows)
    links = (await alice.get(f"{source.path}/copies"))["items"]
    expect("links of the source key", {one["key"] for one in links}, {one["key"] for one in results})
    show.say(
        "Asked with the official SDK, each vault shows the public key of the source key. Each end links the other."
    )
    stage.seen.append(("Copied in one call", "RSA 3072 to three vaults, two of them by transfer blob"))
    return results


async def change_a_copy(
    stage: Stage, alice: Keysteward, source: SourceKey, group: Group, copy: str, vault: KeyClient
) -> None:
    """Make a new version of a copy behind Keysteward's back: it is no copy any more."""
    show = stage.show
    show.scene("An administrator makes a new version of a copy: it is the source key no more")
    path = f"groups/{group.id}/keys/{copy}"
    azure_name = (await alice.get(path, quiet=True))["azure_name"]
    await vault.create_rsa_key(azure_name, size=3072)
    await sync(stage, alice, [group])
    key = await alice.get(path)
    show.answer([("drift", ", ".join(one["kind"] for one in key["drift"]))])
    show.answer([("material matches that of its source", key["copied_from"]["material_matches"])])
    expect("drift of the copy", [one["kind"] for one in key["drift"]], ["material", "new_version"])
    expect("whether the material matches", key["copied_from"]["material_matches"], wanted=False)
    findings = await alice.pages("findings", {"group": group.id})
    found = [(one["code"], one["severity"]) for one in findings if one["key"] == copy]
    show.answer([("finding", ", ".join(f"{code} ({severity})" for code, severity in found))])
    expect("findings about the copy", found, [("material_drift", "critical"), ("drift", "notice")])
    stage.seen.append(("A copy changed in Azure", f"{source.detail['name']}: material drift, a critical finding"))


async def ended(alice: Keysteward, job: Json) -> Json:
    """Wait for the end of a job, and return it."""
    began = monotonic()
    while job["status"] not in {"succeeded", "failed", "cancelled"}:
        if monotonic() - began > _LONGEST_COPY:
            raise UnexpectedError(f"the copies did not end within {_LONGEST_COPY:.0f} s")
        await asyncio.sleep(_SECONDS_BETWEEN_POLLS)
        job = await alice.get(f"jobs/{job['id']}", quiet=True)
    return job


async def modulus_in(vault: KeyClient, name: str) -> str:
    """Ask a vault for the modulus of its RSA key, base64url."""
    key = (await vault.get_key(name)).key
    modulus: bytes = key.n  # type: ignore[attr-defined]  # set at run time
    return base64.urlsafe_b64encode(modulus).decode().rstrip("=")
