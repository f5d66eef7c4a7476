"""Transfer blobs: those that `openssl` made come in; ours open with `openssl`, and come in by the SDK as by `az`."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest_asyncio
from azure.keyvault.keys import JsonWebKey, KeyVaultKey

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.material import (
    AES,
    EC,
    RSA,
    a_key,
    asked,
    assert_held,
    base64_of,
    base64url_of,
    named,
    rsa_aes_key_wrap,
    rsa_aes_unwrap,
    transfer_blob,
)

PLACES = {"premium": (*RSA, *EC), "managed_hsm": (*RSA, *EC, *AES)}
CELLS = [(sku, kind) for sku, kinds in PLACES.items() for kind in kinds]
OPERATIONS = {"RSA": ["sign", "verify"], "EC": ["sign", "verify"], "AES": ["encrypt", "decrypt"]}


@dataclass(frozen=True)
class Hardware:
    """A vault with an HSM, its group, and a key exchange key in it whose private half the tests know."""

    estate: Estate
    vault: Vault
    group: str
    exchange_key: KeyVaultKey

    @property
    def blobs(self) -> str:
        return f"groups/{self.group}/transfer-blobs"


@dataclass(frozen=True)
class Scene:
    """Both kinds of vault with an HSM, and a source key of every kind in one group."""

    estate: Estate
    hardware: dict[str, Hardware]
    group: str
    sources: dict[str, Json]

    def source(self, kind: str) -> Json:
        return {"group": self.group, "key": self.sources[kind]["id"]}


async def hardware(estate: Estate, sku: str) -> Hardware:
    """Make a vault, and import a key exchange key into it."""
    vault, group = await estate.vault_group(sku, key_policy={"optional_curves": ["P-256K"]})
    known = a_key(estate.site.ledger, "RSA 2048", 3)
    body = {"azure_name": "known-kek", "operations": ["import"], "material": {"value": base64_of(known.content)}}
    await estate.api.post(f"groups/{group}/keys/import", body)
    async with estate.azure.owner(vault) as owner:
        exchange_key = await owner.get_key("known-kek")
    assert exchange_key.key_operations == ["import"]
    return Hardware(estate, vault, group, exchange_key)


@pytest_asyncio.fixture(scope="module")
async def scene(site: Site) -> Scene:
    estate = await site.estate()
    made = await asyncio.gather(*(hardware(estate, sku) for sku in PLACES))
    group, sources = await estate.source_group(), {}
    for kind in (*RSA, *EC, *AES):
        value = base64_of(a_key(site.ledger, kind).content)
        body = {"name": f"s {kind}", **asked(kind), "permissions": ["export"], "material": {"value": value}}
        sources[kind] = await estate.api.post(f"groups/{group}/keys/import", body)
    return Scene(estate, dict(zip(PLACES, made, strict=True)), group, sources)


async def test_openssl_opens_every_blob_of_ours(scene: Scene) -> None:
    known = a_key(scene.estate.site.ledger, "RSA 2048", 3)
    for sku, kind in CELLS:
        target = scene.hardware[sku]
        body = {"source": scene.source(kind), "key_exchange_key": "known-kek"}
        reply = await scene.estate.api.done("POST", target.blobs, body)
        assert reply.headers["Content-Type"] == "application/octet-stream"
        filename = f"s-{kind.replace(' ', '-')}.byok"
        assert filename in reply.headers["Content-Disposition"]
        blob = reply.json
        assert blob["header"] == {"kid": target.exchange_key.id, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}
        assert (blob["schema_version"], blob["generator"]) == ("1.0.0", "Keysteward")
        ciphertext = base64.urlsafe_b64decode(blob["ciphertext"] + "=" * (-len(blob["ciphertext"]) % 4))
        assert rsa_aes_unwrap(known, ciphertext, "sha1") == a_key(scene.estate.site.ledger, kind).content


async def test_the_sdk_imports_every_blob_of_ours(scene: Scene) -> None:
    async with asyncio.TaskGroup() as playing:
        for sku, kind in CELLS:
            playing.create_task(comes_in_by_the_sdk(scene, scene.hardware[sku], kind))


async def comes_in_by_the_sdk(scene: Scene, target: Hardware, kind: str) -> None:
    blob = (await scene.estate.api.done("POST", target.blobs, {"source": scene.source(kind)})).content
    family, which = kind.split()
    curve = {"crv": which} if family == "EC" else {}
    kty = {"AES": "oct-HSM"}.get(family, f"{family}-HSM")
    # As `az keyvault key import --byok-file` builds it.
    web_key = JsonWebKey(kty=kty, key_ops=OPERATIONS[family], t=blob, **curve)
    async with scene.estate.azure.owner(target.vault) as owner:
        held = await owner.import_key(f"sdk-{named(kind)}", web_key, hardware_protected=False)
        assert held.key_type == kty
        await assert_held(owner, held.name, a_key(scene.estate.site.ledger, kind))


def as_text(blob: bytes) -> str:
    return blob.decode()


def in_single_quotes(blob: bytes) -> str:
    return blob.decode().replace('"', "'")


def with_padding(blob: bytes) -> str:
    whole = json.loads(blob)
    whole["ciphertext"] += "=" * (-len(whole["ciphertext"]) % 4)
    return json.dumps(whole, indent=1)


#: The ways in which tools write a blob.
FORMS: tuple[Callable[[bytes], str], ...] = (as_text, base64_of, base64url_of, in_single_quotes, with_padding)


async def test_every_blob_of_openssl_comes_in(scene: Scene) -> None:
    async with asyncio.TaskGroup() as playing:
        for (sku, kind), write in zip(CELLS, itertools.cycle(FORMS), strict=False):
            playing.create_task(comes_in(scene, scene.hardware[sku], kind, write))


async def comes_in(scene: Scene, target: Hardware, kind: str, write: Callable[[bytes], str]) -> None:
    estate, key = scene.estate, a_key(scene.estate.site.ledger, kind)
    blob = transfer_blob(target.exchange_key, key.content)
    checked = await estate.api.post(f"{target.blobs}/check", {"blob": write(blob), **asked(kind)})
    assert checked == {"usable": True, "kid": target.exchange_key.id, "generator": "openssl", "problems": []}
    names = {"name": f"{kind} into {target.vault.name}", "azure_name": f"in-{named(kind)}"}
    body = {**names, **asked(kind), "blob": write(blob), "tags": {"a": "b"}, "expires_on": "2099-01-01T00:00:00Z"}
    shown = await estate.api.post(f"{target.blobs}/import", body)
    assert (shown["name"], shown["azure_name"], shown["origin"]) == (names["name"], names["azure_name"], "imported")
    assert (shown["tags"], shown["expires_on"]) == (body["tags"], body["expires_on"])
    assert shown["type"].endswith("-HSM")
    assert [one["event"] for one in shown["history"]] == ["key.escrowed", "key.imported"]
    async with estate.azure.owner(target.vault) as owner:
        await assert_held(owner, names["azure_name"], key)


async def test_blobs_are_uploaded(scene: Scene) -> None:
    target, key = scene.hardware["premium"], a_key(scene.estate.site.ledger, "EC P-256")
    blob = transfer_blob(target.exchange_key, key.content)
    checked = await scene.estate.upload(f"{target.blobs}/check", asked("EC P-256"), blob)
    assert checked.json["usable"] is True
    reply = await scene.estate.upload(f"{target.blobs}/import", {"azure_name": "uploaded", **asked("EC P-256")}, blob)
    assert reply.status == 201
    async with scene.estate.azure.owner(target.vault) as owner:
        await assert_held(owner, "uploaded", key)


async def test_what_only_the_hsm_can_tell(scene: Scene) -> None:
    """A blob that looks right and cannot be opened is refused by the vault, and leaves nothing behind."""
    target, key = scene.hardware["premium"], a_key(scene.estate.site.ledger, "EC P-256")
    wrapped = bytearray(rsa_aes_key_wrap(a_key(scene.estate.site.ledger, "RSA 2048").public_pem, key.content))
    blob = transfer_blob(target.exchange_key, key.content, ciphertext=base64url_of(bytes(wrapped)))
    body = {"azure_name": "later", **asked("EC P-256"), "blob": blob.decode()}
    problem = await scene.estate.api.refused("POST", f"{target.blobs}/import", body, status=422, code="vault_refused")
    assert problem["azure_code"] == "BadParameter"
    right = transfer_blob(target.exchange_key, key.content).decode()
    await scene.estate.api.post(f"{target.blobs}/import", {**body, "blob": right})


async def test_blobs_of_ours_take_permissions(scene: Scene) -> None:
    estate, target = scene.estate, scene.hardware["premium"]
    kept = await estate.api.post(f"groups/{scene.group}/keys", {"name": "kept", "type": "EC"})
    body = {"source": {"group": scene.group, "key": kept["id"]}}
    await estate.api.refused("POST", target.blobs, body, status=409, code="key_permission_missing")
    symmetric = {"source": scene.source("AES 256")}
    await estate.api.refused("POST", target.blobs, symmetric, status=422, code="key_not_allowed")
    for role, permission in (("auditor", "key.copy"), ("operator", None)):
        caller = await estate.application({target.group: "operator", scene.group: role})
        reply = await caller.send("POST", target.blobs, {"source": scene.source("EC P-256")})
        assert reply.status == (403 if permission else 200)
        assert permission is None or reply.json["permission"] == permission
    made = (await estate.api.get(f"groups/{scene.group}/keys/{scene.sources['EC P-256']['id']}"))["history"][0]
    assert (made["event"], made["actor"]["kind"]) == ("key.transfer_blob_made", "application")


async def test_a_group_without_an_hsm(estate: Estate) -> None:
    _, standard = await estate.vault_group()
    source = await estate.source_group()
    key = await estate.api.post(f"groups/{source}/keys", {"name": "k", "type": "EC", "permissions": ["export"]})
    for group, code in ((standard, "vault_without_hsm"), (source, "group_kind")):
        blobs = f"groups/{group}/transfer-blobs"
        requests: dict[str, Json] = {
            blobs: {"source": {"group": source, "key": key["id"]}},
            f"{blobs}/check": {"blob": "{}"},
            f"{blobs}/import": {"blob": "{}", "type": "EC", "curve": "P-256", "azure_name": "k"},
        }
        for path, body in requests.items():
            await estate.api.refused("POST", path, body, status=409, code=code)
        assert await estate.api.pages(f"groups/{group}/key-exchange-keys") == []
