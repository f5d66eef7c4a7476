"""The keys of an emulated vault: lists, versions, backups, and a vault that misbehaves."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.adapters.azure import retries, transports
from core.adapters.azure.vaults import AzureVaults
from core.domain.connections import VaultFacts
from core.domain.observed import KeyPage
from core.errors import KeystewardError, NotFoundError, VaultAnswerError, VaultDeniedError, VaultUnavailableError
from core.ports import VaultKeys
from tests.builders.azure import Application, AzureWorld


@pytest.fixture
async def vault(azure: AzureWorld, application: Application) -> VaultFacts:
    return await azure.vault(application)


@pytest.fixture
async def keys(
    azure: AzureWorld, application: Application, vaults: AzureVaults, vault: VaultFacts
) -> AsyncIterator[VaultKeys]:
    async with vaults.keys("grp_x", azure.connection(application), vault) as opened:
        # Faults and counters are to meet calls, not the first one's round trip for the token.
        with pytest.raises(NotFoundError):
            await opened.get_deleted("nowhere")
        await azure.control.delete("counters")
        yield opened


@pytest.fixture
def two_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("retry_total", "retry_connect", "retry_read", "retry_status"):
        monkeypatch.setitem(retries._DEFAULTS, name, 1)


async def pages_of(pages: AsyncIterator[KeyPage]) -> list[KeyPage]:
    return [page async for page in pages]


def names(pages: list[KeyPage]) -> list[str]:
    return [key.name for page in pages for key in page.keys]


async def test_all_pages_are_read_and_each_can_be_fetched_again(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys
) -> None:
    await azure.seed(vault, {"name": "k", "count": 60})
    pages = await pages_of(keys.list_keys())
    assert [len(page.keys) for page in pages] == [25, 25, 10]
    assert [page.next_token for page in pages[:-1]] == [page.token for page in pages[1:]]
    resumed = await pages_of(keys.list_keys(pages[1].token))
    assert resumed == pages[1:]
    assert names(pages) == [f"k-{number:06d}" for number in range(60)]


async def test_an_empty_page_with_a_next_link_is_not_the_end(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys
) -> None:
    await azure.seed(vault, {"name": "k", "count": 30})
    await azure.fault(action={"kind": "empty_page"}, vault=vault.name, operation="list_keys", count=1)
    pages = await pages_of(keys.list_keys())
    assert pages[0].keys == ()
    assert pages[0].next_token is not None
    assert len(names(pages)) == 30


async def test_deleted_keys_are_listed_and_read_with_their_dates(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys
) -> None:
    await azure.seed(vault, {"name": "gone", "deleted": True, "versions": 2})
    pages = await pages_of(keys.list_deleted())
    listed, version = await keys.get_deleted("gone")
    assert names(pages) == ["gone"]
    assert listed.deletion == pages[0].keys[0].deletion
    assert listed.deletion is not None
    assert listed.deletion.scheduled_purge_on is not None
    assert version.type == "EC"


async def test_versions_of_many_pages_are_all_there(azure: AzureWorld, vault: VaultFacts, keys: VaultKeys) -> None:
    await azure.seed(vault, {"name": "old", "versions": 60})
    versions = await keys.list_versions("old")
    assert len({version.id for version in versions}) == 60
    newest = max(versions, key=lambda version: version.created_on)
    assert (await keys.get_version("old", None))[1].id == newest.id
    oldest = min(versions, key=lambda version: version.created_on)
    assert (await keys.get_version("old", oldest.id))[1].created_on == oldest.created_on


async def test_names_that_are_not_there(keys: VaultKeys) -> None:
    for call in (
        keys.list_versions("nowhere"),
        keys.get_version("nowhere", None),
        keys.get_deleted("nowhere"),
        keys.back_up("nowhere"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.code == "key_not_found"


async def test_a_hostile_name_stays_a_name(keys: VaultKeys) -> None:
    with pytest.raises(KeystewardError):
        await keys.get_version("../secrets/x?api-version=1#", None)


async def test_a_backup_is_a_blob_of_the_vault(azure: AzureWorld, vault: VaultFacts, keys: VaultKeys) -> None:
    await azure.seed(vault, {"name": "k", "versions": 3})
    assert (await keys.back_up("k")).reveal().startswith(b"&AzureKeyVaultKeyBackupV1")


async def test_a_key_with_too_many_versions_cannot_be_backed_up(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys
) -> None:
    await azure.seed(vault, {"name": "k", "versions": 600})
    with pytest.raises(VaultAnswerError) as caught:
        await keys.back_up("k")
    assert caught.value.code == "backup_refused"
    assert len(await keys.list_versions("k")) == 600


async def test_managed_hsm_keys_are_read_alike(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    hsm = await azure.vault(application, sku="managed_hsm")
    await azure.seed(hsm, {"name": "k", "kty": "oct-HSM", "count": 30}, {"name": "r", "kty": "RSA-HSM", "size": 3072})
    async with vaults.keys("grp_hsm", azure.connection(application), hsm) as keys:
        assert len(names(await pages_of(keys.list_keys()))) == 31
        assert (await keys.get_version("r", None))[1].size == 3072
        assert (await keys.get_version("k-000000", None))[1].public_key.thumbprint is None
        assert (await keys.back_up("r")).reveal()


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}])
async def test_throttling_is_waited_out(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys, headers: dict[str, str]
) -> None:
    await azure.seed(vault, {"name": "k"})
    answer = {"kind": "respond", "status": 429, "code": "Throttled", "headers": headers}
    await azure.fault(action=answer, vault=vault.name, operation="backup_key", count=1)
    assert (await keys.back_up("k")).reveal()
    assert (await azure.requests("keyvault", vault.name))["backup_key"] == 2


@pytest.mark.parametrize("status", [500, 503])
async def test_a_passing_failure_is_tried_again(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys, status: int
) -> None:
    await azure.seed(vault, {"name": "k"})
    await azure.fault(action={"kind": "respond", "status": status}, vault=vault.name, count=1)
    assert names(await pages_of(keys.list_keys())) == ["k"]


@pytest.mark.parametrize("kind", ["cut", "cut_after"])
async def test_a_cut_connection_is_tried_again(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys, kind: str
) -> None:
    await azure.seed(vault, {"name": "k"})
    await azure.fault(action={"kind": kind}, vault=vault.name, operation="backup_key", count=1)
    assert (await keys.back_up("k")).reveal()


async def test_a_long_retry_after_is_handed_on_at_once(azure: AzureWorld, vault: VaultFacts, keys: VaultKeys) -> None:
    answer = {"kind": "respond", "status": 429, "headers": {"Retry-After": "300"}}
    await azure.fault(action=answer, vault=vault.name)
    with pytest.raises(VaultUnavailableError) as caught:
        await keys.get_version("k", None)
    assert (caught.value.code, caught.value.retry_after.total_seconds()) == ("vault_throttled", 300)


@pytest.mark.usefixtures("two_attempts")
async def test_throttling_without_end_is_reported(
    azure: AzureWorld, vault: VaultFacts, application: Application, vaults: AzureVaults
) -> None:
    await azure.fault(action={"kind": "respond", "status": 429, "code": "Throttled"}, vault=vault.name)
    async with vaults.keys("grp_t", azure.connection(application), vault) as keys:
        with pytest.raises(VaultUnavailableError) as caught:
            await keys.back_up("k")
    assert caught.value.code == "vault_throttled"
    assert (await azure.requests("keyvault", vault.name)).get("backup_key", 0) >= 2


@pytest.mark.usefixtures("two_attempts")
async def test_failing_without_end_is_reported(
    azure: AzureWorld, vault: VaultFacts, application: Application, vaults: AzureVaults
) -> None:
    await azure.fault(action={"kind": "respond", "status": 500, "message": "details of theirs"}, vault=vault.name)
    async with vaults.keys("grp_t", azure.connection(application), vault) as keys:
        with pytest.raises(VaultUnavailableError) as caught:
            await keys.get_version("k", None)
    assert caught.value.code == "vault_unavailable"
    assert "details of theirs" not in str(caught.value)


@pytest.mark.usefixtures("two_attempts")
async def test_a_vault_that_keeps_silent_is_reported(
    azure: AzureWorld,
    vault: VaultFacts,
    application: Application,
    vaults: AzureVaults,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transports, "READ_SECONDS", 0.3)
    await azure.fault(action={"kind": "hang", "seconds": 5}, vault=vault.name)
    async with vaults.keys("grp_t", azure.connection(application), vault) as keys:
        with pytest.raises(VaultUnavailableError) as caught:
            await keys.get_version("k", None)
    assert caught.value.code == "vault_timeout"


@pytest.mark.parametrize("body", ["{}", '{"value": null}', "<html></html>", '{"value": [{"attributes": {}}]}'])
async def test_a_malformed_page_is_no_empty_page(
    azure: AzureWorld, vault: VaultFacts, keys: VaultKeys, body: str
) -> None:
    await azure.seed(vault, {"name": "k", "count": 30})
    answer = {"kind": "respond", "status": 200, "body": body}
    await azure.fault(action=answer, vault=vault.name, operation="list_keys", skip=1, count=1)
    with pytest.raises(VaultAnswerError) as caught:
        await pages_of(keys.list_keys())
    assert caught.value.code == "vault_answer_malformed"


async def test_a_list_that_leads_back_to_itself_ends(azure: AzureWorld, vault: VaultFacts, keys: VaultKeys) -> None:
    body = '{"value": [], "nextLink": "https://elsewhere.example/keys?$skiptoken=a"}'
    await azure.fault(action={"kind": "respond", "status": 200, "body": body}, vault=vault.name)
    with pytest.raises(VaultAnswerError) as caught:
        await pages_of(keys.list_keys())
    assert caught.value.code == "vault_answer_malformed"
    # Both requests went to the vault itself, not to the host that the link names.
    assert sum((await azure.requests("keyvault", vault.name)).values()) == 2


async def test_a_permission_that_is_taken_away_is_not_the_callers_refusal(
    azure: AzureWorld, vault: VaultFacts, application: Application, keys: VaultKeys
) -> None:
    await azure.seed(vault, {"name": "k"})
    await keys.back_up("k")
    change = {"object_id": application.object_id, "revoke": ["backup"]}
    await azure.control.post(f"vaults/{vault.name}/permissions", change)
    with pytest.raises(VaultDeniedError) as caught:
        await keys.back_up("k")
    assert caught.value.facts["cause"] == "access_denied"


async def test_a_vault_that_vanished_cannot_be_reached(
    azure: AzureWorld, vault: VaultFacts, application: Application, vaults: AzureVaults
) -> None:
    connection = azure.connection(application)
    await azure.control.delete(f"vaults/{vault.name}")
    with pytest.raises(NotFoundError) as caught:
        await vaults.facts(connection, vault)
    assert caught.value.code == "vault_not_found"
    async with vaults.keys("grp_t", connection, vault) as keys:
        with pytest.raises(VaultUnavailableError):
            await keys.get_version("k", None)


async def test_a_burst_of_calls_signs_in_once(
    azure: AzureWorld, vault: VaultFacts, application: Application, vaults: AzureVaults
) -> None:
    await azure.seed(vault, {"name": "k", "count": 40})
    async with vaults.keys("grp_b", azure.connection(application), vault) as keys:
        await asyncio.gather(*(keys.get_version(f"k-{number:06d}", None) for number in range(40)))
    assert sum((await azure.requests("entra")).values()) == 1
