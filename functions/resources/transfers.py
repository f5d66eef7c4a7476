"""Key transfer blobs (bring your own key) and the key exchange keys under which they are wrapped."""

from core.domain.permissions import Permission
from core.wiring import App
from functions.models.base import NoQuery
from functions.models.key_detail import KeyAnswer
from functions.models.transfers import (
    BlobBody,
    BlobCheckAnswer,
    BlobCheckBody,
    BlobImportBody,
    ExchangeKeyAnswer,
    ExchangeKeyPage,
)
from functions.operations import Answer, Call, Content, Operation, Upload
from functions.paging import PageQuery
from functions.parts import page_of
from functions.resources.new_keys import NAMED, REACHED, SETTLED, answered

_TAG = "Transfer into HSMs"
_GROUP = "v1/accounts/{account}/groups/{group}"
_BLOBS = f"{_GROUP}/transfer-blobs"
_EXCHANGE_KEYS = f"{_GROUP}/key-exchange-keys"
_UPLOAD = Upload("blob")
_HARDWARE = ("vault_without_hsm", "group_kind", "vault_not_selected")


async def make_transfer_blob(app: App, call: Call[BlobBody, NoQuery]) -> Answer:
    """Make a transfer blob of a source key."""
    source = call.body.source
    await app.access.require(call.caller, call.account, Permission.KEY_COPY, source.group)
    group = (await app.groups.get(call.account, call.group)).value
    made = await app.transfers.make(group, source.use(), call.body.key_exchange_key, call.actor)
    return Answer(Content(made.content, "application/octet-stream", filename=made.filename))


async def check_transfer_blob(app: App, call: Call[BlobCheckBody, NoQuery]) -> Answer:
    """Say what is wrong with a transfer blob."""
    group = (await app.groups.get(call.account, call.group)).value
    checked = await app.transfers.check(group, call.body.blob.encode(), call.body.kind())
    return Answer(BlobCheckAnswer.shown(checked))


async def import_transfer_blob(app: App, call: Call[BlobImportBody, NoQuery]) -> Answer:
    """Import a transfer blob."""
    kind = call.body.kind()
    group = (await app.groups.get(call.account, call.group)).value
    new = call.body.new(call.request_id, group, call.actor)
    return await answered(app, await app.transfers.bring(new, kind, call.body.blob.encode()))


async def list_key_exchange_keys(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer the group's key exchange keys."""
    group = await app.groups.glimpse(call.account, call.group)
    keys = await app.exchange_keys.list(call.account, call.group)
    return page_of(call.query, keys, lambda one: ExchangeKeyAnswer.shown(one, group), ExchangeKeyPage)


async def retire_key_exchange_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Retire a key exchange key."""
    group = await app.groups.glimpse(call.account, call.group)
    retired = await app.exchange_keys.retire(call.account, call.group, call.path["key"], call.actor)
    return Answer(ExchangeKeyAnswer.shown(retired, group))


OPERATIONS = (
    Operation(
        name="make_transfer_blob",
        method="POST",
        route=_BLOBS,
        summary="Make a transfer blob of a source key, for download",
        description="For `az keyvault key import --byok-file`. The source key needs its own permission `export`, the "
        "caller `key.copy` on its group. The file can be imported while the key exchange key lives.",
        needs=Permission.KEY_TRANSFER,
        handler=make_transfer_blob,
        tag=_TAG,
        body=BlobBody,
        media_type="application/octet-stream",
        attached=True,
        errors=(*_HARDWARE, *REACHED, "key_not_allowed", "key_permission_missing", "key_not_active", "group_not_found",
                "key_not_found", "key_version_not_found", "key_exchange_key_not_found", "key_exchange_key_unsuitable",
                "azure_name_invalid"),
    ),
    Operation(
        name="check_transfer_blob",
        method="POST",
        route=f"{_BLOBS}/check",
        summary="Check a transfer blob that was made elsewhere",
        description="Names everything that is wrong: form, algorithm, vault, key exchange key, key type. Nothing is "
        "sent to the vault but the question for the key exchange key.",
        needs=Permission.KEY_TRANSFER,
        handler=check_transfer_blob,
        tag=_TAG,
        body=BlobCheckBody,
        upload=_UPLOAD,
        answer=BlobCheckAnswer,
        errors=(*_HARDWARE, *REACHED, "key_kind_invalid"),
    ),
    Operation(
        name="import_transfer_blob",
        method="POST",
        route=f"{_BLOBS}/import",
        summary="Import a transfer blob that was made elsewhere",
        description="It is checked first: what is wrong with it is a 400 that names every problem.",
        needs=Permission.KEY_IMPORT,
        handler=import_transfer_blob,
        tag=_TAG,
        body=BlobImportBody,
        upload=_UPLOAD,
        answer=KeyAnswer,
        status=201,
        etagged=True,
        located=True,
        errors=(*_HARDWARE, *NAMED, *SETTLED, *REACHED, "transfer_blob_refused"),
    ),
    Operation(
        name="list_key_exchange_keys",
        method="GET",
        route=_EXCHANGE_KEYS,
        summary="List the key exchange keys that Keysteward made in the group's vault, newest first",
        needs=Permission.KEY_READ,
        handler=list_key_exchange_keys,
        tag=_TAG,
        query=PageQuery,
        answer=ExchangeKeyPage,
    ),
    Operation(
        name="retire_key_exchange_key",
        method="POST",
        route=f"{_EXCHANGE_KEYS}/{{key}}/retire",
        summary="Disable a key exchange key",
        description="Blobs that were made under it cannot be imported any more. Keys that were imported stay.",
        needs=Permission.KEY_TRANSFER,
        handler=retire_key_exchange_key,
        tag=_TAG,
        answer=ExchangeKeyAnswer,
        errors=("key_exchange_key_not_found", *REACHED),
    ),
)  # fmt: skip
