"""Key attestation of a Managed HSM: signed statements that a key lives in its hardware.

A statement is the JSON of what is attested, a zero octet and the signature by the key of the certificate that
comes with it. The real statements are in the HSM maker's own format; clients treat either as opaque octets.
"""

import base64
import hashlib
import json
from typing import Any

from local.emulator.keyvault import bundles
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.encoding import to_base64url
from local.emulator.keyvault.identity_keys import SigningIdentity, hsm_identity
from local.emulator.keyvault.model import KeyVersion

_FORMAT = "MRVL-1"


async def get_key_attestation(call: Call) -> dict[str, Any]:
    """Return a version with its attestation among the attributes."""
    key, version = call.live_version()
    identity = hsm_identity(call.vault.security_domain)
    attestation = {
        # Standard base64, unlike every other binary member.
        "certificatePemFile": base64.b64encode(identity.certificate_pem).decode(),
        "privateKeyAttestation": _statement(identity, version, "private"),
        "version": _FORMAT,
    }
    if version.material.public:
        attestation["publicKeyAttestation"] = _statement(identity, version, "public")
    bundle = bundles.key_bundle(call.vault, key.name, version)
    bundle["attributes"]["attestation"] = attestation
    return bundle


def _statement(identity: SigningIdentity, version: KeyVersion, half: str) -> str:
    public = json.dumps(dict(version.material.public), sort_keys=True).encode()
    claims = {
        "object": half,
        "kty": version.kty,
        "exportable": version.exportable,
        "public_sha256": hashlib.sha256(public).hexdigest(),
    }
    message = json.dumps(claims, sort_keys=True).encode()
    return to_base64url(message + b"\0" + identity.sign_octets(message))
