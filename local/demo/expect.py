"""What the demo does when something is not as it should be."""


class UnexpectedError(Exception):
    """Something that the demo shows is not as expected; the text is for people."""


def expect(what: str, found: object, wanted: object) -> None:
    """Raise UnexpectedError unless `found` equals `wanted`."""
    if found != wanted:
        raise UnexpectedError(f"{what}: expected {wanted!r}, found {found!r}")
