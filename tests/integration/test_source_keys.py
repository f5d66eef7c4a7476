"""Source keys: versions, permissions, public keys, and exports that `openssl` reads."""

import asyncio
import base64
from dataclasses import dataclass

import pytest_asyncio
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from tests.integration.client import Api, Json
from tests.integration.estate import Estate, Site
from tests.integration.material import (
    AES,
    EC,
    PASSPHRASE,
    RSA,
    Key,
    a_key,
    asked,
    base64_of,
    key_wrap,
    pem,
    read,
    rsa_aes_unwrap,
)

ALL = (*RSA, *EC, *AES)


@dataclass(frozen=True)
class Sources:
    """A source group with an imported key of every kind that may be exported, and keys to wrap under."""

    estate: Estate
    group: str
    keys: dict[str, Json]
    wrapping: dict[str, Json]

    @property
    def api(self) -> Api:
        return self.estate.api

    def key(self, kind: str, number: int = 0) -> Key:
        return a_key(self.estate.site.ledger, kind, number)

    def path(self, kind: str) -> str:
        return f"groups/{self.group}/keys/{self.keys[kind]['id']}"

    async def exported(self, kind: str, **body: object) -> Json:
        answer: Json = await self.api.post(f"{self.path(kind)}/export", body)
        return answer


async def imported(estate: Estate, group: str, key: Key, name: str, **members: object) -> Json:
    body = {"name": name, **asked(key.kind), "material": {"value": base64_of(key.content)}, **members}
    made: Json = await estate.api.post(f"groups/{group}/keys/import", body)
    return made


@pytest_asyncio.fixture(scope="module")
async def sources(site: Site) -> Sources:
    estate = await site.estate()
    group = await estate.source_group()
    await estate.allow_export(group)
    keys = {kind: await imported(estate, group, a_key(site.ledger, kind), kind, permissions=["export"]) for kind in ALL}
    wrapping = {}
    for kind in (*AES, "RSA 2048"):
        key = a_key(site.ledger, kind, 2)
        made = await imported(estate, group, key, f"wraps {kind}", permissions=["wrap"])
        wrapping[kind] = {"group": group, "key": made["id"]}
    return Sources(estate, group, keys, wrapping)


async def test_the_public_key_of_every_kind(sources: Sources) -> None:
    for kind in (*RSA, *EC):
        shown = await sources.api.get(f"{sources.path(kind)}/public-key")
        assert shown["pem"] == sources.key(kind).public_pem
        assert shown["jwk"]["kty"] == asked(kind)["type"]
        assert not {"d", "p", "q", "k"} & shown["jwk"].keys()
    for kind in AES:
        path = f"{sources.path(kind)}/public-key"
        await sources.api.refused("GET", path, status=400, code="public_key_not_available")


async def test_plain_exports_are_read_by_other_tools(sources: Sources) -> None:
    for kind in (*RSA, *EC):
        key = sources.key(kind)
        as_pem, as_der = [await sources.exported(kind, format=format_) for format_ in ("pem", "der")]
        assert read(as_pem["value"]) == key.content
        assert base64.b64decode(as_der["value"]) == key.content
        assert (as_pem["encoding"], as_der["encoding"], as_der["version"]) == ("pem", "base64", 1)
    for kind in AES:
        raw = await sources.exported(kind, format="raw")
        assert base64.b64decode(raw["value"]) == sources.key(kind).content


async def test_exports_under_a_passphrase(sources: Sources) -> None:
    for kind in ("RSA 2048", "EC P-521"):
        key = sources.key(kind)
        shown = await sources.exported(kind, format="pem", passphrase=PASSPHRASE)
        assert "ENCRYPTED" in shown["value"]
        assert read(shown["value"], "-passin", f"pass:{PASSPHRASE}") == key.content
        assert load_pem_private_key(shown["value"].encode(), PASSPHRASE.encode())
        der = base64.b64decode((await sources.exported(kind, format="der", passphrase=PASSPHRASE))["value"])
        loaded = load_der_private_key(der, PASSPHRASE.encode())
        assert loaded.private_numbers() == key.private.private_numbers()


async def test_wrapped_exports_are_unwrapped_by_openssl(sources: Sources) -> None:
    for kind in ALL:
        content = sources.key(kind).content
        for wrapping_kind in AES:
            shown = await sources.exported(kind, wrap=sources.wrapping[wrapping_kind])
            assert (shown["wrapped_with"], shown["format"]) == ("AES-KWP", None)
            wrapped = base64.b64decode(shown["value"])
            assert key_wrap(sources.key(wrapping_kind, 2).content, wrapped, "-d") == content
        for digest in ("sha256", "sha1"):
            said = {} if digest == "sha256" else {"oaep_hash": digest}
            shown = await sources.exported(kind, wrap={**sources.wrapping["RSA 2048"], **said})
            assert shown["wrapped_with"] == "RSA-AES-KEY-WRAP"
            wrapped = base64.b64decode(shown["value"])
            assert rsa_aes_unwrap(sources.key("RSA 2048", 2), wrapped, digest) == content


async def test_an_export_is_in_the_history_of_the_key(sources: Sources) -> None:
    kind = "EC P-256"
    await sources.exported(kind, format="pem")
    await sources.exported(kind, format="der", passphrase=PASSPHRASE)
    await sources.exported(kind, wrap=sources.wrapping["AES 256"])
    history = (await sources.api.get(sources.path(kind)))["history"]
    newest = history[:3][::-1]
    assert [one["event"] for one in newest] == ["key.exported", "key.exported", "key.exported_wrapped"]
    assert [one["actor"]["kind"] for one in newest] == ["user"] * 3
    wrapping = sources.wrapping["AES 256"]["key"]
    assert [one["detail"] for one in newest] == [
        "version 1, in the clear",
        "version 1, under a passphrase",
        f"version 1, wrapped under {wrapping}",
    ]


async def test_exports_that_do_not_fit(sources: Sources) -> None:
    ec, aes = "EC P-256", "AES 128"
    wrap, unsuitable = sources.wrapping["AES 256"], (400, "export_format_unsuitable")
    cases: list[tuple[str, Json, tuple[int, str]]] = [
        (ec, {}, unsuitable),
        (ec, {"format": "raw"}, unsuitable),
        (aes, {"format": "pem"}, unsuitable),
        (aes, {"format": "raw", "passphrase": "x"}, unsuitable),
        (ec, {"wrap": wrap, "format": "pem"}, unsuitable),
        (ec, {"wrap": wrap, "passphrase": "x"}, unsuitable),
        (ec, {"wrap": {**wrap, "algorithm": "RSA-AES-KEY-WRAP"}}, (409, "wrapping_key_unsuitable")),
        (ec, {"wrap": {"group": sources.group, "key": sources.keys[aes]["id"]}}, (409, "key_permission_missing")),
        (ec, {"format": "pem", "version": 2}, (404, "key_version_not_found")),
    ]
    before = {kind: (await sources.api.get(sources.path(kind)))["history_total"] for kind in (ec, aes)}
    for kind, body, (status, code) in cases:
        await sources.api.refused("POST", f"{sources.path(kind)}/export", body, status=status, code=code)
    once = {"Idempotency-Key": "never"}
    body = {"format": "pem"}
    await sources.api.refused(
        "POST", f"{sources.path(ec)}/export", body, status=400, code="idempotency_not_offered", headers=once
    )
    for kind, total in before.items():
        assert (await sources.api.get(sources.path(kind)))["history_total"] == total, "nothing was given away"


async def test_an_export_needs_the_callers_permission_and_the_keys(estate: Estate) -> None:
    group, other = await estate.source_group(), await estate.source_group()
    key = await estate.api.post(f"groups/{group}/keys", {"name": "exportable", "type": "EC", "permissions": ["export"]})
    wrapping = await estate.api.post(f"groups/{other}/keys", {"name": "wrapping", "type": "AES"})
    path = f"groups/{group}/keys/{key['id']}/export"
    wrapped = {"wrap": {"group": other, "key": wrapping["id"]}}
    for body in ({"format": "pem"}, wrapped):
        problem = await estate.api.refused("POST", path, body, status=403, code="not_permitted")
        assert problem["permission"] == "key.export"
    await estate.allow_export(group)
    await estate.api.post(path, {"format": "pem"})
    await estate.api.post(path, wrapped)
    keeper = await estate.application({group: "operator", other: "auditor"})
    await keeper.refused("POST", path, wrapped, status=403, code="not_permitted")
    kept = await estate.api.post(f"groups/{group}/keys", {"name": "kept", "type": "EC"})
    problem = await estate.api.refused(
        "POST",
        f"groups/{group}/keys/{kept['id']}/export",
        {"format": "pem"},
        status=409,
        code="key_permission_missing",
    )
    assert (problem["key"], problem["permission"]) == (kept["id"], "export")
    disabled = {"name": "off", "type": "EC", "permissions": ["export"], "enabled": False}
    off = await estate.api.post(f"groups/{group}/keys", disabled)
    off_path = f"groups/{group}/keys/{off['id']}/export"
    await estate.api.refused("POST", off_path, {"format": "pem"}, status=409, code="key_not_active")


async def test_a_virtual_key_gives_nothing_away(estate: Estate) -> None:
    _, group = await estate.vault_group()
    await estate.allow_export(group)
    key = await estate.api.post(f"groups/{group}/keys", {"azure_name": "k", "type": "EC"})
    path = f"groups/{group}/keys/{key['id']}"
    requests = {"export": {"format": "pem"}, "versions": {}, "copies": {"targets": [{"group": group}]}}
    for part, body in requests.items():
        await estate.api.refused("POST", f"{path}/{part}", body, status=409, code="virtual_key")
    await estate.api.refused("GET", f"{path}/copies", status=409, code="virtual_key")


async def test_versions_are_generated_and_imported(estate: Estate) -> None:
    group, ledger = await estate.source_group(), estate.site.ledger
    await estate.allow_export(group)
    first, second = (a_key(ledger, "EC P-384", number) for number in (0, 1))
    key = await imported(estate, group, first, "k", permissions=["export", "sign"])
    path = f"groups/{group}/keys/{key['id']}"
    versions, once = f"{path}/versions", {"Idempotency-Key": "third"}
    await estate.api.post(versions, {"material": {"value": pem(second)}})
    reply = await estate.upload(versions, {"expires_on": "2099-01-01T00:00:00Z"}, first.content)
    assert reply.status == 200, reply.content
    for _ in range(2):
        shown = (await estate.api.done("POST", versions, headers=once)).json
    assert (shown["versions_total"], shown["id"], shown["permissions"]) == (4, key["id"], ["export", "sign"])
    assert [one["number"] for one in await estate.api.pages(versions)] == [4, 3, 2, 1]
    assert [one["expires_on"] for one in shown["versions"]] == [None, "2099-01-01T00:00:00Z", None, None]
    held = {1: first, 2: second, 3: first}
    for number, material in held.items():
        public = await estate.api.get(f"{path}/public-key", version=str(number))
        assert (public["pem"], public["number"]) == (material.public_pem, number)
        exported = await estate.api.post(f"{path}/export", {"format": "der", "version": number})
        assert base64.b64decode(exported["value"]) == material.content
    newest = await estate.api.get(f"{path}/public-key")
    assert newest["pem"] not in {first.public_pem, second.public_pem}
    await estate.api.refused(
        "GET", f"{path}/public-key", query={"version": "5"}, status=404, code="key_version_not_found"
    )
    other = {"material": {"value": pem(a_key(ledger, "EC P-256"))}}
    problem = await estate.api.refused("POST", versions, other, status=400, code="material_curve_mismatch")
    assert problem["field"] == "material"
    stale = {"If-Match": '"stale"'}
    await estate.api.refused("POST", versions, status=412, code="stale_write", headers=stale)


async def test_versions_asked_for_at_once_are_all_made(estate: Estate) -> None:
    group = await estate.source_group()
    key = await estate.api.post(f"groups/{group}/keys", {"name": "k", "type": "AES", "size": 128})
    path = f"groups/{group}/keys/{key['id']}/versions"
    replies = await asyncio.gather(*(estate.api.send("POST", path) for _ in range(4)))
    made = [reply for reply in replies if reply.status == 200]
    assert made
    assert {(reply.status, reply.json.get("code")) for reply in replies if reply.status != 200} <= {
        (412, "stale_write")
    }
    assert [one["number"] for one in await estate.api.pages(path)] == list(range(len(made) + 1, 0, -1))
