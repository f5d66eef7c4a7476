"""Writes docs/openapi.json, or compares it with what the code says.

python -m functions.openapi --write
python -m functions.openapi --check     # exit code 1 if it differs
"""

import argparse
import sys
from pathlib import Path

from functions.api import OPERATIONS
from functions.openapi_document import text_of

PATH = Path(__file__).parent.parent / "docs" / "openapi.json"


def write(path: Path = PATH) -> None:
    """Write the document."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text_of(OPERATIONS), encoding="utf-8")


def is_current(path: Path = PATH) -> bool:
    """Whether the document at `path` is what the code says."""
    return path.exists() and path.read_text(encoding="utf-8") == text_of(OPERATIONS)


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true")
    what.add_argument("--check", action="store_true")
    if parser.parse_args().write:
        write()
    elif not is_current():
        sys.stderr.write("docs/openapi.json is not what the code says. Run: python -m functions.openapi --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
