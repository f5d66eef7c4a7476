"""A sync over HTTP: what it finds, records and escrows."""

from tests.integration.estate import Estate


async def test_first_sync(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 30}, {"name": "gone", "deleted": True}])
    group = await estate.link(vault)
    job = await estate.sync(group)
    counts = job["progress"]["counts"]
    assert (counts["discovered"], counts["added"], counts["escrowed"]) == (31, 31, 30)
    keys = await estate.keys(group)
    assert len(keys) == 31
    again = await estate.sync(group)
    assert again["progress"]["counts"] == {"discovered": 31, "unchanged": 31}
