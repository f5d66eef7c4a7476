"""Credentials and ways to Azure over HTTP: what connects also syncs, and what is changed takes effect."""

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from local.emulator.access_tokens import TOKEN_EXCHANGE
from local.emulator.seeds import CONTOSO_TENANT_ID, IDENTITY_OBJECT_ID
from tests.builders.azure import an_identity, der_base64
from tests.integration.azure import NEEDED, Azure, Vault
from tests.integration.client import Json
from tests.integration.estate import Estate

MASK = "********"
KEY = {"name": "k"}


async def listener(azure: Azure, kind: str, **members: str) -> Json:
    made: Json = await azure.control.post("listeners", {"kind": kind, **members})
    return made


async def tunnels(azure: Azure) -> Counter[str]:
    """How many tunnels proxies have opened, by the port at their end."""
    rows = (await azure.control.get("counters"))["requests"]
    opened = (row for row in rows if row["service"] == "proxy" and row["status"] == 200)
    return Counter({row["operation"].rpartition(":")[2]: row["count"] for row in opened})


def ca_of(azure: Azure) -> str:
    return Path(azure.stack.ca_file).read_text()


async def sign_in(estate: Estate, kind: str, vault: Vault) -> tuple[Json, str | None]:
    """Let somebody sign in by this kind of credential and use the vault: a change of a connection, and its hint."""
    azure, ledger = estate.azure, estate.site.ledger
    pem, certificate = an_identity(days=400)
    trust = {
        "issuer": f"{azure.stack.entra_url}/{CONTOSO_TENANT_ID}/v2.0",
        "subject": IDENTITY_OBJECT_ID,
        "audience": TOKEN_EXCHANGE,
    }
    members: Json = {
        "client_secret": {},
        "client_certificate": {"with_secret": False, "certificates": [der_base64(certificate)]},
        "managed_identity": {"with_secret": False, "kind": "managed_identity"},
        "workload_identity": {"with_secret": False, "federated": [trust]},
    }[kind]
    azure.application = application = await azure.new_application(**members)
    await azure.permit(vault, *NEEDED)
    ids = {"tenant_id": application["tenant_id"], "client_id": application["client_id"]}
    if kind == "client_secret":
        secret = application["secret"]
        return {**ids, "credential": {"kind": kind, "secret": secret}}, secret[-4:]
    if kind == "client_certificate":
        thumbprint = certificate.fingerprint(hashes.SHA256()).hex()
        return {**ids, "credential": {"kind": kind, "certificate_pem": ledger.add_pem(kind, pem)}}, thumbprint
    if kind == "managed_identity":
        del ids["tenant_id"]
    return {"credential": {"kind": kind, **ids}}, None


@pytest.mark.parametrize("kind", ["client_secret", "client_certificate", "managed_identity", "workload_identity"])
async def test_a_group_that_is_not_connected_is_repaired_with_any_kind_of_credential(estate: Estate, kind: str) -> None:
    vault = await estate.azure.vault(keys=[KEY], grant=())
    wrong = {"kind": "client_secret", "secret": estate.site.ledger.add("wrong client secret", uuid.uuid4().hex)}
    group = await estate.group(connection=estate.azure.connection(credential=wrong))
    path = f"groups/{group['id']}"
    assert group["report"]["cause"] == "secret_wrong"

    change, hint = await sign_in(estate, kind, vault)
    repaired = await estate.api.change("PATCH", path, {"connection": change})
    assert (repaired["connection_state"], repaired["report"]["cause"]) == ("connected", None)
    shown = repaired["connection"]["credential"]
    assert (shown["kind"], shown["secret"], shown["hint"]) == (kind, MASK if hint else None, hint)
    if kind == "client_certificate":
        ends = datetime.fromisoformat(shown["expires_on"]) - datetime.now(UTC)
        assert timedelta(days=398) < ends < timedelta(days=400)
    await estate.api.change("PUT", f"{path}/vault", {"resource_id": vault.resource_id}, of=path)
    assert (await estate.sync(group["id"]))["progress"]["counts"] == {"discovered": 1, "added": 1, "escrowed": 1}


async def test_a_new_secret_takes_the_place_of_the_old_one(estate: Estate) -> None:
    azure = estate.azure
    vault = await azure.vault(keys=[KEY])
    group = await estate.link(vault)
    secrets = f"principals/{azure.application['object_id']}/secrets"
    await azure.control.delete(secrets)
    report = await estate.api.post(f"groups/{group}/connection/test")
    assert (report["result"], report["cause"]) == ("not_connected", "secret_wrong")

    new = estate.site.ledger.add("client secret", (await azure.control.post(secrets, {}))["secret"])
    ends = (datetime.now(UTC) + timedelta(days=200)).isoformat()
    credential = {"kind": "client_secret", "secret": new, "expires_on": ends}
    changed = await estate.api.change("PATCH", f"groups/{group}", {"connection": {"credential": credential}})
    shown = changed["connection"]["credential"]
    assert (shown["hint"], shown["client_id"]) == (new[-4:], azure.application["client_id"])
    assert datetime.fromisoformat(shown["expires_on"]) == datetime.fromisoformat(ends)
    assert changed["connection_state"] == "connected"
    await estate.sync(group)


async def test_no_answer_shows_a_secret(estate: Estate) -> None:
    application = estate.azure.application
    group = await estate.link(await estate.azure.vault(keys=[KEY]))
    job = await estate.sync(group)
    test = {"connection": estate.azure.connection()}
    replies = [
        await estate.api.done("GET", path)
        for path in ("groups", f"groups/{group}", "keys", "findings", "jobs", f"jobs/{job['id']}")
    ]
    replies.append(await estate.api.done("POST", "connections/test", test))
    replies.append(await estate.api.done("POST", f"groups/{group}/connection/test"))
    assert not any(application["secret"].encode() in reply.content for reply in replies)
    assert MASK.encode() in replies[1].content


async def test_every_setting_of_tls_and_proxy_carries_a_sync_at_once(estate: Estate) -> None:
    azure, ledger = estate.azure, estate.site.ledger
    vault = await azure.vault(keys=[KEY])
    password = ledger.add("proxy password", "of-the-proxy-" + uuid.uuid4().hex)
    proxy = await listener(azure, "proxy", username="keysteward", password=password)
    entra = await listener(azure, "wrong_host", target="entra")
    arm = await listener(azure, "client_certificate", target="arm")
    pem = ledger.add_pem("TLS client key", arm["client_certificate_pem"] + arm["client_key_pem"])
    connection = azure.connection(
        cloud=azure.cloud(authority=entra["url"], resource_manager=arm["url"]),
        tls={"custom_ca": ca_of(azure), "validate_host": False, "client_certificate_pem": pem},
        proxy={"url": proxy["url"], "username": "keysteward", "password": password},
    )
    before = await tunnels(azure)
    group = await estate.link(vault, connection=connection)
    await estate.sync(group)
    opened = await tunnels(azure) - before
    # These ports are of listeners that nobody else knows: each was reached, and through the proxy.
    assert set(opened) == {url.rpartition(":")[2] for url in (entra["url"], arm["url"], vault.uri)}

    shown = (await estate.api.get(f"groups/{group}"))["connection"]
    assert shown["proxy"] == {"url": proxy["url"], "username": "keysteward", "password": MASK}
    assert (shown["tls"]["validate_host"], len(shown["tls"]["client_certificate_thumbprint"])) == (False, 64)

    # Without the proxy, nothing goes through it; the secret is asked for again, as it takes another way.
    credential = {"kind": "client_secret", "secret": azure.application["secret"]}
    direct = {"connection": {"proxy": None, "credential": credential}}
    before = await tunnels(azure)
    assert (await estate.api.change("PATCH", f"groups/{group}", direct))["connection"]["proxy"] is None
    await estate.sync(group)
    assert await tunnels(azure) == before


async def test_a_stored_secret_does_not_take_a_new_way(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault(keys=[KEY]))
    path = f"groups/{group}"
    read = await estate.api.done("GET", path)
    proxy = (await listener(estate.azure, "proxy"))["url"]
    ca = ca_of(estate.azure)
    for way in ({"proxy": {"url": proxy}}, {"tls": {"custom_ca": ca}}):
        etag = {"If-Match": read.etag}
        problem = await estate.api.refused(
            "PATCH", path, {"connection": way}, status=400, code="secret_required", headers=etag
        )
        assert problem["field"] == "connection.credential.secret"
    assert (await estate.api.done("GET", path)).content == read.content

    credential = {"kind": "client_secret", "secret": estate.azure.application["secret"]}
    whole = {"connection": {"tls": {"custom_ca": ca}, "credential": credential}}
    changed = await estate.api.change("PATCH", path, whole)
    assert (changed["connection"]["tls"]["custom_ca"], changed["connection_state"]) == (ca, "connected")
    await estate.sync(group)


async def test_a_client_certificate_for_tls_is_changed_and_deleted(estate: Estate) -> None:
    await estate.azure.vault()
    made = await listener(estate.azure, "client_certificate", target="arm")
    connection = estate.azure.connection(cloud=estate.azure.cloud(resource_manager=made["url"]))
    group = await estate.group(connection=connection)
    path = f"groups/{group['id']}"
    assert (group["report"]["stage"], group["connection_state"]) == ("management", "not_connected")
    pem = estate.site.ledger.add_pem("TLS client key", made["client_certificate_pem"] + made["client_key_pem"])
    given = await estate.api.change("PATCH", path, {"connection": {"tls": {"client_certificate_pem": pem}}})
    assert given["connection_state"] == "connected"
    kept = await estate.api.change("PATCH", path, {"connection": {"tls": {}}})
    assert kept["connection"]["tls"] == given["connection"]["tls"]
    without = await estate.api.change("PATCH", path, {"connection": {"tls": {"client_certificate_pem": None}}})
    assert without["connection"]["tls"]["client_certificate_thumbprint"] is None
    assert (without["report"]["stage"], without["connection_state"]) == ("management", "not_connected")


async def test_title_description_and_schedule_are_changed(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[KEY])
    group = await estate.link(vault)
    path = f"groups/{group}"
    before = await estate.api.done("GET", path)
    assert before.json["next_sync_on"] is None
    change: Json = {
        "title": "Payments",
        "description": "Keys of the till",
        "schedule": {"cron": "30 3 * * *", "time_zone": "Europe/Zurich", "paused": False},
        "escrow": {"keep_generations": 7},
    }
    await estate.api.refused("PATCH", path, change, status=428, code="precondition_required")
    after = await estate.api.done("PATCH", path, change, headers={"If-Match": before.etag})
    assert (after.json["title"], after.json["description"]) == ("Payments", "Keys of the till")
    assert after.json["schedule"] == {**before.json["schedule"], **change["schedule"]}
    assert after.json["escrow"] == {"enabled": True, "keep_generations": 7}
    due = datetime.fromisoformat(after.json["next_sync_on"])
    # 3:30 in Zurich is 1:30 or 2:30 in UTC, within a day.
    assert (due.minute, due.hour in {1, 2}) == (30, True)
    assert timedelta() < due - datetime.now(UTC) <= timedelta(days=1, hours=1)
    etag = {"If-Match": before.etag}
    await estate.api.refused("PATCH", path, {"title": "Late"}, status=412, code="stale_write", headers=etag)
    # What is left out stays: also the secret, or there would be no sync.
    assert after.json["connection"] == before.json["connection"]
    await estate.api.change("PATCH", path, {"schedule": {"paused": True}})
    await estate.sync(group)
