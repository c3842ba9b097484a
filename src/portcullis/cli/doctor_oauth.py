"""What ``portcullis doctor`` says of upstreams that take users' tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from portcullis.bootstrap.keys import SystemClock
from portcullis.bootstrap.on_behalf import page_of, upstreams_of
from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config, UpstreamOauth
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.execution.oauth.servers import Server, Servers
from portcullis.execution.oauth.web import Web
from portcullis.execution.tls import WebTls


def oauth(config: Config, secrets: SecretSource) -> Iterator[Finding]:
    """Whether each one's authorization server is what it must be, and where users come back to."""
    try:
        upstreams = upstreams_of(config)
    except Problem as problem:
        yield Finding("oauth", ok=False, found=problem.detail, do=problem.hint)
        return
    for name, (settings, url) in upstreams.items():
        what = f"authorization server of {name}"
        try:
            if settings.client_secret is not None:
                secrets.resolve(settings.client_secret)
            server = asyncio.run(_found(settings, url))
        except Problem as problem:
            yield Finding(what, ok=False, found=problem.detail, do=problem.hint)
            continue
        back = f"; it has to know {page_of(config, name, '')}/callback"
        found = server.issuer or server.token_endpoint
        yield Finding(what, ok=True, found=found + (back if settings.mode == "user" else ""))


async def _found(settings: UpstreamOauth, url: str) -> Server:
    web = Web(WebTls())
    try:
        return await Servers(settings, url, web, SystemClock()).find()
    finally:
        web.close()
