"""One request to the control plane of the gate that runs on this machine."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final
from urllib.parse import urlsplit

from portcullis.bootstrap import GATE_FILE, local_operator
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import TokenAuthority
from portcullis.wire.json import decode

TOKEN_SECONDS: Final = 60
_TIMEOUT_SECONDS: Final = 30.0
_MAX_ANSWER: Final = 16 * 2**20


def call(
    url: str,
    method: str,
    path: str,
    token: str = "",
    body: dict[str, Any] | None = None,
    seconds: float = _TIMEOUT_SECONDS,
) -> Any:
    """One request to a gate on this machine; its decoded answer, or its refusal as a Problem.

    The answer has to begin within so many seconds. Without a ``token`` it is a request that carries
    its credential in its body.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["content-type"] = "application/json"
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read(_MAX_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        detail = f"the gate at {url} does not answer ({type(error).__name__})"
        hint = f"If no gate runs, remove {GATE_FILE} from the state directory."
        raise Problem("PC7005", detail, hint=hint) from None
    finally:
        connection.close()
    value = decode(content) if content else None
    if answer.status < http.client.BAD_REQUEST:
        return value
    if isinstance(value, dict) and value.get("code") in CODES:
        raise Problem(value["code"], str(value.get("detail")), hint=value.get("hint"))
    raise Problem("PC7005", f"the gate at {url} answered {answer.status}")


class Asking:
    """Asks the control plane at ``url``, as the operator of this machine."""

    def __init__(self, url: str, authority: TokenAuthority) -> None:
        self._url = url
        self._authority = authority

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        seconds: float = _TIMEOUT_SECONDS,
    ) -> Any:
        minted = self._authority.mint(
            PrincipalKind.OPERATOR, local_operator(), ttl=TOKEN_SECONDS, roles=("admin",)
        )
        return call(self._url, method, f"/api/v1{path}", minted.token, body, seconds)
