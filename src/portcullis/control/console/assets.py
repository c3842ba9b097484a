"""The console's own files: style sheet and modules, each under a name that holds its digest."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.console.headers import ASSET_HEADERS, HEADERS

PLACE: Final = "/console/assets/"

_KINDS: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_IMPORTED: Final = re.compile(r'(?<=from "\./)[a-z_]+\.js(?=")')


class Assets:
    """The files of the package's ``static`` folder, read once; modules import each other's names.

    A module that imports itself, also through others, is a fault of ours: RecursionError.
    """

    def __init__(self) -> None:
        folder = files("portcullis.control.console") / "static"
        self._sources = {
            one.name: one.read_text(encoding="utf-8")
            for one in folder.iterdir()
            if one.name.rpartition(".")[2] in _KINDS
        }
        self._names: dict[str, str] = {}
        self._served: dict[str, bytes] = {}
        for name in self._sources:
            self._made(name)

    def url(self, name: str) -> str:
        """Where a file is. KeyError for one that there is not."""
        return PLACE + self._names[name]

    def route(self) -> Route:
        """The files, for anybody: they are the same in every deployment."""
        return Route(PLACE + "{name}", self._answer, include_in_schema=False)

    async def _answer(self, request: Request) -> Response:
        found = self._served.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404, headers=HEADERS)
        kind = _KINDS[request.path_params["name"].rpartition(".")[2]]
        return Response(found, headers=ASSET_HEADERS | {"content-type": kind})

    def _made(self, name: str) -> str:
        """The name with the digest of a file, after those that it imports."""
        if name not in self._names:
            text = _IMPORTED.sub(lambda found: self._made(found[0]), self._sources[name])
            content = text.encode()
            stem, _, kind = name.rpartition(".")
            made = f"{stem}.{hashlib.sha256(content).hexdigest()[:16]}.{kind}"
            self._names[name] = made
            self._served[made] = content
        return self._names[name]
