"""The `If-Match` of a caller against what is stored."""

from core.errors import StaleWriteError


def require_match(etag: str, if_match: str | None, what: str) -> None:
    """Raise StaleWriteError where the caller names the ETag of another state of `what` than the stored one."""
    if if_match is not None and if_match != etag:
        raise StaleWriteError(what)
