"""Wrapped transfer into an HSM: a blob that Keysteward makes, and one that somebody else made."""

import base64
import json

from azure.keyvault.keys import JsonWebKey
from azure.keyvault.keys.aio import KeyClient
from cryptography.hazmat.primitives.asymmetric import ec

from local.demo import own_keys
from local.demo.client import Json, Keysteward
from local.demo.expect import expect
from local.demo.scenes.copying import SourceKey
from local.demo.stage import Group, Stage


async def take_a_blob(stage: Stage, alice: Keysteward, source: SourceKey, group: Group, vault: KeyClient) -> None:
    """Make a blob for download, check it, and import it with the plain SDK as `az` does."""
    show = stage.show
    show.scene("Wrapped transfer: a blob is downloaded, and imported by somebody without Keysteward")
    path = f"groups/{group.id}/transfer-blobs"
    blob = await alice.download(path, {"source": {"group": source.group, "key": source.id}})
    header = json.loads(blob)["header"]
    keys = (await alice.get(f"groups/{group.id}/key-exchange-keys"))["items"]
    show.answer([("bytes", len(blob)), ("enc", header["enc"]), ("key exchange key", header["kid"])])
    show.answer([("it wraps until", keys[0]["renew_on"]), ("it is retired on", keys[0]["retire_on"])])
    expect("key exchange keys: that of the copy is used again", [one["kid"] for one in keys], [header["kid"]])
    key = JsonWebKey(kty="RSA-HSM", key_ops=["sign", "verify"], t=blob)
    imported = (await vault.import_key("master-by-courier", key)).key
    modulus: bytes = imported.n  # type: ignore[attr-defined]  # set at run time
    shown = base64.urlsafe_b64encode(modulus).decode().rstrip("=")
    expect("public key of what was imported", shown, source.modulus)
    show.say("With the official SDK, as `az keyvault key import --byok-file` does it: the same public key.")
    stage.seen.append(("Transfer blob, downloaded", f"{len(blob)} bytes; imported by the plain SDK, same public key"))


async def bring_a_blob(stage: Stage, alice: Keysteward, group: Group, vault: KeyClient) -> None:
    """Check a blob that somebody made wrongly, then the right one, and import that."""
    show = stage.show
    show.scene("A blob that somebody else made is checked before it is sent, and says what is wrong with it")
    exchange = (await alice.get(f"groups/{group.id}/key-exchange-keys", quiet=True))["items"][0]
    public = await alice.get(f"groups/{group.id}/keys/{exchange['key']}/public-key")
    key = ec.generate_private_key(ec.SECP256R1())
    path = f"groups/{group.id}/transfer-blobs"
    what: Json = {"type": "EC", "curve": "P-256"}
    show.say("First the key in the form that `openssl ec` writes, SEC 1, where the HSM wants PKCS#8:")
    wrong = own_keys.transfer_blob(exchange["kid"], public["pem"], own_keys.sec1(key))
    checked = await alice.upload(f"{path}/check", what, wrong)
    show.answer([("usable", checked["usable"]), *((one["code"], one["detail"]) for one in checked["problems"])])
    problems = [one["code"] for one in checked["problems"]]
    expect("problems of the wrong blob", (checked["usable"], problems), (False, ["transfer_blob_key_type"]))
    right = own_keys.transfer_blob(exchange["kid"], public["pem"], own_keys.pkcs8(key))
    checked = await alice.upload(f"{path}/check", what, right)
    show.answer([("usable, as PKCS#8", checked["usable"])])
    expect("problems of the right blob", (checked["usable"], checked["problems"]), (True, []))
    made = await alice.upload(f"{path}/import", {"name": "acquirer", **what}, right)
    expect("the imported key", (made["type"], made["origin"]), ("EC-HSM", "imported"))
    await own_keys.prove_signing(vault, "acquirer", key)
    show.say("What the HSM signs with it verifies here. Keysteward never had the key.")
    stage.seen.append(("Transfer blob, made outside", "SEC 1 refused with the reason; PKCS#8 imported, signs"))
