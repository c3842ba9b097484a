"""What goes to a host by somebody else's means, as a call of egress that is only decided on."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Action, Call, Route
from portcullis.core.egress import Destination, Way
from portcullis.core.errors import Problem
from portcullis.wire import egress
from portcullis.wire.json import encode

_PORTS: Final = {"http": egress.HTTP, "https": egress.HTTPS}


def connect(call_id: str, route: Route, authority: str) -> Call:
    """A connection to ``name:port`` of which nothing is read. Raises Problem PC5050."""
    where = egress.authority(authority)
    return _call(call_id, route, "CONNECT", where, egress.asked(Way.CONNECT, where))


def request(
    call_id: str, route: Route, *, method: str, scheme: str, host: str, target: str
) -> Call:
    """A request to ``host``, perhaps with a port, for ``target``, a path and perhaps a query.

    Raises Problem PC5050 for what is no DNS name and port, PC1011 for another scheme, or a method
    or target that could be read in two ways.
    """
    if scheme not in _PORTS:
        raise Problem("PC1011", "the scheme is neither http nor https")
    if method != egress.WEBSOCKET:
        egress.method(method)
    where = egress.authority(host, _PORTS[scheme])
    path = egress.origin(target).plain
    if not path:
        raise Problem("PC1011", "the path can be read in two ways")
    asked = egress.asked(Way.REQUEST, where, scheme=scheme, method=method, path=path)
    return _call(call_id, route, method, where, asked)


def _call(
    call_id: str, route: Route, method: str, where: Destination, asked: dict[str, Any]
) -> Call:
    return Call(
        id=call_id,
        route=route,
        action=Action.EGRESS,
        server="",
        name=str(where),
        method=method,
        arguments=asked,
        payload=asked,
        body=encode(asked),
    )
