"""Keys that Keysteward has generated: every kind in every place that takes it, and nothing where it is not taken."""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from azure.keyvault.keys import KeyVaultKey

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate
from tests.integration.material import AES, EC, RSA, asked, base64url_of, named

NIST = EC[:3]
SOFTWARE, HSM = {"protection": "software"}, {"protection": "hsm"}
#: Which kinds are where, as the specification's chapter 6 says. A premium vault takes P-256K where a policy adds it.
PLACES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("source", ""): (*RSA, *EC, *AES),
    ("standard", "software"): (*RSA, *EC),
    ("standard", "hsm"): (),
    ("premium", "software"): (*RSA, *NIST),
    ("premium", "hsm"): (*RSA, *NIST),
    ("managed_hsm", "software"): (),
    ("managed_hsm", "hsm"): (*RSA, *EC, *AES),
}
OPERATIONS = {
    "RSA": {"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"},
    "EC": {"sign", "verify"},
    "AES": {"encrypt", "decrypt", "wrapKey", "unwrapKey"},
}
PERMISSIONS = {
    "RSA": ["sign", "verify", "encrypt", "decrypt", "wrap", "unwrap"],
    "EC": ["sign", "verify"],
    "AES": ["encrypt", "decrypt", "wrap", "unwrap"],
}
BEGIN = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
END = BEGIN + timedelta(days=365)
DATES = {"not_before": BEGIN.isoformat(), "expires_on": END.isoformat()}
POLICY = {"version": "1.0.0", "anyOf": [{"authority": "https://attest.example.net", "allOf": []}]}
EXPORTABLE = {"exportable": True, "release_policy": {"data": POLICY, "immutable": True}}

type Groups = dict[str, tuple[Vault | None, str]]


async def groups_of(estate: Estate) -> Groups:
    """Make a group for every kind of vault, and one for source keys."""
    skus = ("standard", "premium", "managed_hsm")
    made = await asyncio.gather(*map(estate.vault_group, skus))
    return {**dict(zip(skus, made, strict=True)), "source": (None, await estate.source_group())}


def wanted(kind: str, sku: str, protection: str) -> Json:
    """Return the request for a key of this kind; its names tell it from the others."""
    name = f"{named(kind)} {sku} {protection}".strip()
    if sku == "source":
        return {"name": name, **asked(kind)}
    azure_name = f"{named(kind)}-{protection}"
    return {"name": name, "azure_name": azure_name, "protection": protection, **asked(kind)}


async def test_every_kind_where_it_is_taken(estate: Estate) -> None:
    groups = await groups_of(estate)
    async with asyncio.TaskGroup() as playing:
        for (sku, protection), kinds in PLACES.items():
            vault, group = groups[sku]
            for kind in kinds:
                body = wanted(kind, sku, protection)
                scenario = in_a_vault(estate, vault, group, body) if vault else in_a_source_group(estate, group, body)
                playing.create_task(scenario)
    for sku, (vault, group) in groups.items():
        count = sum(len(kinds) for (in_sku, _), kinds in PLACES.items() if in_sku == sku)
        assert len(await estate.api.pages("keys", group=group, limit="200")) == count
        if vault is not None:
            # What was recorded is what a sync would have found.
            assert (await estate.sync(group))["progress"]["counts"] == {"discovered": count, "unchanged": count}
            assert await estate.keys(group, drifted="true") == {}
            assert await estate.azure.requests(vault, status=429) == {}, "the vault had to refuse nothing"


async def in_a_vault(estate: Estate, vault: Vault, group: str, body: Json) -> None:
    reply = await estate.api.done("POST", f"groups/{group}/keys", body)
    key = reply.json
    assert reply.status == 201
    assert reply.headers["Location"].endswith(f"/groups/{group}/keys/{key['id']}")
    assert_native(key, group)
    name, family = body["azure_name"], body["type"]
    assert (key["name"], key["azure_name"]) == (body["name"], name)
    assert key["resource_id"] == f"{vault.resource_id}/keys/{name}"
    assert key["type"] == {"AES": "oct"}.get(family, family) + ("-HSM" if body["protection"] == "hsm" else "")
    assert (key["curve"], set(key["operations"])) == (body.get("curve"), OPERATIONS[family])
    if family == "RSA":
        assert key["size"] == body["size"]
    async with estate.azure.owner(vault) as owner:
        assert_as_held(key, await owner.get_key(name))
        versions = [one.id async for one in owner.list_properties_of_key_versions(name)]
    assert versions == [key["versions"][0]["kid"]]
    assert await estate.api.get(f"groups/{group}/keys/{key['id']}") | {"state_on": key["state_on"]} == key


def assert_native(key: Json, group: str) -> None:
    """Check what only Keysteward knows of a key that a vault generated for it a moment ago."""
    (version,) = key["versions"]
    assert (key["kind"], key["origin"], key["state"], key["copied_from"]) == ("virtual", "native", "active", None)
    assert key["created_by"]["kind"] == "user"
    assert (key["group"]["id"], key["group"]["connection"]) == (group, "connected")
    assert [one["versions"] for one in key["escrow"]] == [[version["id"]]], "it is escrowed at once"
    assert (key["escrow_pending"], key["escrow_problem"], key["drift"]) == (False, None, [])
    assert [one["event"] for one in key["history"]] == ["key.escrowed", "key.created"]
    assert {one["actor"]["id"] for one in key["history"]} == {key["created_by"]["id"]}


def assert_as_held(key: Json, held: KeyVaultKey) -> None:
    """Check that Keysteward shows what the vault holds."""
    (version,) = key["versions"]
    assert (version["kid"], key["kid"]) == (held.id, held.id.rpartition("/")[0])
    assert (key["type"], key["curve"]) == (held.key_type.value, held.key.crv)
    assert sorted(key["operations"]) == sorted(held.key_operations)
    assert version["public_key"]["n"] == (base64url_of(held.key.n) if held.key.n else None)
    assert version["public_key"]["thumbprint"] == thumbprint_of(held)
    properties = held.properties
    assert (key["enabled"], key["tags"]) == (properties.enabled, properties.tags or {})
    assert (key["not_before"], key["expires_on"]) == (shown(properties.not_before), shown(properties.expires_on))
    assert version["exportable"] == bool(properties.exportable)


def thumbprint_of(held: KeyVaultKey) -> str | None:
    """Return the JWK thumbprint (RFC 7638) of what a vault holds."""
    jwk = held.key
    if jwk.n is not None:
        members = {"e": base64url_of(jwk.e), "kty": "RSA", "n": base64url_of(jwk.n)}
    elif jwk.x is not None:
        curve = {"P-256K": "secp256k1"}.get(jwk.crv, jwk.crv)
        members = {"crv": curve, "kty": "EC", "x": base64url_of(jwk.x), "y": base64url_of(jwk.y)}
    else:
        return None
    return base64url_of(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def shown(when: datetime | None) -> str | None:
    return when.isoformat().replace("+00:00", "Z") if when else None


async def in_a_source_group(estate: Estate, group: str, body: Json) -> None:
    key = await estate.api.post(f"groups/{group}/keys", body)
    assert (key["kind"], key["origin"], key["state"], key["azure_name"]) == ("source", "keysteward", "active", None)
    assert {name: key[name] for name in ("name", "type")} == {name: body[name] for name in ("name", "type")}
    assert (key["size"], key["curve"]) == (body.get("size"), body.get("curve"))
    assert (key["permissions"], key["operations"]) == (PERMISSIONS[body["type"]], [])
    assert (key["kid"], key["resource_id"], key["escrow"], key["escrow_pending"]) == (None, None, [], False)
    assert [one["event"] for one in key["history"]] == ["key.created"]


async def test_no_kind_where_it_is_not_taken(estate: Estate) -> None:
    groups = await groups_of(estate)
    vaults = [vault for vault, _ in groups.values() if vault]
    before = [await estate.azure.requests(vault) for vault in vaults]
    refused = [
        (sku, protection, kind)
        for (sku, protection), kinds in PLACES.items()
        for kind in (*RSA, *EC, *AES)
        if kind not in kinds
    ]
    assert len(refused) == 31
    await asyncio.gather(
        *(is_refused(estate, groups[sku][1], sku, protection, kind) for sku, protection, kind in refused)
    )
    assert [await estate.azure.requests(vault) for vault in vaults] == before, "nothing was sent"
    assert await estate.api.pages("keys") == []


async def is_refused(estate: Estate, group: str, sku: str, protection: str, kind: str) -> None:
    body = wanted(kind, sku, protection)
    problem = await estate.api.refused("POST", f"groups/{group}/keys", body, status=422, code="key_not_allowed")
    lacks_protection = not PLACES[sku, protection]
    expected = "protection" if lacks_protection else "type" if kind in AES else "curve"
    assert [one["field"] for one in problem["violations"]] == [expected]
    assert problem["field"] == expected


async def test_a_policy_adds_a_curve_to_a_premium_vault(estate: Estate) -> None:
    vault, group = await estate.vault_group("premium")
    body = {"name": "k", "type": "EC", "curve": "P-256K"}
    problem = await estate.api.refused("POST", f"groups/{group}/keys", body, status=422, code="key_not_allowed")
    assert "policy" in problem["violations"][0]["detail"]
    await estate.api.change("PATCH", f"groups/{group}", {"key_policy": {"optional_curves": ["P-256K"]}})
    for protection, type_ in (("software", "EC"), ("hsm", "EC-HSM")):
        key = await estate.api.post(f"groups/{group}/keys", {**body, "name": protection, "protection": protection})
        assert (key["type"], key["curve"]) == (type_, "P-256K")
        async with estate.azure.owner(vault) as owner:
            assert_as_held(key, await owner.get_key(protection))


async def test_every_setting_reaches_the_vault(estate: Estate) -> None:
    groups = await groups_of(estate)
    common = {"enabled": False, **DATES, "tags": {"env": "prod", "ö": "ü"}, "type": "EC", "operations": ["sign"]}
    for sku, (vault, group) in groups.items():
        if vault is None:
            continue
        body = {**common, "name": sku, "azure_name": "k", **({} if sku == "standard" else EXPORTABLE)}
        key = await estate.api.post(f"groups/{group}/keys", body)
        assert (key["state"], key["enabled"], key["operations"]) == ("deactivated", False, ["sign"])
        assert (key["not_before"], key["expires_on"]) == (shown(BEGIN), shown(END))
        assert key["tags"] == common["tags"]
        async with estate.azure.owner(vault) as owner:
            held = await owner.get_key("k")
        assert_as_held(key, held)
        if sku != "standard":
            assert held.properties.exportable
            assert json.loads(held.properties.release_policy.encoded_policy) == POLICY
            assert held.properties.release_policy.immutable
        assert (await estate.sync(group))["progress"]["counts"] == {"discovered": 1, "unchanged": 1}
    body = {"name": "s", "type": "AES", "size": 128, **DATES, "tags": {"a": "b"}, "permissions": ["unwrap", "export"]}
    key = await estate.api.post(f"groups/{groups['source'][1]}/keys", body)
    assert (key["state"], key["permissions"], key["tags"]) == ("pre-active", ["unwrap", "export"], {"a": "b"})
    assert (key["not_before"], key["expires_on"]) == (shown(BEGIN), shown(END))


async def test_what_nobody_says_follows_from_the_place(estate: Estate) -> None:
    groups = await groups_of(estate)
    defaults = {"standard": ("RSA", "EC"), "premium": ("RSA-HSM", "EC-HSM"), "managed_hsm": ("RSA-HSM", "EC-HSM")}
    for (sku, types), family in itertools.product(defaults.items(), ("RSA", "EC")):
        key = await estate.api.post(f"groups/{groups[sku][1]}/keys", {"azure_name": family, "type": family})
        assert key["type"] == types[family == "EC"]
        assert (key["size"], key["curve"]) == ((3072, None) if family == "RSA" else (key["size"], "P-256"))
        assert (key["enabled"], key["not_before"], key["expires_on"], key["tags"]) == (True, None, None, {})
        label = (await estate.api.get(f"groups/{groups[sku][1]}"))["key_label"]
        assert key["name"] == f"{label}/{family}"
    symmetric = await estate.api.post(f"groups/{groups['source'][1]}/keys", {"name": "s", "type": "AES"})
    assert symmetric["size"] == 256


#: What is wrong: the place, what is asked there, and status, code and field of the refusal.
WRONG: Mapping[str, tuple[str, Json, tuple[int, str, str]]] = {
    "an odd size": ("standard", {"type": "RSA", "size": 1024}, (400, "key_kind_invalid", "size")),
    "an unknown curve": ("standard", {"curve": "P-224"}, (400, "key_kind_invalid", "curve")),
    "a size of a curve": ("standard", {"size": 256}, (400, "key_kind_invalid", "size")),
    "a curve of RSA": ("standard", {"type": "RSA", "curve": "P-256"}, (400, "key_kind_invalid", "curve")),
    "dates that passed": ("standard", {"expires_on": "2020-01-01T00:00:00Z"}, (400, "dates_invalid", "expires_on")),
    "an end before the beginning": (
        "standard",
        {"not_before": DATES["expires_on"], "expires_on": DATES["not_before"]},
        (400, "dates_invalid", "expires_on"),
    ),
    "many tags": ("standard", {"tags": {str(n): "" for n in range(16)}}, (400, "tags_invalid", "tags")),
    "a long tag": ("standard", {"tags": {"a": "b" * 257}}, (400, "tags_invalid", "tags")),
    "an unknown operation": ("standard", {"operations": ["sign", "fly"]}, (422, "key_not_allowed", "operations")),
    "another type's operation": ("standard", {"operations": ["encrypt"]}, (422, "key_not_allowed", "operations")),
    "no operation": ("standard", {"operations": []}, (422, "key_not_allowed", "operations")),
    "import beside others": (
        "premium", {"type": "RSA", "operations": ["import", "sign"]}, (422, "key_not_allowed", "operations"),
    ),
    "permissions in a vault": ("standard", {"permissions": ["sign"]}, (400, "field_for_other_kind", "permissions")),
    "exportable software": ("standard", EXPORTABLE, (422, "key_not_allowed", "exportable")),
    "exportable without policy": ("premium", {"exportable": True}, (400, "release_policy_invalid", "release_policy")),
    "a policy for nothing": (
        "premium", {"release_policy": {"data": POLICY}}, (400, "release_policy_invalid", "release_policy"),
    ),
    "operations of a source key": ("source", {"operations": ["sign"]}, (400, "field_for_other_kind", "operations")),
    "protection of a source key": ("source", {"protection": "hsm"}, (400, "field_for_other_kind", "protection")),
    "an Azure name of a source key": ("source", {"azure_name": "k"}, (400, "field_for_other_kind", "azure_name")),
    "an unknown permission": ("source", {"permissions": ["wrap"]}, (422, "key_not_allowed", "permissions")),
}  # fmt: skip


async def test_what_is_wrong_is_named_and_not_sent(estate: Estate) -> None:
    groups = await groups_of(estate)
    vaults = [vault for vault, _ in groups.values() if vault]
    before = [await estate.azure.requests(vault) for vault in vaults]
    for what, (sku, changes, (status, code, field)) in WRONG.items():
        body = {"name": "k", "type": "EC", **changes}
        problem = await estate.api.refused("POST", f"groups/{groups[sku][1]}/keys", body, status=status, code=code)
        assert problem["field"] == field, what
    assert [await estate.azure.requests(vault) for vault in vaults] == before
    assert await estate.api.pages("keys") == []
    # No name is left behind as taken.
    await estate.api.post(f"groups/{groups['source'][1]}/keys", {"name": "k", "type": "EC"})
