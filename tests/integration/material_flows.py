"""Every flow in which key material passes through Keysteward, and everything that it answers meanwhile."""

import asyncio
import base64
from collections.abc import Mapping

from tests.integration.azure import Vault
from tests.integration.client import Api, Json, Reply
from tests.integration.estate import Estate
from tests.integration.material import (
    FORMS,
    PASSPHRASE,
    Key,
    a_key,
    asked,
    base64_of,
    encrypted_pem,
    key_wrap,
    pem,
    rsa_aes_key_wrap,
    transfer_blob,
)

RSA, EC, AES = "RSA 2048", "EC P-384", "AES 256"


class Overheard(Api):
    """A caller whose answers are kept; those that give material away on purpose are not."""

    answers: list[tuple[str, bytes]]

    @classmethod
    def instead_of(cls, api: Api) -> "Overheard":
        """Return the same caller, overheard."""
        overheard = cls(api._session, api._root, api._headers, api.prefix)
        overheard.answers = []
        return overheard

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send, and keep what is answered."""
        reply = await super().send(method, path, body, query=query, headers=headers)
        if not (isinstance(body, dict) and body.get("format") and not body.get("passphrase")):
            self.answers.append((f"{method} {path}", b"%r" % (dict(reply.headers),) + reply.content))
        return reply


async def every_flow(estate: Estate) -> list[tuple[str, bytes]]:
    """Play all flows, and return what was answered: each request with its answer."""
    estate.api = heard = Overheard.instead_of(estate.api)
    estate.site.ledger.add("passphrase", PASSPHRASE)
    source = await estate.source_group()
    await estate.allow_export(source)
    await _imports(estate, heard, source)
    await _generated(estate, source)
    await _exports(estate, source)
    await _copies(estate, source)
    await _rotations(estate, source)
    await _transfers(estate, source)
    await _refusals(estate, source)
    for key in await heard.pages("keys", limit="200"):
        path = f"groups/{key['group']}/keys/{key['id']}"
        parts = ("", "/versions", "/public-key", "/copies")
        await asyncio.gather(*(heard.send("GET", path + part) for part in parts))
    await heard.pages("jobs")
    return heard.answers


def _key(estate: Estate, kind: str) -> Key:
    return a_key(estate.site.ledger, kind, 7)


async def _keep(estate: Estate, source: str, kind: str) -> Json:
    """Import a key into the source group; its name is its kind."""
    body = {"name": kind, **asked(kind), "material": {"value": base64_of(_key(estate, kind).content)}}
    body["permissions"] = ["export", "sign"] if kind == EC else ["export", "wrap", "unwrap"]
    key: Json = await estate.api.post(f"groups/{source}/keys/import", body)
    return {"group": source, "key": key["id"]}


async def _imports(estate: Estate, heard: Overheard, source: str) -> None:
    """In every form, to every kind of place, in the clear, wrapped, as a file, and repeated after a cut connection."""
    made = await asyncio.gather(*map(estate.vault_group, ("standard", "premium", "managed_hsm")))
    groups = [source, *(group for _, group in made)]
    wrapping = {kind: await _keep(estate, source, kind) for kind in (RSA, AES)}
    await _keep(estate, source, EC)
    under_aes = key_wrap(_key(estate, AES).content, _key(estate, EC).content)
    under_rsa = rsa_aes_key_wrap(_key(estate, RSA).public_pem, _key(estate, EC).content)
    async with asyncio.TaskGroup() as playing:
        for number, group in enumerate(groups):
            path, named = f"groups/{group}/keys/import", "name" if group == source else "azure_name"
            forms = list(FORMS.values())[: None if number < len(groups) // 2 else 2]
            materials = [write(_key(estate, RSA if at == number % 2 else EC)) for at, write in enumerate(forms)]
            materials += [{"value": base64_of(under_aes), "unwrap": wrapping[AES]}]
            materials += [{"value": base64_of(under_rsa), "unwrap": wrapping[RSA]}]
            for at, material in enumerate(materials):
                body = {named: f"form-{number}-{at}", "material": material}
                playing.create_task(estate.api.done("POST", path, body))
            playing.create_task(_upload(estate, heard, path, {named: f"file-{number}"}))
        playing.create_task(_repeated(estate, *made[0]))
    material = {"value": _key(estate, AES).content.hex()}
    await estate.api.post(f"groups/{groups[3]}/keys/import", {"azure_name": "aes", **asked(AES), "material": material})


async def _repeated(estate: Estate, vault: Vault, group: str) -> None:
    """Import again what the vault failed to."""
    path, once = f"groups/{group}/keys/import", {"Idempotency-Key": "repeated"}
    body = {"azure_name": "repeated", "material": {"value": pem(_key(estate, RSA))}}
    failure = {"kind": "respond", "status": 503}
    async with estate.azure.fault(vault, failure, operation="import_key", path="/repeated", count=1):
        replies = [await estate.api.send("POST", path, body, headers=once) for _ in range(2)]
    assert [reply.status for reply in replies] == [503, 201]


async def _upload(estate: Estate, heard: Overheard, path: str, request: Json) -> None:
    reply = await estate.upload(path, request, pem(_key(estate, EC)).encode())
    assert reply.status == 201, reply.content
    heard.answers.append((f"upload {path}", reply.content))


async def _generated(estate: Estate, source: str) -> None:
    """Generate material, and learn what it is by an export."""
    for kind in ("EC P-256", "AES 192"):
        body = {"name": f"generated {kind}", **asked(kind), "permissions": ["export"]}
        key = await estate.api.post(f"groups/{source}/keys", body)
        path = f"groups/{source}/keys/{key['id']}"
        await estate.api.post(f"{path}/versions")
        for version in (1, 2):
            form = "raw" if kind.startswith("AES") else "der"
            exported = await estate.api.post(f"{path}/export", {"format": form, "version": version})
            content = base64.b64decode(exported["value"])
            if form == "raw":
                estate.site.ledger.add_bytes("generated", content)
            else:
                estate.site.ledger.add_private_key("generated", Key(kind, content).private)


async def _exports(estate: Estate, source: str) -> None:
    """In the clear, under a passphrase, and wrapped."""
    keys = {key["name"]: key["id"] for key in await estate.api.pages("keys", group=source, limit="200")}
    for kind in (RSA, EC, AES):
        path = f"groups/{source}/keys/{keys[kind]}/export"
        await estate.api.post(path, {"format": "raw" if kind == AES else "pem"})
        if kind != AES:
            await estate.api.post(path, {"format": "pem", "passphrase": PASSPHRASE})
        for wrapping in (RSA, AES):
            await estate.api.post(path, {"wrap": {"group": source, "key": keys[wrapping]}})


async def _copies(estate: Estate, source: str) -> None:
    """To every kind of place, with one that fails."""
    keys = {key["name"]: key["id"] for key in await estate.api.pages("keys", group=source, limit="200")}
    groups = [group["id"] for group in await estate.api.pages("groups")]
    taken = {"group": next(group for group in groups if group != source), "azure_name": "form-1-0"}
    body = {"targets": [*({"group": group} for group in groups), taken]}
    job = await estate.api.post(f"groups/{source}/keys/{keys[EC]}/copies", body)
    await estate.settled(job)


async def _rotations(estate: Estate, source: str) -> None:
    """A source key with its copies, to material that is given; and material that does not fit."""
    keys = {key["name"]: key["id"] for key in await estate.api.pages("keys", group=source, limit="200")}
    path = f"groups/{source}/keys/{keys[EC]}/rotate"
    new = {"value": pem(a_key(estate.site.ledger, EC, 8))}
    job = await estate.settled(await estate.api.post(path, {"copies": "all", "material": new}))
    assert {result["status"] for result in job["results"]} == {"done"}, job
    await estate.api.refused(
        "POST", path, {"material": {"value": pem(_key(estate, RSA))}}, status=400, code="material_type_mismatch"
    )


async def _transfers(estate: Estate, source: str) -> None:
    """Blobs of ours, and blobs that are checked and imported."""
    keys = {key["name"]: key["id"] for key in await estate.api.pages("keys", group=source, limit="200")}
    vault, group = await estate.vault_group("managed_hsm")
    path = f"groups/{group}/transfer-blobs"
    for kind in (RSA, EC, AES):
        await estate.api.done("POST", path, {"source": {"group": source, "key": keys[kind]}})
    (made,) = await estate.api.pages(f"groups/{group}/key-exchange-keys")
    async with estate.azure.owner(vault) as owner:
        blob = transfer_blob(await owner.get_key(made["azure_name"]), _key(estate, RSA).content).decode()
    await estate.api.post(f"{path}/check", {"blob": blob, **asked(RSA)})
    await estate.api.post(f"{path}/import", {"azure_name": "k", "blob": blob, **asked(RSA)})


async def _refusals(estate: Estate, source: str) -> None:
    """Good material in bad requests, and bad material."""
    key = _key(estate, RSA)
    under_passphrase = {"value": encrypted_pem(key)}
    bodies: list[Json] = [
        {"name": "k", **asked("RSA 3072"), "material": {"value": pem(key)}},
        {"name": "k", **asked(EC), "material": {"value": pem(key)}},
        {"name": "k", "material": {"value": pem(key)[:-9]}},
        {"name": "k", "material": {"value": key.content.hex() + "0"}},
        {"name": "k", "material": {"value": base64_of(key.content), "encoding": "pem"}},
        {"name": "k", "material": {**under_passphrase, "passphrase": PASSPHRASE + "?"}},
        {"name": "k", "material": under_passphrase},
        {"name": "k", "material": {"value": pem(key), "passphrase": PASSPHRASE}},
        {"name": "a/b", "material": {"value": pem(key)}},
        {"name": "k", "material": {"value": [pem(key)]}},
        {"name": "k", "material": {"value": pem(key), "key": pem(key)}},
        {"name": "k", "material": {"value": pem(key), "encoding": key.content.hex()}},
        {"name": "k", "type": pem(key), "material": {"value": "x"}},
        {"name": "k", "material": pem(key)},
    ]
    for body in bodies:
        reply = await estate.api.send("POST", f"groups/{source}/keys/import", body)
        assert reply.status == 400, (reply.status, reply.content)
