"""The inner code of a refusal, the one part of an upstream error body that is read."""

import json

from azure.core.rest import AsyncHttpResponse


def inner_code(response: AsyncHttpResponse) -> str | None:
    """Return `error.innererror.code` of an answer, or None where it has none."""
    try:
        code = json.loads(response.content)["error"]["innererror"]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return code if isinstance(code, str) else None
