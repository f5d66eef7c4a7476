"""The OpenAPI 3.1 document, generated from operations and models."""

import json
from collections import defaultdict
from collections.abc import Iterable

from core.domain.identifiers import IdKind
from core.domain.permissions import RULES, Permission
from functions import problems
from functions.answers import JSON
from functions.bodies import FORM
from functions.codes import CODES, codes_of
from functions.introduction import introduction
from functions.models.jobs import JobAnswer
from functions.openapi_schemas import OCTETS, Json, form_of, ref, schemas_of
from functions.operations import API, Openness, Operation, Precondition
from functions.pipeline import ID_KINDS

VERSION = "1"
_HEADERS = {
    "ETag": "The version of the object, for If-Match.",
    "Location": "Where the new object, or the job, is.",
    "Content-Disposition": "An attachment, and the name of the file to save.",
    "x-correlation-id": "Ties the answer to log lines and traces.",
    "Idempotency-Replayed": "`true` if this is the answer to an earlier request with the same key.",
    "Retry-After": "Seconds after which another attempt makes sense.",
    "WWW-Authenticate": "How to authenticate.",
}


def document(operations: Iterable[Operation]) -> Json:
    """Return the document for `operations`."""
    listed = sorted(operations, key=lambda operation: (operation.route, operation.method))
    schemas = schemas_of(listed)
    paths: dict[str, Json] = defaultdict(dict)
    for operation in listed:
        paths[f"/{operation.route}"][operation.method.lower()] = _operation(operation, schemas)
    queries = {operation.query.__name__ for operation in listed}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Keysteward", "version": VERSION, "description": introduction()},
        "servers": [{"url": API}],
        "tags": [{"name": tag} for tag in sorted({operation.tag for operation in listed})],
        "paths": dict(paths),
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "headers": {name: _header(name, text) for name, text in _HEADERS.items()},
            "securitySchemes": _security_schemes(),
        },
    }


def text_of(operations: Iterable[Operation]) -> str:
    """Return the document as it is checked in."""
    return json.dumps(document(operations), indent=1, ensure_ascii=False) + "\n"


def _operation(operation: Operation, schemas: Json) -> Json:
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _operation_description(operation),
        "x-permission": str(operation.needs),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, schemas), *_headers(operation)],
        "responses": {str(operation.status): _success(operation), **_continued(operation), **_problems(operation)},
        "security": [] if operation.needs is Openness.PUBLIC else [{"entra": []}, {"api_key": []}],
    }
    if operation.body is not None:
        described["requestBody"] = _request_body(operation, operation.body.__name__)
    return described


def _request_body(operation: Operation, model: str) -> Json:
    body: Json = {"required": not operation.body_optional, "content": {JSON: {"schema": ref(model)}}}
    if operation.upload is not None:
        encoding = {"request": {"contentType": JSON}, "file": {"contentType": OCTETS}}
        body["content"][FORM] = {"schema": ref(form_of(model)), "encoding": encoding}
        body["description"] = (
            f"JSON, or a form whose part `file` stands for `{operation.upload.member}`. "
            "A form needs `Authorization: Bearer`."
        )
    return body


def _operation_description(operation: Operation) -> str:
    if isinstance(operation.needs, Permission):
        need = f"Needs the permission `{operation.needs}`: {RULES[operation.needs].meaning}"
    elif operation.needs is Openness.AUTHENTICATED:
        need = "Needs a proven identity, and shows what is this identity's own."
    else:
        need = "Needs no identity."
    return f"{operation.description}\n\n{need}".strip()


def _path_parameters(operation: Operation) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": _id_pattern(name)}}
        for name in operation.parameters
    ]


def _id_pattern(parameter: str) -> str:
    kinds = "|".join(kind.value for kind in ID_KINDS[parameter])
    prefix = kinds if "|" not in kinds else f"({kinds})"
    return f"^{prefix}_[a-z2-7]{{24}}$"


def _query_parameters(operation: Operation, schemas: Json) -> list[Json]:
    model = schemas[operation.query.__name__]
    required = model.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in model.get("properties", {}).items()
    ]


def _headers(operation: Operation) -> list[Json]:
    headers = [_header_parameter("x-correlation-id", r"^[A-Za-z0-9._-]{8,64}$", "An id of yours for this request.")]
    if operation.idempotent:
        text = "Makes a repetition of this very request harmless for 24 hours."
        headers.append(_header_parameter("Idempotency-Key", r"^[\x21-\x7e]{1,128}$", text))
    if operation.precondition is not Precondition.NONE:
        text = "The ETag of what was read; the request is refused if that changed since."
        required = operation.precondition is Precondition.REQUIRED
        headers.append({**_header_parameter("If-Match", r'^(W/)?"[A-Za-z0-9_-]*"$', text), "required": required})
    return headers


def _header_parameter(name: str, pattern: str, text: str) -> Json:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


def _continued(operation: Operation) -> Json:
    if not operation.continued:
        return {}
    return {
        "202": {
            "description": "The vault takes longer: a job goes on with it.",
            "headers": _refs(["x-correlation-id", "Location"]),
            "content": {JSON: {"schema": ref(JobAnswer.__name__)}},
        }
    }


def _success(operation: Operation) -> Json:
    names = ["x-correlation-id"]
    names += ["ETag"] if operation.etagged else []
    names += ["Location"] if operation.located else []
    names += ["Content-Disposition"] if operation.attached else []
    names += ["Idempotency-Replayed"] if operation.idempotent else []
    response: Json = {"description": "Done." if operation.status != 202 else "Accepted.", "headers": _refs(names)}  # noqa: PLR2004
    if operation.answer is not None:
        response["content"] = {JSON: {"schema": ref(operation.answer.__name__)}}
    elif operation.media_type is not None:
        response["content"] = {operation.media_type: {}}
    return response


def _problems(operation: Operation) -> Json:
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes_of(operation):
        by_status[problems.status_of(CODES[code].family)].append(code)
    return {str(status): _problem(status, codes) for status, codes in sorted(by_status.items())}


def _problem(status: int, codes: list[str]) -> Json:
    names = ["x-correlation-id"]
    names += ["WWW-Authenticate"] if status == 401 else []  # noqa: PLR2004
    names += ["Retry-After"] if status in (409, 503) else []
    return {
        "description": f"{problems.TITLES[status]}: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": _refs(names),
        "content": {problems.MEDIA_TYPE: {"schema": ref("Problem")}},
        "x-codes": codes,
    }


def _refs(names: list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(_name: str, text: str) -> Json:
    return {"description": text, "schema": {"type": "string"}}


def _security_schemes() -> Json:
    return {
        "entra": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An Entra ID access token of a user or a service principal, verified by the platform.",
        },
        "api_key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "ks_...",
            "description": f"An API key of an application, for example one of kind `{IdKind.API_KEY}`.",
        },
    }
