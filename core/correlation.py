"""The id that ties log lines, spans, jobs and answers of one request together."""

import re
import secrets
from contextvars import ContextVar

_FORM = re.compile(r"[A-Za-z0-9._-]{8,64}")

current: ContextVar[str] = ContextVar("correlation_id", default="")


def accepted_or_new(offered: str | None) -> str:
    """Return `offered` if it is well formed, else a new id."""
    if offered and _FORM.fullmatch(offered):
        return offered
    return secrets.token_hex(16)
