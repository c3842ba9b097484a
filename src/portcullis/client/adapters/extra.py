"""The packages that an adapter needs beside Portcullis itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Import a framework's modules in this: an ImportError names the extra that has them."""
    try:
        yield
    except ImportError as error:
        said = (
            f"{error}; install the extra {name}: pip install -e '.[{name}]' in Portcullis's folder"
        )
        raise ImportError(said, name=error.name) from error
