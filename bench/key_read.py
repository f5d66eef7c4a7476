"""Reading one key over HTTP, beside the least that it needs: a function that does nothing, and one read of a table."""

from azure.data.tables.aio import TableServiceClient

from bench.figures import Bound, Figure
from bench.stage import Stage, direct_session
from bench.timing import medians, milliseconds
from core.adapters.azure.transports import transport
from local.stack import IdentityCredential

_KEYS = 100


async def key_read(stage: Stage, *, rounds: int = 500) -> list[Figure]:
    """Compare reads of a key with no-op calls and raw reads of the key's row, in turns."""
    linked = await stage.linked(await stage.account("Reading"), _KEYS)
    await stage.sync(linked)
    key = (await stage.api.get(f"accounts/{linked.account}/keys?limit=1"))["items"][0]["id"]
    url = stage.stack.app_settings["AzureWebJobsStorage__tableServiceUri"]
    credential = IdentityCredential(stage.stack.endpoints)
    async with (
        direct_session(stage.stack) as session,
        TableServiceClient(url, credential=credential, transport=transport(session)) as service,
    ):
        table = service.get_table_client("keys")
        found = await medians(
            {
                "no-op": lambda: stage.api.get("health"),
                "row": lambda: table.get_entity(linked.group, key),
                "key": lambda: stage.api.get(f"{linked.path}/keys/{key}"),
            },
            rounds,
        )
    least = found["no-op"] + found["row"]
    note = (
        f"p50 {milliseconds(found['key'])}; no-op function {milliseconds(found['no-op'])}, "
        f"table read {milliseconds(found['row'])}; {rounds} of each, in turns"
    )
    return [Figure("Read of one key, to no-op + table read", Bound.AT_MOST, 1.5, found["key"] / least, "x", note)]
