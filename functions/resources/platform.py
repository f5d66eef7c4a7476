"""Operations on the platform itself: its health, the sealing key, and the reference of this API."""

from functools import cache

from core.domain.permissions import Permission
from core.wiring import App
from functions.answers import HTML, JSON
from functions.models.base import NoQuery
from functions.models.platform import HealthAnswer, RotationAnswer, RotationRequest
from functions.operations import Answer, Call, Content, Openness, Operation, Static

_TAG = "Platform"


def get_health() -> Answer:
    """Answer that the app answers; it asks nothing of storage or vaults."""
    return Answer(HealthAnswer())


async def rotate_sealing_key(app: App, call: Call[RotationRequest, NoQuery]) -> Answer:
    """Rotate the sealing key and rewrap the data keys."""
    result = await app.rewrap_data_keys(call.caller, new_version=call.body.new_version)
    return Answer(RotationAnswer.of(result))


OPERATIONS = (
    Operation(
        name="get_health",
        method="GET",
        route="v1/health",
        summary="Whether the app answers",
        needs=Openness.PUBLIC,
        handler=Static(get_health),
        tag=_TAG,
        answer=HealthAnswer,
    ),
    Operation(
        name="rotate_sealing_key",
        method="POST",
        route="v1/platform/sealing-key/rotate",
        summary="Rotate the sealing key, and rewrap the data keys of all accounts",
        description="Sealed objects stay as they are. What failed is named; another run takes up what is left.",
        needs=Permission.SEALING_KEY_ROTATE,
        handler=rotate_sealing_key,
        tag=_TAG,
        body=RotationRequest,
        body_optional=True,
        answer=RotationAnswer,
        errors=("sealing_key_denied",),
    ),
)


def documentation(others: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Return the operations that serve the reference of `others` and of themselves."""

    # Imported when somebody asks: what generates schemas need not be there when the app starts.
    @cache
    def get_reference() -> Answer:
        from functions import openapi_document, reference  # noqa: PLC0415

        return Answer(reference.page(openapi_document.document((*others, *own))))

    @cache
    def get_openapi() -> Answer:
        from functions import openapi_document  # noqa: PLC0415

        return Answer(Content(openapi_document.text_of((*others, *own)).encode(), JSON))

    own = (
        Operation(
            name="get_reference",
            method="GET",
            route="v1/docs",
            summary="The reference of this API, to be read in a browser",
            needs=Openness.PUBLIC,
            handler=Static(get_reference),
            tag=_TAG,
            media_type=HTML,
        ),
        Operation(
            name="get_openapi",
            method="GET",
            route="v1/openapi.json",
            summary="The OpenAPI document of this API",
            needs=Openness.PUBLIC,
            handler=Static(get_openapi),
            tag=_TAG,
            media_type=JSON,
        ),
    )
    return own
