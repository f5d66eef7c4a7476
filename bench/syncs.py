"""A first sync, beside the least that a vault's list takes and beside a plain loop; then one with nothing changed."""

import asyncio
import math
import statistics
from dataclasses import dataclass
from time import perf_counter

from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient

from bench.figures import Bound, Figure
from bench.stage import Linked, Stage
from local.emulator import seeds

_KEYS_A_PAGE = 25
_SAMPLE = 30


@dataclass(frozen=True, slots=True)
class _Loop:
    """What a plain loop over a vault took: seconds to list all keys, and seconds for each key of a sample."""

    listing: float
    a_key: float

    def over(self, keys: int) -> float:
        """Seconds that the whole vault would take; every key costs the same three requests."""
        return self.listing + self.a_key * keys


async def syncs(stage: Stage, *, keys: int = 1_000, latency_ms: int = 100, repeats: int = 3) -> list[Figure]:
    """Sync vaults for the first time, the last one once more with nothing changed, and walk over it in a plain loop."""
    account = await stage.account("Sync")
    await stage.set_latency(latency_ms)
    linked, taken = [], []
    for _ in range(repeats):
        linked.append(await stage.linked(account, keys))
        taken.append(await _first(stage, linked[-1], keys))
    unchanged = await _unchanged(stage, linked[-1], keys)
    loop = await asyncio.to_thread(_plain_loop, stage, linked[-1])
    await stage.set_latency(0)
    pages = math.ceil(keys / _KEYS_A_PAGE)
    bound = pages * latency_ms / 1_000
    typical, by_loop = statistics.median(taken), loop.over(keys)
    of = ", ".join(f"{seconds:.2f}" for seconds in sorted(taken))
    return [
        Figure(
            f"First sync of {keys:,} keys at {latency_ms} ms, to the lower bound",
            Bound.AT_MOST,
            2,
            typical / bound,
            "x",
            f"{typical:.2f} s from request to end of job, the median of {of}; "
            f"bound {bound:.2f} s: {pages} list pages, one after the other",
        ),
        Figure(
            "The same sync, to a plain sequential SDK loop",
            Bound.AT_LEAST,
            20,
            by_loop / typical,
            "x faster",
            f"{by_loop:.0f} s: {loop.listing:.1f} s of listing, and {loop.a_key * 1_000:.0f} ms a key "
            f"(measured on {_SAMPLE} keys, scaled to {keys:,})",
        ),
        unchanged,
    ]


async def _first(stage: Stage, linked: Linked, keys: int) -> float:
    """Return the seconds of a first sync that listed by pages of 25 and escrowed every key."""
    await stage.control.delete("counters")
    taken, job = await stage.sync(linked)
    found = await stage.requests()
    _expect(job["progress"]["counts"].get("escrowed") == keys, "every key is escrowed")
    _expect(found["keyvault list_keys"] == math.ceil(keys / _KEYS_A_PAGE), "the vault's list has pages of 25 keys")
    _expect(found["keyvault list_deleted_keys"] == 1, "the list of deleted keys is shorter than that of live ones")
    return taken


async def _unchanged(stage: Stage, linked: Linked, keys: int) -> Figure:
    await stage.control.delete("counters")
    _, job = await stage.sync(linked)
    found = await stage.requests()
    _expect(job["progress"]["counts"].get("unchanged") == keys, "nothing changed")
    pages = found["keyvault list_keys"] + found["keyvault list_deleted_keys"]
    breakdown = ", ".join(f"{count} {name}" for name, count in sorted(found.items()))
    return Figure(
        f"Requests to Azure of a sync of {keys:,} keys with nothing changed",
        Bound.AT_MOST,
        pages + 2,
        sum(found.values()),
        "",
        f"{breakdown}; the target is the pages of the two lists + 2",
    )


def _plain_loop(stage: Stage, linked: Linked) -> _Loop:
    ca_file = str(stage.stack.ca_file)
    credential = ClientSecretCredential(
        seeds.CONTOSO_TENANT_ID,
        linked.client_id,
        linked.secret,
        authority=stage.stack.entra_url,
        connection_verify=ca_file,
        disable_instance_discovery=True,
    )
    with (
        credential,
        KeyClient(linked.vault_uri, credential, connection_verify=ca_file, verify_challenge_resource=False) as client,
    ):
        started = perf_counter()
        names = [str(key.name) for key in client.list_properties_of_keys()]
        listed = perf_counter()
        for name in names[:_SAMPLE]:
            for version in client.list_properties_of_key_versions(name):
                client.get_key(name, version.version)
            client.backup_key(name)
        return _Loop(listed - started, (perf_counter() - listed) / _SAMPLE)


def _expect(condition: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise RuntimeError(f"not measured what was meant: {what}")
