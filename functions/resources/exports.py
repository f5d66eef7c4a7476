"""Exports of source keys."""

from core.domain.permissions import Permission
from core.errors import InvalidRequestError
from core.material.exporting import ExportFormat
from core.services.source_keys import SourceUse
from core.wiring import App
from functions.found_keys import found_key, source_key
from functions.models.base import NoQuery
from functions.models.transfers import ExportAnswer, ExportBody
from functions.operations import Answer, Call, Operation


async def export_key(app: App, call: Call[ExportBody, NoQuery]) -> Answer:
    """Export a source key."""
    body = call.body
    key = source_key(await found_key(app, call))
    use = SourceUse(call.group, key.id, body.version)
    if body.wrap is not None:
        if body.format is not None or body.passphrase is not None:
            detail = "A wrapped export has neither format nor passphrase: it is the wrapped key."
            raise InvalidRequestError(detail, code="export_format_unsuitable", field="wrap")
        await app.access.require(call.caller, call.account, Permission.KEY_TRANSFER, body.wrap.group)
        wrapped = await app.exports.wrapped(call.account, use, body.wrap.wrapping(), call.actor)
        return Answer(ExportAnswer.shown(wrapped, None))
    if body.format is None:
        detail = "Say what is wanted: `wrap` or `format`."
        raise InvalidRequestError(detail, code="export_format_unsuitable", field="format")
    format_ = ExportFormat(body.format)
    exported = await app.exports.plain(call.account, use, format_, body.passphrase, call.actor)
    return Answer(ExportAnswer.shown(exported, format_))


OPERATIONS = (
    Operation(
        name="export_key",
        method="POST",
        route="v1/accounts/{account}/groups/{group}/keys/{key}/export",
        summary="Export a source key's material, wrapped under another source key or as PEM, DER or octets",
        description="The key needs its own permission `export`, too. `wrap` needs `key.transfer` on the group of the "
        "wrapping key, which needs its own permission `wrap`. The key's history says so before anything is given away; "
        "the answer is not kept, so there is no Idempotency-Key.",
        needs=Permission.KEY_EXPORT,
        handler=export_key,
        tag="New keys",
        body=ExportBody,
        answer=ExportAnswer,
        kept=False,
        errors=("virtual_key", "export_format_unsuitable", "key_permission_missing", "key_not_active",
                "key_version_not_found", "wrapping_key_unsuitable", "group_not_found"),
    ),
)  # fmt: skip
