"""Source keys on their way out: not by a role alone, and wrapped under another key."""

import base64
import secrets

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_private_key

from local.demo import own_keys
from local.demo.client import Json, Keysteward
from local.demo.expect import UnexpectedError, expect
from local.demo.scenes.copying import SourceKey
from local.demo.stage import Stage


async def export_wrapped(stage: Stage, alice: Keysteward, source: SourceKey) -> None:
    """Export a source key under a wrapping key that we have, too, and open it here."""
    show = stage.show
    show.scene("A source key leaves wrapped under another one, if somebody was given the right to that")
    octets = secrets.token_bytes(32)
    request: Json = {"name": "vault-of-paper", "type": "AES", "permissions": ["wrap", "unwrap"]}
    wrapping = await alice.upload(f"groups/{source.group}/keys/import", request, octets)
    body = {"wrap": {"group": source.group, "key": wrapping["id"]}}
    problem = await alice.refused("POST", f"{source.path}/export", body)
    show.answer([("code", problem["code"]), ("permission", problem["permission"])])
    found = (problem["status"], problem["code"], problem["permission"])
    expect("answer to an admin without the extra permission", found, (403, "not_permitted", "key.export"))
    me = source.detail["created_by"]["id"]
    await alice.put(f"groups/{source.group}/members/{me}", {"role": "admin", "extra": ["key.export"]})
    exported = await alice.post(f"{source.path}/export", body)
    show.answer((name, exported[name]) for name in ("name", "version", "wrapped_with"))
    opened = load_der_private_key(aes_key_unwrap_with_padding(octets, base64.b64decode(exported["value"])), None)
    if not isinstance(opened, rsa.RSAPrivateKey):
        raise UnexpectedError("what was exported is no RSA key")
    public = await alice.get(f"{source.path}/public-key", quiet=True)
    expect("public key of what was exported", own_keys.public_pem(opened), public["pem"])
    latest = (await alice.get(f"{source.path}/history"))["items"][0]
    show.answer([("its history", f"{latest['event']}, {latest['actor']['name']}, {latest['detail']}")])
    expect("latest event", latest["event"], "key.exported_wrapped")
    stage.seen.append(("Exported, wrapped", "a role alone is refused; opened here with RFC 5649, same public key"))
