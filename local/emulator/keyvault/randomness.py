"""Random octets from a Managed HSM."""

import os
from typing import Any

from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.encoding import to_base64url
from local.emulator.keyvault.errors import bad_parameter

MAX_COUNT = 128


async def get_random_bytes(call: Call) -> dict[str, Any]:
    """Return `count` octets, 1 to 128."""
    count = call.body.get("count")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
        raise bad_parameter(f"GetRandomBytesRequest: count cannot be greater than {MAX_COUNT} or less than 1")
    return {"value": to_base64url(os.urandom(count))}
