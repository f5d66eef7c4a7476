"""What no store and no log may hold in the open: every secret that a test uses is written down here when it is made."""

import base64
from collections.abc import Iterator

_SHORTEST = 16


class Ledger:
    """The secrets of one run."""

    def __init__(self) -> None:
        self._needles: dict[bytes, str] = {}

    def add(self, what: str, secret: str) -> str:
        """Write a text secret down and return it."""
        assert len(secret) >= _SHORTEST, "too short to be told from other text"
        content = secret.encode()
        for form in (content, base64.b64encode(content).rstrip(b"="), content.hex().encode()):
            self._needles[form] = what
        return secret

    def add_pem(self, what: str, pem: str) -> str:
        """Write a private key in PEM down and return it; one line from its middle tells it from all others."""
        lines = [line for line in pem.split("PRIVATE KEY")[1].splitlines() if line and "-----" not in line]
        self.add(what, lines[len(lines) // 2])
        return pem

    def found_in(self, content: bytes) -> Iterator[str]:
        """Yield what of it `content` holds."""
        for needle, what in self._needles.items():
            if needle in content:
                yield what

    def __len__(self) -> int:
        return len(self._needles)
