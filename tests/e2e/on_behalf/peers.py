"""The peers of these tests: a certified OpenID provider, and the official SDK's MCP server.

The provider (npm's oidc-provider) is the authorization server; the MCP server takes its tokens and
says whose they are, by introspection (RFC 7662). ``Browser`` logs in and consents as a person does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

from needs import NODE
from portcullis.demo.model import StandinModel
from portcullis.demo.serve import Receive, Scope, Send, answer, serving
from portcullis.demo.tools.host import running
from ports import free_port

HERE = Path(__file__).parent
PROVIDER = NODE / "oidc-provider/lib/index.js"
CLIENT = "gate"
APP = "http://127.0.0.1:1/app"
"""Where an application of somebody else's has its users come back to."""


@dataclass
class Authority:
    """The authorization server: ``issuer`` is its address, ``secret`` our client's."""

    issuer: str
    secret: str
    process: asyncio.subprocess.Process
    resource: str

    async def introspect(self, token: str) -> dict[str, Any]:
        async with httpx2.AsyncClient() as http:
            answer = await http.post(
                f"{self.issuer}/token/introspection",
                data={"token": token},
                auth=(CLIENT, self.secret),
            )
        return answer.json()

    async def id_token(self, user: str) -> str:
        """An ID token of a person, as an application gets one."""
        verifier = secrets.token_urlsafe(32)
        challenge = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "client_id": CLIENT,
            "redirect_uri": APP,
            "response_type": "code",
            "scope": "openid",
            "state": "s",
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        async with Browser(user) as browser:
            back = await browser.consent(f"{self.issuer}/auth?{urlencode(asked)}", APP)
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(back).query)["code"][0],
            "redirect_uri": APP,
            "code_verifier": verifier,
        }
        async with httpx2.AsyncClient() as http:
            told = await http.post(f"{self.issuer}/token", data=form, auth=(CLIENT, self.secret))
        return told.raise_for_status().json()["id_token"]


@contextlib.asynccontextmanager
async def authority(resource: str, back: list[str], seconds: int) -> AsyncIterator[Authority]:
    """Run the provider; ``back`` are our client's redirect URIs, exactly."""
    port, secret = free_port(), secrets.token_urlsafe(24)
    settings = {
        "port": port,
        "seconds": seconds,
        "resource": resource,
        "clients": [
            {
                "client_id": CLIENT,
                "client_secret": secret,
                "redirect_uris": [*back, APP],
                "grant_types": [
                    *("authorization_code", "refresh_token", "client_credentials"),
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ],
            }
        ],
    }
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "server.mjs"), PROVIDER.resolve().as_uri(), json.dumps(settings)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30):
            while b"ready" not in (line := await process.stdout.readline()):
                assert line, "the provider ended"
        yield Authority(f"http://127.0.0.1:{port}", secret, process, resource)
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(10):
            await process.wait()


class Browser:
    """A person's browser: it logs in as that person wherever it is asked, and says yes."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.http = httpx2.AsyncClient(headers={"accept": "text/html"}, timeout=20)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def consent(self, url: str, until: str, *, says: str = "yes") -> str:
        """Go on from the authorization server's page to where it leads back to us."""
        answer = await self.http.get(url)
        for _ in range(20):
            if answer.status_code in {302, 303}:
                url = urljoin(url, answer.headers["location"])
                if url.startswith(until):
                    return url
                answer = await self.http.get(url)
                continue
            form = re.search(r'action="([^"]+)"', answer.text)
            assert answer.status_code == 200, answer.text[:500]
            assert form, answer.text[:500]
            login = 'name="login"' in answer.text
            said = {"prompt": "login", "login": self.user, "password": "any"}
            if not login and says == "no":
                abort = re.search(r'href="([^"]+/abort)"', answer.text)
                url = urljoin(url, abort[1])
                answer = await self.http.get(url)
                continue
            url = urljoin(url, form[1])
            answer = await self.http.post(url, data=said if login else {"prompt": "consent"})
        raise AssertionError("it led nowhere")

    async def begin(self, link: str) -> str:
        """Follow a link of ours and press its button; where it leads then."""
        page = await self.http.get(link)
        assert page.status_code == 200, page.text[-800:]
        once = re.search(r'name="once" value="([^"]+)"', page.text)[1]
        origin = f"http://{urlsplit(link).netloc}"
        answer = await self.http.post(
            link.partition("?")[0],
            data={"once": once},
            headers={"origin": origin, "sec-fetch-site": "same-origin"},
        )
        assert answer.status_code == 200, answer.text[-800:]
        return re.search(r'<a class="button primary" href="([^"]+)"', answer.text)[1].replace(
            "&amp;", "&"
        )

    async def connect(self, link: str, *, says: str = "yes") -> httpx2.Response:
        """All of it: follow the link, log in, say yes, come back."""
        to = await self.begin(link)
        place = link.partition("?")[0]
        back = await self.consent(to, f"{place}/callback", says=says)
        return await self.http.get(f"{back}&authuser=0")  # many servers say more than they need


@dataclass
class Mailbox:
    """The MCP server: ``seen`` has each call's token, and whose it was.

    It takes no token in ``refused``, as if it had ended early.
    """

    url: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    authority: Authority | None = None

    async def verify_token(self, token: str) -> AccessToken | None:
        """See the SDK's TokenVerifier."""
        said = await self.authority.introspect(token)
        if not said.get("active") or token in self.refused:
            return None
        subject = said.get("sub") or f"client:{said['client_id']}"
        self.seen.append((token, subject))
        return AccessToken(
            token=token,
            client_id=said["client_id"],
            scopes=said["scope"].split(),
            resource=said.get("aud"),
            subject=subject,
        )


@contextlib.asynccontextmanager
async def mailbox(port: int, box: Mailbox, issuer: str) -> AsyncIterator[None]:
    """Serve it at ``box.url``, which is on ``port``."""
    server = MCPServer(
        "mailbox",
        version="1",
        log_level="CRITICAL",
        token_verifier=box,
        auth=AuthSettings(
            issuer_url=issuer,
            resource_server_url=box.url,
            required_scopes=["mail.read"],
            validate_token_resource=True,
        ),
    )

    @server.tool()
    async def inbox() -> str:
        """Say whose mail it is."""
        return f"the mail of {get_access_token().subject}"

    @server.tool()
    async def leak() -> str:
        """Say the token."""
        return f"it was {get_access_token().token}"

    app = server.streamable_http_app(streamable_http_path="/mcp")
    async with running([server.session_manager]), serving(app, port=port):
        yield


@contextlib.asynccontextmanager
async def brain(box: Mailbox) -> AsyncIterator[str]:
    """A model endpoint that knows its users: the stand-in model, for whoever has a token."""
    credential = secrets.token_urlsafe(24)
    model = StandinModel(credential=credential)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        shown = headers.pop(b"authorization", b"").decode().removeprefix("Bearer ")
        if await box.verify_token(shown) is None:
            await answer(send, 401, b'{"error": {"message": "who are you?", "type": "auth"}}')
            return
        headers[b"authorization"] = f"Bearer {credential}".encode()
        await model(scope | {"headers": list(headers.items())}, receive, send)

    async with serving(app) as url:
        yield url
