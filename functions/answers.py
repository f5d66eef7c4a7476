"""From answers and errors to bytes and headers; the form in which an answer is also kept for a repeated request."""

import base64
import json
import re
from dataclasses import dataclass, field

import azure.functions as func

from core.domain.secrets import SecretBytes
from core.errors import KeystewardError
from functions import etags, problems
from functions.operations import API, Answer, Content

JSON = "application/json"
HTML = "text/html"
# What every file system and every header takes as it is.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME = 128
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A response as it goes out. Its `repr` hides the body, which may hold a secret that is shown once."""

    status: int
    body: bytes = field(repr=False)
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None

    def kept(self) -> SecretBytes:
        """Return it for keeping."""
        body = base64.b64encode(self.body).decode()
        members = {"s": self.status, "b": body, "m": self.media_type, "h": self.headers, "c": self.code}
        return SecretBytes(json.dumps(members).encode())

    @classmethod
    def replayed(cls, kept: SecretBytes) -> "Rendered":
        """Return what was kept, marked as a repetition."""
        members = json.loads(kept.reveal())
        headers = {**members["h"], "Idempotency-Replayed": "true"}
        return cls(members["s"], base64.b64decode(members["b"]), members["m"], headers, members["c"])

    def response(self, correlation_id: str) -> func.HttpResponse:
        """Return it for the host."""
        headers = {**_ALWAYS, **self.headers, "x-correlation-id": correlation_id}
        return func.HttpResponse(self.body, status_code=self.status, headers=headers, mimetype=self.media_type)


def render(answer: Answer, status: int) -> Rendered:
    """Render a handler's answer."""
    headers = {}
    if answer.etag is not None:
        headers["ETag"] = etags.to_wire(answer.etag)
    if answer.location is not None:
        headers["Location"] = f"{API}/{answer.location}"
    if isinstance(answer.body, Content):
        headers["Content-Security-Policy"] = answer.body.policy
        if answer.body.filename is not None:
            headers["Content-Disposition"] = f'attachment; filename="{_safe(answer.body.filename)}"'
        return Rendered(status, answer.body.data, answer.body.media_type, headers)
    if answer.body is None:
        return Rendered(204, b"", JSON, headers)
    return Rendered(answer.status or status, answer.body.model_dump_json().encode(), JSON, headers)


def _safe(filename: str) -> str:
    """Return a name that stays within its quotes and its folder; its end is kept, because it tells the kind of file."""
    return _UNSAFE.sub("_", filename)[-_MAX_NAME:].lstrip(".") or "download"


def render_problem(error: KeystewardError, correlation_id: str) -> Rendered:
    """Render an error."""
    body = json.dumps(problems.problem_of(error, correlation_id), default=str, separators=(",", ":")).encode()
    status = problems.status_of(type(error))
    return Rendered(status, body, problems.MEDIA_TYPE, problems.headers_of(error), error.code)
