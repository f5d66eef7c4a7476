"""The singleton lock of a listener: a lease on a blob, so that one instance of an app runs a timer.

Invariant: the work runs only while this process holds the lease; when the lease is lost, the work is cancelled.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

_LOG = logging.getLogger(__name__)


async def hold(blob: BlobClient, work: Callable[[], Awaitable[None]], *, period: float, polling: float) -> None:
    """Run `work` for as long as the lease is ours; `period` and `polling` in seconds. Ends only when cancelled."""
    while True:
        try:
            lease = await _acquire(blob, int(period))
        except AzureError as error:
            # Held by another instance, or by one that died: a lease ends by itself after its period.
            _LOG.debug("listener lock %s is not to be had: %s", blob.blob_name, type(error).__name__)
            await asyncio.sleep(polling)
            continue
        await _run_leased(lease, work, period)


async def _acquire(blob: BlobClient, period: int) -> BlobLeaseClient:
    with contextlib.suppress(ResourceExistsError):
        await blob.upload_blob(b"", overwrite=False)
    return await blob.acquire_lease(lease_duration=period)


async def _run_leased(lease: BlobLeaseClient, work: Callable[[], Awaitable[None]], period: float) -> None:
    running = asyncio.ensure_future(work())
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=period / 2)
            await lease.renew()
        running.result()
    except AzureError as error:
        _LOG.warning("listener lock lost: %s", type(error).__name__)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with contextlib.suppress(AzureError):
            await lease.release()
