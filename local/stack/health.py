"""Asking a part whether it serves."""

import ssl
from pathlib import Path

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=5)


async def answers(url: str, ca_file: Path | None = None) -> bool:
    """Tell whether an HTTP server answers there, whatever it says; with a CA, over TLS that this CA vouches for."""
    trust = ssl.create_default_context(cafile=ca_file) if ca_file else True
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url, ssl=trust):
            return True
    except (aiohttp.ClientError, TimeoutError):
        return False
