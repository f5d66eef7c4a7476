"""Forms with a file: the request as JSON and the octets of the file become one JSON body.

Invariants:
- What comes out is the canonical JSON of the same request without a form. So models, fingerprints and refusals know
  nothing of forms.
- Everything stays in memory: what is uploaded is key material, and no temporary file ever holds it.
- The file is exactly what stands between two delimiters, and a part is known by its name alone, not by a file's name.
- No page of another origin can send such a form with somebody's sign-in cookie.
"""

import base64
import re
from collections.abc import Iterator

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, Preamble, State

from core.errors import InvalidRequestError
from functions.answers import JSON
from functions.bodies import canonical, media_type_of, parsed
from functions.operations import Upload
from functions.problems import BodyTooLargeError, UnsupportedMediaTypeError

REQUEST, FILE = "request", "file"
#: Of the file; of the whole form, which holds the request, too.
MAX_FILE = 65_536
MAX_FORM = 196_608
_MAX_HEADERS = 2_048
_NEWLINE = b"\r\n"
# RFC 2046, chapter 5.1.1.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# Transfer encodings under which octets stand for themselves. RFC 7578 deprecates all, and some clients send these.
_VERBATIM = frozenset({"", "7bit", "8bit", "binary"})


def canonical_form(upload: Upload, content: bytes, content_type: str, authorization: str | None) -> bytes:
    """Return the canonical JSON of a form: its part `request`, with its part `file` where `upload` says."""
    _require_bearer(authorization)
    if len(content) > MAX_FORM:
        raise BodyTooLargeError(f"A form has at most {MAX_FORM} bytes.")
    parts = dict(_parts(content, _boundary(content_type)))
    for name in (REQUEST, FILE):
        if name not in parts:
            raise InvalidRequestError(f"The form has no part `{name}`.", code="missing_field", field=name)
    file = parts[FILE]
    if not file:
        raise InvalidRequestError("The file is empty.", code="invalid_field", field=FILE)
    if len(file) > MAX_FILE:
        raise BodyTooLargeError(f"A file has at most {MAX_FILE} bytes.", field=FILE)
    body = parsed(parts[REQUEST])
    if not isinstance(body, dict):
        raise InvalidRequestError("The part `request` is a JSON object.", code="invalid_field", field=REQUEST)
    _put(body, upload.member, base64.b64encode(file).decode())
    for member, value in upload.alongside.items():
        _put(body, member, value)
    return canonical(body)


def _require_bearer(authorization: str | None) -> None:
    # A browser sends a form of any page to any server, without asking and with the cookie that the platform's sign-in
    # left. It never adds this header by itself, and a script that does must first be allowed to (CORS).
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        detail = "A form needs Authorization: Bearer. With a sign-in cookie, send the file's content as JSON."
        raise UnsupportedMediaTypeError(detail, field="Authorization")


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise _malformed("The Content-Type names no boundary, or not a valid one.")
    return boundary.encode()


def _parts(content: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the octets of each part."""
    count = 0
    for name, data in _decoded(content, boundary):
        count += 1
        yield name, data
    # The parser takes a lone CR or LF for the end of a line, too, and could cut one off the end of a file.
    if (_NEWLINE + content).count(_NEWLINE + b"--" + boundary) != count + 1:
        raise _malformed("A delimiter of the form does not stand on a line of its own that ends with CR LF.")


def _decoded(content: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    decoder = MultipartDecoder(boundary)
    decoder.receive_data(content)
    decoder.receive_data(None)
    seen: set[str] = set()
    name, data = "", bytearray()
    while True:
        if decoder.state is State.PART:
            _require_headers(decoder.buffer)
        try:
            event = decoder.next_event()
        except ValueError:
            raise _malformed("The form is cut off, or a part's headers cannot be read.") from None
        match event:
            case Field() | File():
                name, data = _name(event), bytearray()
                if name in seen:
                    raise _malformed(f"The form has a second part `{name}`.")
                seen.add(name)
            case Data():
                data += event.data
                if not event.more_data:
                    yield name, bytes(data)
            case Preamble() | Epilogue() if event.data.strip(_NEWLINE):
                raise _malformed("There is something before the first or after the last delimiter of the form.")
            case Epilogue():
                return


def _require_headers(rest: bytearray) -> None:
    end = rest.find(_NEWLINE * 2, 0, _MAX_HEADERS)
    if end < 0:
        raise _malformed(f"A part's headers have more than {_MAX_HEADERS} bytes, or no end.")
    lines = rest[:end].replace(_NEWLINE, b"")
    if b"\r" in lines or b"\n" in lines:
        raise _malformed("A part's headers do not end with CR LF.")


def _name(part: Field | File) -> str:
    """Return the part's name, if it is one of the two and what stands in the part is verbatim."""
    headers = part.headers
    if len({name.lower() for name, _ in headers}) != len(headers):
        raise _malformed("A part has a header twice.")
    if headers["content-disposition"].partition(";")[0].strip().lower() != "form-data":
        raise _malformed("A part is not form-data.")
    if part.name not in (REQUEST, FILE):
        detail = f"A form has the parts `{REQUEST}` and `{FILE}`, and no other."
        raise InvalidRequestError(detail, code="unknown_field")
    if headers.get("content-transfer-encoding", "").lower() not in _VERBATIM:
        raise _malformed(f"The part `{part.name}` has a transfer encoding.")
    media_type = media_type_of(headers.get("content-type"))
    if part.name == REQUEST and media_type not in ("", JSON):
        raise UnsupportedMediaTypeError("The part `request` is JSON: Content-Type: application/json.", field=REQUEST)
    if media_type.startswith("multipart/"):
        raise _malformed("The file is a form itself.")
    return part.name


def _put(body: dict[str, object], path: str, value: str) -> None:
    *parents, name = path.split(".")
    holder = body
    for parent in parents:
        below = holder.setdefault(parent, {})
        if not isinstance(below, dict):
            raise InvalidRequestError("The file belongs into an object.", code="invalid_field", field=path)
        holder = below
    if name in holder:
        detail = "The file stands for this member: leave one of them out."
        raise InvalidRequestError(f"{path}: {detail}", code="invalid_field", field=path)
    holder[name] = value


def _malformed(detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code="upload_malformed")
