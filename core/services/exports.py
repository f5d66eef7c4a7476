"""Takes a source key's material out of Keysteward, on purpose: in the clear or wrapped under another source key.

Invariant: the key's history says who takes what, before it is given away.
"""

import base64
from dataclasses import dataclass

from core.domain.callers import Actor
from core.domain.secrets import SecretBytes, SecretText
from core.material.exporting import ExportFormat, exported
from core.material.wrapping import OaepHash, WrapAlgorithm, default_algorithm, wrap
from core.services.source_keys import SourceKeys, SourceUse


@dataclass(frozen=True, slots=True)
class Wrapping:
    """The source key to wrap under, and how; None takes what fits the key."""

    use: SourceUse
    algorithm: WrapAlgorithm | None = None
    oaep_hash: OaepHash = OaepHash.SHA256


@dataclass(frozen=True, slots=True)
class Exported:
    """What was taken out: which version, and its content (wrapped where `wrapped_with` says how)."""

    name: str
    version: int
    content: SecretBytes
    wrapped_with: WrapAlgorithm | None = None

    def base64(self) -> str:
        """Return the content in standard base64."""
        return base64.b64encode(self.content.reveal()).decode()


class Exports:
    """Exports source keys. Permissions of callers are decided before anything here is called."""

    def __init__(self, sources: SourceKeys) -> None:
        self._sources = sources

    async def plain(
        self, account: str, use: SourceUse, format_: ExportFormat, passphrase: SecretText | None, actor: Actor
    ) -> Exported:
        """Return a version's material in the clear, or under a passphrase.

        Raises the errors of SourceKeys.opened; InvalidRequestError `export_format_unsuitable`.
        """
        key, version, material = await self._sources.opened(account, use, "export")
        with material:
            content = exported(material, format_, passphrase)
        protected = "under a passphrase" if passphrase else "in the clear"
        await self._sources.note(account, use, "key.exported", actor, f"version {version.number}, {protected}")
        return Exported(key.name, version.number, content)

    async def wrapped(self, account: str, use: SourceUse, wrapping: Wrapping, actor: Actor) -> Exported:
        """Return a version's material wrapped under another source key.

        Raises the errors of SourceKeys.opened, for either key; ConflictError `wrapping_key_unsuitable`.
        """
        key, version, material = await self._sources.opened(account, use, "export")
        with material:
            wrapping_key, _, wrapping_material = await self._sources.opened(account, wrapping.use, "wrap")
            algorithm = wrapping.algorithm or default_algorithm(wrapping_key.kind.family)
            with wrapping_material:
                content = wrap(wrapping_material, material, algorithm, wrapping.oaep_hash)
        detail = f"version {version.number}, wrapped under {wrapping_key.id}"
        await self._sources.note(account, use, "key.exported_wrapped", actor, detail)
        return Exported(key.name, version.number, SecretBytes(content), algorithm)
