"""A local stack as the benchmarks use it: vaults with many keys, groups linked to them, and syncs of these."""

import asyncio
import json
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from bench.api import Api, Json
from local.emulator import seeds
from local.emulator.client import ControlClient
from local.stack import Stack

_ENDED = frozenset({"succeeded", "failed", "cancelled"})
_SEEDED_AT_ONCE = 1_000
_POLL_SECONDS = 0.5
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Linked:
    """A group and its vault; `client_id` and `secret` are of the application that may read and back up its keys."""

    account: str
    group: str
    vault_uri: str
    client_id: str
    secret: str

    @property
    def path(self) -> str:
        """The group's path in the API."""
        return f"accounts/{self.account}/groups/{self.group}"


class Stage:
    """The stack, and what is done with it."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, token: str) -> None:
        self.stack = stack
        self.control = ControlClient(stack.control_url, session)
        self.api = Api(session, stack.host_url, token)

    async def account(self, title: str) -> str:
        """Make an account and return its id."""
        return str((await self.api.post("accounts", {"title": title}))["id"])

    async def linked(self, account: str, keys: int) -> Linked:
        """Make a standard vault with software-protected keys of one version each, and a group that is linked to it."""
        application = await self.control.post("principals", {"display_name": "keysteward", "kind": "application"})
        granted = {"object_id": application["object_id"], "keys": ["get", "list", "backup"]}
        name = f"bench-{secrets.token_hex(4)}"
        vault = await self.control.post("vaults", {"name": name, "access_policies": [granted]})
        for start in range(0, keys, _SEEDED_AT_ONCE):
            batch = [_key(number) for number in range(start, min(start + _SEEDED_AT_ONCE, keys))]
            await self.control.post(f"vaults/{name}/keys", {"keys": batch})
        connection = {
            "cloud": json.loads(self.stack.app_settings["KEYSTEWARD_CLOUD"]),
            "tenant_id": seeds.CONTOSO_TENANT_ID,
            "client_id": application["client_id"],
            "subscription_id": seeds.SUBSCRIPTION_ID,
            "credential": {"kind": "client_secret", "secret": application["secret"]},
        }
        draft = {"kind": "azure", "title": "Bench", "connection": connection, "vault": vault["resource_id"]}
        group = await self.api.post(f"accounts/{account}/groups", draft)
        return Linked(account, group["id"], vault["uri"], application["client_id"], application["secret"])

    async def sync(self, linked: Linked) -> tuple[float, Json]:
        """Sync a group; return the seconds from the request until the job's end, and the job.

        The end is the one that the job tells, by the same machine's clock, so that it need not be asked for often.
        """
        started = datetime.now(UTC)
        job = await self.api.post(f"{linked.path}/sync", {})
        while job["status"] not in _ENDED:
            await asyncio.sleep(_POLL_SECONDS)
            job = await self.api.get(f"accounts/{linked.account}/jobs/{job['id']}")
        if job["status"] != "succeeded" or job["progress"]["errors_total"]:
            raise RuntimeError(f"the sync {job['status']}: {job['progress']['errors']}")
        return (datetime.fromisoformat(job["ended_on"]) - started).total_seconds(), job

    async def set_latency(self, milliseconds: int) -> None:
        """Let every vault wait this long before it answers."""
        await self.control.put("latency", {"services": {"keyvault": milliseconds}})

    async def requests(self) -> dict[str, int]:
        """Return how many requests the emulated Azure answered since the counters were cleared, by operation."""
        rows = (await self.control.get("counters"))["requests"]
        found: dict[str, int] = {}
        for row in rows:
            name = f"{row['service']} {row['operation']}"
            found[name] = found.get(name, 0) + row["count"]
        return found


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Start a stack, and stop it in the end."""
    with tempfile.TemporaryDirectory(prefix="keysteward-bench-") as data_dir:
        async with Stack(Path(data_dir)) as stack, aiohttp.ClientSession() as session:
            yield Stage(stack, session, await stack.user_token("alice"))


@asynccontextmanager
async def direct_session(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """Open an HTTP session to the stack's storage with the settings that the product has."""
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=stack.ca_file), limit=100)
    async with aiohttp.ClientSession(
        connector=trust, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
    ) as session:
        yield session


def _key(number: int) -> Json:
    """A key as vaults have them: made at some time in the last two years, every other one with a date of expiry."""
    created = number * 7_919 % 730 * _DAY + number * 104_729 % _DAY
    expires = (number * 6_007 % 700 + 30) * _DAY if number % 2 else None
    return {
        "name": f"key-{number:06}",
        "created_offset": -created,
        "expires_offset": expires,
        "tags": {"team": f"team-{number % 12}"},
    }
