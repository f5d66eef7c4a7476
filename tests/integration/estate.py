"""An account of Keysteward with its admin, and the part of Azure that it manages."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from local.emulator.client import ControlClient
from local.emulator.seeds import API_AUDIENCE, API_CLIENT_ID
from local.stack import Stack
from tests.integration.azure import CHANGING, HSM_ROLES, Azure, Vault
from tests.integration.client import Api, Json, Reply
from tests.integration.ledger import Ledger

#: No sync and no drill by the clock: a test that moves it shall not wake the groups of all tests before it.
PAUSED = {"paused": True}
_JOB_SECONDS = 60.0
_POLL_SECONDS = 0.05


class Site:
    """A started stack and its callers."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, ledger: Ledger) -> None:
        self.stack = stack
        self.session = session
        self.ledger = ledger
        self.control = ControlClient(stack.control_url, session)
        self._tokens: dict[str, str] = {}

    def api(self, headers: Mapping[str, str] | None = None) -> Api:
        """Return a caller with these headers."""
        return Api(self.session, f"{self.stack.host_url}/api/v1", headers)

    def bearer(self, token: str) -> Api:
        """Return a caller with a token of Entra, or with an API key."""
        return self.api({"Authorization": f"Bearer {token}"})

    async def token(self, user: str) -> str:
        """Return a seeded user's token."""
        if user not in self._tokens:
            self._tokens[user] = self.ledger.add("user token", await self.stack.user_token(user))
        return self._tokens[user]

    async def entra_token(self, who: Json, **form: str) -> str:
        """Return a token for the API, or for `scope`, of a principal that the control API made with a credential."""
        way = {"client_id": who["client_id"] or API_CLIENT_ID, "scope": f"{API_AUDIENCE}/.default", **form}
        url = f"{self.stack.entra_url}/{who['tenant_id']}/oauth2/v2.0/token"
        async with self.session.post(url, data=way) as response:
            answer = await response.json()
        return self.ledger.add("token", answer["access_token"])

    async def user(self, user: str) -> Api:
        """Return a seeded user as a caller; alice is the first admin."""
        return self.bearer(await self.token(user))

    async def estate(self) -> "Estate":
        """Make an account of alice's, with a part of Azure."""
        alice = await self.user("alice")
        account = await alice.post("accounts", {"title": "Contoso"})
        azure = await Azure.new(self.stack, self.control, self.ledger)
        return Estate(self, account["id"], alice.within(f"accounts/{account['id']}/"), azure)

    async def restart_host(self) -> None:
        """Start the product in a new process; the log of the old one, which would be overwritten, is kept beside it."""
        logs = self.stack.logs_dir
        (logs / "host.log").rename(logs / f"host-{uuid.uuid4().hex}.log")
        await self.stack.restart_host()

    @staticmethod
    async def until[T](look: Callable[[], Awaitable[T | None]], *, within: float = _JOB_SECONDS) -> T:
        """Return what `look` answers once it is not None; `within` in seconds."""
        async with asyncio.timeout(within):
            while True:
                found = await look()
                if found is not None:
                    return found
                await asyncio.sleep(_POLL_SECONDS)

    @asynccontextmanager
    async def product_clock(self, offset_seconds: float) -> AsyncIterator[None]:
        """Let the product's clock run this far from real time while the block runs."""
        await self.stack.host.move_clock(offset_seconds)
        try:
            yield
        finally:
            await self.stack.host.move_clock(0)


class Estate:
    """One account; `api` is its admin, with paths below the account."""

    def __init__(self, site: Site, account: str, api: Api, azure: Azure) -> None:
        self.site = site
        self.account = account
        self.api = api
        self.azure = azure

    async def as_user(self, user: str) -> Api:
        """Return another user, with paths below the account."""
        return (await self.site.user(user)).within(f"accounts/{self.account}/")

    def as_application(self, api_key: str) -> Api:
        """Return the holder of an API key, with paths below the account."""
        return self.site.bearer(api_key).within(f"accounts/{self.account}/")

    async def group(self, **members: Any) -> Json:
        """Create an Azure group that neither syncs nor drills by itself."""
        body = {
            "kind": "azure",
            "title": "A vault",
            "connection": self.azure.connection(),
            "schedule": PAUSED,
            "drill": PAUSED,
            **members,
        }
        created: Json = await self.api.post("groups", body)
        return created

    async def link(self, vault: Vault, **members: Any) -> str:
        """Create a group for a vault and return its id."""
        group = await self.group(vault=vault.resource_id, **members)
        assert group["connection_state"] == "connected", group["report"]
        return str(group["id"])

    async def vault_group(self, sku: str = "standard", **members: Any) -> tuple[Vault, str]:
        """Make a vault in which Keysteward may make keys; return it and the id of its group."""
        grant = HSM_ROLES if sku == "managed_hsm" else CHANGING
        vault = await self.azure.vault(sku, grant=grant)
        return vault, await self.link(vault, **members)

    async def source_group(self) -> str:
        """Create a source group and return its id."""
        return str((await self.api.post("groups", {"kind": "source", "title": "Sources"}))["id"])

    async def allow_export(self, group: str) -> None:
        """Give the admin the permission to export from a group, which comes with no role."""
        (admin,) = [one["id"] for one in await self.api.pages("members") if one["role"] == "admin"]
        await self.api.put(f"groups/{group}/members/{admin}", {"role": "admin", "extra": ["key.export"]})

    async def upload(self, path: str, request: Json, file: bytes) -> Reply:
        """Send a form with a request and a file, as the admin."""
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("request", json.dumps(request), content_type="application/json")
        form.add_field("file", file, filename="key", content_type="application/octet-stream")
        headers = {"Authorization": f"Bearer {await self.site.token('alice')}"}
        url = f"{self.site.stack.host_url}/api/v1/accounts/{self.account}/{path}"
        async with self.site.session.post(url, data=form, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def api_key(self, application: str, body: Json | None = None) -> Json:
        """Issue an API key."""
        issued: Json = await self.api.post(f"applications/{application}/api-keys", body)
        self.site.ledger.add("API key", issued["api_key"])
        return issued

    async def application(self, groups: Mapping[str, str]) -> Api:
        """Create an application with roles in groups and return it as a caller, by an API key."""
        made = await self.api.post("applications", {"title": "A program", "groups": dict(groups)})
        return self.as_application((await self.api_key(made["id"]))["api_key"])

    async def start(self, group: str, mode: str = "changes") -> Json:
        """Ask for a sync."""
        job: Json = await self.api.post(f"groups/{group}/sync", {"mode": mode})
        return job

    async def ended(self, job: Json, *, within: float = _JOB_SECONDS) -> Json:
        """Return a sync when it has ended and its group shows it."""
        ended = await self.settled(job, within=within)

        async def shown() -> bool | None:
            last = (await self.api.get(f"groups/{job['group']}"))["last_sync"]
            return True if last and last["ended_on"] >= ended["ended_on"] else None

        await self.site.until(shown, within=within)
        return ended

    async def settled(self, job: Json, *, within: float = _JOB_SECONDS) -> Json:
        """Return a job of any kind when it has ended."""
        return await self.job_when(job, lambda seen: seen["ended_on"] is not None, within=within)

    async def job_when(self, job: Json, holds: Callable[[Json], bool], *, within: float = _JOB_SECONDS) -> Json:
        """Return a job as soon as `holds` is true of it."""

        async def look() -> Json | None:
            seen: Json = await self.api.get(f"jobs/{job['id']}")
            return seen if holds(seen) else None

        return await self.site.until(look, within=within)

    async def sync(self, group: str, mode: str = "changes") -> Json:
        """Sync a group; it has to succeed without an error."""
        job = await self.ended(await self.start(group, mode))
        assert (job["status"], job["progress"]["errors"]) == ("succeeded", []), job
        return job

    async def keys(self, group: str, **query: str) -> dict[str, Json]:
        """Return a group's keys as the list shows them, by Azure name."""
        found = await self.api.pages("keys", group=group, limit="200", **query)
        by_name = {key["azure_name"]: key for key in found}
        assert len(by_name) == len(found), "a key is listed twice"
        return by_name

    async def key(self, group: str, azure_name: str) -> Json:
        """Return one key whole."""
        id_ = (await self.keys(group))[azure_name]["id"]
        whole: Json = await self.api.get(f"groups/{group}/keys/{id_}")
        return whole

    async def findings(self, group: str) -> dict[str, Json]:
        """Return the findings about a group and its keys, by code."""
        return {finding["code"]: finding for finding in await self.api.pages("findings", group=group)}

    async def run_job_message(self, job: Json) -> None:
        """Deliver the message of a job (once more)."""
        await self.site.stack.host.run_function("run_job", json.dumps({"account": self.account, "job": job["id"]}))
