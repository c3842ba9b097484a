"""People at the console without a browser: what one sends, and what it must not."""

import contextlib
import json
import re
import secrets
import time
from base64 import b32decode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from authenticators import Authenticator
from e2e.approvals.desk import Desk
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import CONSOLE, LINK

COOKIE = "portcullis"


@dataclass(frozen=True)
class Answer:
    """What came back; redirects are not followed."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookie: str
    """What the login cookie was set to, empty when it was not."""

    @property
    def code(self) -> str:
        """The code of a refusal, on a page or in a problem document."""
        found = re.search(r"\bPC\d{4}\b", self.text)
        return found[0] if found else ""

    @property
    def place(self) -> str:
        """Where it leads."""
        return self.headers.get("location", "")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


class Person:
    """Somebody with a cookie, or none yet."""

    def __init__(self, http: aiohttp.ClientSession, base: str, token: str = "") -> None:
        self._http = http
        self.base = base
        self.token = token

    async def get(self, path: str, **headers: str) -> Answer:
        """Look at a page."""
        return await self.ask("GET", path, None, headers)

    async def send(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form as a page of the console does."""
        return await self.ask("POST", path, fields, {"origin": self.base} | headers)

    async def ask(
        self, method: str, path: str, data: Any, headers: Mapping[str, str | None]
    ) -> Answer:
        """Ask for anything; a header that is None is left out."""
        said = {"cookie": f"{COOKIE}={self.token}"} if self.token else {}
        said |= {name.replace("_", "-"): value for name, value in headers.items() if value}
        async with self._http.request(
            method, self.base + path, data=data, headers=said, allow_redirects=False
        ) as answer:
            cookie = next((one for one in answer.cookies.values() if COOKIE in one.key), None)
            return Answer(
                answer.status,
                answer.headers,
                await answer.text(),
                cookie.value if cookie is not None else "",
            )

    async def csrf(self) -> str:
        """The hidden field of this login's forms."""
        page = await self.get("/account")
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
        assert found, page.text
        return found[1]

    async def act(self, path: str, **fields: str) -> Answer:
        """Send a form of this login, as a module does."""
        return await self.send(
            path, {"csrf": await self.csrf(), **fields}, accept="application/json"
        )

    async def add(self, authenticator: Authenticator, name: str = "Phone", **how: Any) -> Answer:
        """Add a passkey."""
        begun = await self.act("/account/passkeys/begin")
        if begun.status != 200:
            return begun
        answer = authenticator.make(begun.json()["options"], **({"origin": self.base} | how))
        ceremony = begun.json()["ceremony"]
        return await self.act("/account/passkeys", ceremony=ceremony, credential=answer, name=name)

    async def show(self, authenticator: Authenticator, **how: Any) -> Answer:
        """Log in with a passkey; then this is who it says."""
        begun = (await self.send("/login/passkey/begin", {})).json()
        answer = authenticator.show(begun["options"], **({"origin": self.base} | how))
        fields = {"ceremony": begun["ceremony"], "credential": answer}
        return self.into(await self.send("/login/passkey", fields))

    def into(self, answer: Answer) -> Answer:
        """Keep the cookie of an answer."""
        self.token = answer.cookie or self.token
        return answer


_STEP = 30
_SPARE = 6
"""For how many seconds a code has to be good, while a page is asked for with it."""


@dataclass
class Secrets:
    """What an operator logs in with. Each one-time code is good once."""

    name: str
    password: str
    totp: TOTP
    unused: int = 0
    """The first time step (RFC 6238) whose code is still good for something."""

    def fields(self, **more: str) -> dict[str, str]:
        """The login form, filled in with a code that is good for some seconds more."""
        now = time.time()
        step = max(self.unused, int((now + _SPARE) // _STEP) - 1)
        time.sleep(max(0.0, (step - 1) * _STEP - now))  # codes are taken one step early
        self.unused = step + 1
        code = self.totp.generate(step * _STEP).decode()
        return {"name": self.name, "password": self.password, "code": code, **more}


@dataclass(frozen=True)
class House:
    """A gate and its people."""

    desk: Desk
    http: aiohttp.ClientSession

    @property
    def services(self) -> Any:
        """The gate's."""
        return self.desk.stage.gate.services

    @property
    def base(self) -> str:
        """The console, under the name for which browsers have passkeys."""
        return self.desk.stage.gate.control_url.replace("127.0.0.1", "localhost")

    def nobody(self) -> Person:
        """Who has not logged in."""
        return Person(self.http, self.base)

    def person(self, name: str, *, ago: int = 0, ttl: int = 600) -> Person:
        """An operator of the desk with a login of its own, ``ago`` seconds old."""
        roles = self.services.directory.get(PrincipalKind.OPERATOR, name).roles
        then = int(time.time()) - ago
        minted = self.services.authority.mint(
            PrincipalKind.OPERATOR,
            name,
            ttl=ttl,
            roles=roles,
            auth_time=then,
            audience=CONSOLE,
        )
        return Person(self.http, self.base, minted.token)

    def bearer(self, name: str) -> dict[str, str]:
        """An operator's header for the API."""
        roles = self.services.directory.get(PrincipalKind.OPERATOR, name).roles
        minted = self.services.authority.mint(PrincipalKind.OPERATOR, name, ttl=600, roles=roles)
        return {"authorization": f"Bearer {minted.token}"}

    def link(self, ttl: int = 60, name: str = "local-tester") -> str:
        """What ``portcullis console`` puts into its link."""
        minted = self.services.authority.mint(
            PrincipalKind.OPERATOR, name, ttl=ttl, roles=("admin",), audience=LINK
        )
        return minted.token

    async def new(self, name: str, *roles: str) -> str:
        """Register an operator."""
        await self.desk.operator(name, *roles)
        return name

    async def enrol(self, name: str) -> Secrets:
        """Give an operator a password and an authenticator app."""
        password = secrets.token_urlsafe(18)
        url = f"{self.base}/api/v1/principals/operator/{name}/password"
        headers = self.bearer("ada")
        async with self.http.post(url, json={"password": password}, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            secret = parse_qs(urlsplit((await answer.json())["otpauth"]).query)["secret"][0]
        totp = TOTP(b32decode(secret), 6, SHA1(), 30, enforce_key_length=False)  # noqa: S303 - RFC 6238
        return Secrets(name, password, totp)

    async def administer(self, name: str, verb: str) -> int:
        """What an administrator does to an operator; the status."""
        url = f"{self.base}/api/v1/principals/operator/{name}/{verb}"
        headers = self.bearer("ada")
        async with self.http.post(url, headers=headers) as answer:
            return answer.status

    async def api(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request to the API."""
        async with self.http.request(
            method, self.base + path, json=body, headers=headers
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.text(), "")


@contextlib.asynccontextmanager
async def housed(desk: Desk) -> AsyncIterator[House]:
    """A house around a gate that runs."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield House(desk, http)
