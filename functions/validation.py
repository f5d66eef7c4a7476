"""From JSON and query parameters to models; a refusal names the field and never repeats its value."""

import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.errors import InvalidRequestError
from functions.models.base import QueryModel, RequestModel

_MAX_VIOLATIONS = 20
_MAX_PATH = 200
# pydantic's text for these kinds would repeat a part of the input.
_OWN_WORDS = {
    "union_tag_invalid": "This kind does not exist.",
    "union_tag_not_found": "Field required: it tells the kind.",
    "extra_forbidden": "This field is not known.",
    "json_invalid": "The body is not JSON.",
}
_CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field", "union_tag_not_found": "missing_field"}


def read_body[Model: RequestModel](model: type[Model], canonical: bytes) -> Model:
    """Return the body as a model, or say which fields are wrong."""
    if not canonical:
        raise InvalidRequestError("This operation needs a body.", code="missing_body")
    try:
        return model.model_validate_json(canonical)
    except ValidationError as error:
        raise _refusal(error, json.loads(canonical)) from None


def read_query[Model: QueryModel](model: type[Model], parameters: Mapping[str, str]) -> Model:
    """Return the query parameters as a model, or say which are wrong."""
    try:
        read = model.model_validate(dict(parameters))
    except ValidationError as error:
        raise _refusal(error, dict(parameters)) from None
    for name, value in parameters.items():
        if "\x00" in value:
            raise InvalidRequestError("A parameter holds a NUL character.", code="invalid_field", field=name)
    return read


def _refusal(error: ValidationError, value: object) -> InvalidRequestError:
    details = error.errors(include_url=False, include_input=False, include_context=True)
    violations = [{"field": _field(each, value), "detail": _words(each)} for each in details[:_MAX_VIOLATIONS]]
    first = violations[0]
    return InvalidRequestError(
        f"{first['field'] or 'The body'}: {first['detail']}",
        code=_CODES.get(details[0]["type"], "invalid_field"),
        field=first["field"] or None,
        facts={"violations": violations},
    )


def _words(detail: ErrorDetails) -> str:
    if detail["type"] == "union_tag_invalid":
        return f"This must be one of {detail['ctx']['expected_tags']}."
    return _OWN_WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, "))


def _field(detail: ErrorDetails, value: object) -> str:
    """Return the path of the field in the input; pydantic's has the names of union members in it, too."""
    path = _present(detail["loc"], value)
    if detail["type"] == "missing":
        path = [*_present(detail["loc"][:-1], value), str(detail["loc"][-1])]
    if detail["type"].startswith("union_tag"):
        path.append(str(detail["ctx"]["discriminator"]).strip("'"))
    return ".".join(path)[:_MAX_PATH]


def _present(location: Sequence[int | str], value: object) -> list[str]:
    path = []
    for step in location:
        match value:
            case dict() if step in value:
                value = value[step]
            case list() if isinstance(step, int) and step < len(value):
                value = value[step]
            case _:
                continue
        path.append(str(step))
    return path
