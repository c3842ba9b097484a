"""Direct or remote: the one place that decides how a command administers a deployment.

While a gate runs it is the only writer of its log and holds the sessions, so commands ask its
control plane. Otherwise they open the store and the log themselves. Either way the authority is
the issuer's key in the state directory: whoever can read it is the operator ``local-NAME``.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import pwd
import re
import secrets
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec

from portcullis.bootstrap import GATE, GATE_FILE, authority_of, founded
from portcullis.config import Config
from portcullis.control.principals import LOCAL, Principals
from portcullis.control.records import Caller, Records
from portcullis.control.shapes import PrincipalView, TokenView
from portcullis.core.call import Context
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.tokens import Minted, TokenAuthority
from portcullis.wire.json import decode

_T = TypeVar("_T")
_TOKEN_SECONDS: Final = 60
_TIMEOUT_SECONDS: Final = 30
PATIENCE_SECONDS: Final = 5
"""How long a command waits for another process that has the log open and is no running gate."""
_MAX_ANSWER: Final = 16 * 2**20


class RunningGate(msgspec.Struct, frozen=True):
    """What a running gate says of itself in ``gate.json``: its URLs and its process id."""

    control: str
    gate: str
    pid: int


def running_gate(config: Config) -> RunningGate | None:
    """The gate that runs on this state directory, or None. Raises Problem PC7001 for a bad file."""
    path = config.state / GATE_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RunningGate)
        os.kill(found.pid, 0)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
    except PermissionError as error:
        raise Problem("PC7001", f"the gate of {path} is another user's: {error.strerror}") from None
    except msgspec.DecodeError:
        raise Problem("PC7001", f"{path} is not what a gate writes") from None
    return found


@contextlib.contextmanager
def operations(config: Config) -> Iterator[Operations]:
    """Administer the deployment of ``config`` until the block ends."""
    with contextlib.ExitStack() as stack:
        yield _reached(stack, config)


def _reached(stack: contextlib.ExitStack, config: Config) -> Operations:
    """The gate that runs, or else the store and the log; a gate that is starting gets its time."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        gate = running_gate(config)
        if gate is not None:
            return _Remote(gate.control, authority_of(config))
        try:
            return _direct(stack, config)
        except Problem as problem:
            if problem.code != "PC6003" or time.monotonic() > until:
                raise
        time.sleep(0.05)


def call(url: str, method: str, path: str, token: str, body: dict[str, Any] | None = None) -> Any:
    """One request to a gate on this machine; its decoded answer, or its refusal as a Problem."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS
    )
    headers = {"authorization": f"Bearer {token}"}
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


def _local_operator() -> str:
    """``local-`` and the name of the user who runs the command, in the form of our names."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return LOCAL + re.sub("[^a-z0-9_-]", "-", user.lower())[:50]


class _Remote:
    """Asks the control plane of the gate that runs."""

    def __init__(self, url: str, authority: TokenAuthority) -> None:
        self._url = url
        self._authority = authority

    def create(
        self, kind: PrincipalKind, name: str, *, owner: str, roles: tuple[str, ...] = ()
    ) -> PrincipalRecord:
        body: dict[str, Any] = {"kind": kind.value, "id": name, "owner": owner}
        if roles:
            body["roles"] = list(roles)
        return self._principal("POST", "", body)

    def get(self, kind: PrincipalKind, name: str) -> PrincipalRecord:
        return self._principal("GET", f"/{kind}/{name}")

    def list(self, kind: PrincipalKind) -> tuple[PrincipalRecord, ...]:
        found = self._call("GET", f"?kind={kind}")["principals"]
        return tuple(PrincipalView.model_validate(each).record() for each in found)

    def set_state(self, kind: PrincipalKind, name: str, state: str) -> PrincipalRecord:
        verb = "enable" if state == "active" else "disable"
        return self._principal("POST", f"/{kind}/{name}/{verb}")

    def mint(self, kind: PrincipalKind, name: str, *, ttl: int | None = None) -> Minted:
        found = self._call("POST", f"/{kind}/{name}/tokens", {"ttl_seconds": ttl})
        view = TokenView.model_validate(found)
        return Minted(token=view.token, id=view.credential, expires_at=view.expires_at)

    def _principal(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> PrincipalRecord:
        return PrincipalView.model_validate(self._call(method, path, body)).record()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        minted = self._authority.mint(
            PrincipalKind.OPERATOR, _local_operator(), ttl=_TOKEN_SECONDS, roles=("admin",)
        )
        return call(self._url, method, f"/api/v1/principals{path}", minted.token, body)


class _Direct:
    """Runs the service itself, on the store and the log."""

    def __init__(
        self, runner: asyncio.Runner, service: Principals, records: Records, clock: Clock
    ) -> None:
        self._runner = runner
        self._service = service
        self._records = records
        self._context = Context(
            principal=Principal(
                kind=PrincipalKind.OPERATOR,
                id=_local_operator(),
                credential="issuer-key",
                expires_at=clock.now() + _TOKEN_SECONDS,
                roles=("admin",),
            ),
            session=None,
            source="cli",
            trace_id=secrets.token_hex(16),
            received_at=clock.now(),
        )

    def create(
        self, kind: PrincipalKind, name: str, *, owner: str, roles: tuple[str, ...] = ()
    ) -> PrincipalRecord:
        work = self._service.create(self._context, kind, name, owner=owner, roles=roles)
        return self._run(work, "principals.create", kind, name)

    def get(self, kind: PrincipalKind, name: str) -> PrincipalRecord:
        return self._run(self._service.get(kind, name), "principals.show", kind, name)

    def list(self, kind: PrincipalKind) -> tuple[PrincipalRecord, ...]:
        return self._run(self._service.list(kind), "principals.list", kind, "")

    def set_state(self, kind: PrincipalKind, name: str, state: str) -> PrincipalRecord:
        work = self._service.set_state(self._context, kind, name, state)
        verb = "enable" if state == "active" else "disable"
        return self._run(work, f"principals.{verb}", kind, name)

    def mint(self, kind: PrincipalKind, name: str, *, ttl: int | None = None) -> Minted:
        work = self._service.mint(self._context, kind, name, ttl=ttl)
        return self._run(work, "tokens.mint", kind, name)

    def _run(
        self, work: Coroutine[Any, Any, _T], method: str, kind: PrincipalKind, name: str
    ) -> _T:
        try:
            return self._runner.run(work)
        except Problem as problem:
            caller = Caller(
                route="cli",
                source=self._context.source,
                trace_id=self._context.trace_id,
                principal=self._context.principal,
            )
            raise self._records.refused(problem, caller, method, f"{kind}:{name}") from None


def _direct(stack: contextlib.ExitStack, config: Config) -> Operations:
    """Open the store and the gate's own log, as their only writer (else Problem PC6003)."""
    services = founded(stack, config, GATE)
    runner = stack.enter_context(asyncio.Runner())
    return _Direct(runner, services.principals("cli"), services.records(), services.clock)


Operations: TypeAlias = _Remote | _Direct
"""What the commands do with principals. Refusals are Problems, recorded where they happen."""
