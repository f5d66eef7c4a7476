"""A sealing key in memory: real RSA-OAEP-256, versions that come and go, and faults on request."""

import functools
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from core.adapters.data_key_records import BlobDataKeyRecords
from core.adapters.data_keys import CachedDataKeys
from core.adapters.sealing import JweSealer
from core.domain.accounts import Account
from core.domain.data_keys import data_key_unavailable
from core.domain.secrets import SecretBytes
from core.errors import KeystewardError
from core.ports import Clock
from tests.fakes.storage import MemoryBlobs, MemoryCollection

KEY_ID = "https://platform.vault.example/keys/sealing"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None)


@functools.cache
def _private_key(_version: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class MemorySealingKey:
    """`unwrapped` counts uses of the private half; `fault` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.versions = 1
        self.unwrapped = 0
        self.fault: KeystewardError | None = None

    async def newest(self) -> str:
        self._check()
        return self._id(self.versions)

    async def rotate(self) -> str:
        self._check()
        self.versions += 1
        return self._id(self.versions)

    async def wrap(self, sealing_key: str, key_to_wrap: SecretBytes) -> bytes:
        self._check()
        return self._key(sealing_key).public_key().encrypt(key_to_wrap.reveal(), _OAEP)

    async def unwrap(self, sealing_key: str, wrapped_key: bytes) -> SecretBytes:
        self._check()
        self.unwrapped += 1
        try:
            return SecretBytes(self._key(sealing_key).decrypt(wrapped_key, _OAEP))
        except ValueError as error:
            raise data_key_unavailable() from error

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault

    def _id(self, version: int) -> str:
        return f"{KEY_ID}/{version:032x}"

    def _key(self, sealing_key: str) -> rsa.RSAPrivateKey:
        version = int(sealing_key.removeprefix(f"{KEY_ID}/"), 16)
        if not 1 <= version <= self.versions:
            raise data_key_unavailable()
        return _private_key(version)


@dataclass(frozen=True)
class Sealing:
    """A sealer with all that it stands on."""

    sealing_key: MemorySealingKey
    blobs: MemoryBlobs
    records: BlobDataKeyRecords
    data_keys: CachedDataKeys
    accounts: MemoryCollection[Account]
    clock: Clock
    sealer: JweSealer

    def restarted(self) -> "Sealing":
        """The same storage and vault in a process that has cached nothing."""
        return sealing(self.clock, self.sealing_key, self.blobs, self.accounts)

    async def add_account(self, account: str) -> str:
        """Make an account with a data key; return the data key's id."""
        data_key = await self.data_keys.create(account)
        await self.accounts.insert("account", account, Account(account, account, self.clock.now(), data_key))
        return data_key


def sealing(
    clock: Clock,
    sealing_key: MemorySealingKey | None = None,
    blobs: MemoryBlobs | None = None,
    accounts: MemoryCollection[Account] | None = None,
) -> Sealing:
    sealing_key = sealing_key or MemorySealingKey()
    blobs = blobs or MemoryBlobs()
    accounts = accounts if accounts is not None else MemoryCollection()
    records = BlobDataKeyRecords(blobs)
    data_keys = CachedDataKeys(records, sealing_key, clock)
    return Sealing(sealing_key, blobs, records, data_keys, accounts, clock, JweSealer(data_keys, accounts, clock))
