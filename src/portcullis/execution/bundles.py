"""The bundles of federated trust domains: fetched, checked, kept (SPIFFE_Federation.md section 5).

A domain's bundle comes from its endpoint (``https_web`` or ``https_spiffe``) or from a file. The
last good one is kept on disk, so that a restart does not need the peer, and goes on to count
whatever happens: a failure is recorded and tried again, it never takes trust away or gives any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from portcullis.audit import files
from portcullis.config.identity import Federated
from portcullis.core.errors import Problem
from portcullis.core.spiffe import parse
from portcullis.execution.fetch import Fetcher
from portcullis.execution.tls import SpiffeTls, Tls
from portcullis.identity.bundle import MAX_DOCUMENT, Bundle, decode
from portcullis.identity.records import IdentityRecords
from portcullis.identity.trust import Trust

log = structlog.get_logger(__name__)

LEAST_SECONDS: Final = 60.0
MOST_SECONDS: Final = 86_400.0
"""What we make of a refresh hint: never more often, never less often."""
RETRY_SECONDS: Final = 5.0
"""After the first failure; each further one doubles it, up to the domain's usual time."""
SOURCE: Final = "federation"


class Bundles:
    """Keeps ``trust`` supplied with the bundles of ``federation``.

    ``directory`` is where the last good ones are kept (0700). ``web`` verifies the endpoints of
    the profile ``https_web``; one of ``https_spiffe`` must be its ``endpoint_id``, by the bundle
    held at that time. ``least`` shortens the times in tests. Raises Problem PC7001 for an
    ``endpoint_id`` that is none, and for our own trust domain.
    """

    def __init__(
        self,
        federation: Mapping[str, Federated],
        *,
        directory: Path,
        trust: Trust,
        web: Tls,
        records: IdentityRecords,
        least: float = LEAST_SECONDS,
    ) -> None:
        self._federation = dict(federation)
        self._directory = directory
        self._trust = trust
        self._records = records
        self._least = least
        if trust.bundles()[0].trust_domain in federation:
            raise Problem("PC7001", "identity.federation names our own trust domain")
        self._fetchers = {
            domain: Fetcher(one.url, tls=self._tls(domain, one, web), limit=MAX_DOCUMENT)
            for domain, one in federation.items()
            if one.url is not None
        }
        self.failures: dict[str, Problem] = {}
        """Why the last attempt for a domain failed; without those whose last attempt did not."""
        self._unkept: set[str] = set()

    def load(self) -> None:
        """Take what is on disk: the newer of the kept bundle and the configured file. Blocks.

        What cannot be used is recorded and passed over: that domain's workloads are then refused
        until a bundle comes.
        """
        for domain, one in self._federation.items():
            for path in (self._kept(domain), one.file):
                if path is not None and path.exists():
                    try:
                        bundle = decode(domain, _read(path))
                        self._trust.check(bundle)
                        self._trust.put(bundle)
                    except Problem as problem:
                        self._failed(domain, problem)

    async def run(self) -> None:
        """Refresh every domain when it is due, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for domain in self._federation:
                    group.create_task(self._follow(domain))
        finally:
            for fetcher in self._fetchers.values():
                await fetcher.close()

    async def refresh(self, domain: str) -> bool:
        """Look at one domain's bundle now; say whether it changed.

        Raises Problem PC7009, or of the range PC5, when there is no bundle that can be used; it
        is recorded. Nothing is trusted that could not be recorded (PC6001).
        """
        try:
            changed = await self._look(domain)
        except Problem as problem:
            raise self._failed(domain, problem) from None
        self.failures.pop(domain, None)
        return changed

    async def _follow(self, domain: str) -> None:
        failed = 0
        while True:
            try:
                await self.refresh(domain)
                failed = 0
            except Problem as problem:
                failed += 1
                log.warning("bundle not refreshed", trust_domain=domain, problem=str(problem))
            except Exception:  # a fault of ours must not end the refreshing for good
                failed += 1
                log.exception("bundle not refreshed", trust_domain=domain)
            usual = self._usual(domain)
            retry = self._least / LEAST_SECONDS * RETRY_SECONDS * 2.0 ** min(failed - 1, 20)
            await asyncio.sleep(min(usual, retry) if failed else usual)

    def _usual(self, domain: str) -> float:
        held = self._trust.bundle(domain)
        hint = held.refresh_hint if held is not None else self._least
        return min(max(hint, self._least), MOST_SECONDS)

    async def _look(self, domain: str) -> bool:
        fetcher, path = self._fetchers.get(domain), self._federation[domain].file
        if fetcher is not None:
            document = await fetcher.get()
        elif path is not None:
            document = await asyncio.to_thread(_read, path)
        else:
            raise Problem("PC7009", "the domain has neither url nor file")
        bundle = decode(domain, document)
        held = self._trust.bundle(domain)
        changed = held is None or _newer(bundle, held)
        if changed:
            self._trust.check(bundle)
            await self._records.done(
                "bundle.update",
                kind="trust-domain",
                principal=domain,
                credential="",
                source=SOURCE,
                parameters={"sequence": bundle.sequence, "anchors": sorted(bundle.anchors())},
            )
            self._trust.put(bundle)
            if fetcher is not None:
                self._unkept.add(domain)
        if domain in self._unkept:
            await asyncio.to_thread(self._keep, domain, document)
            self._unkept.discard(domain)
        return changed

    def _keep(self, domain: str, document: bytes) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self._kept(domain), document, mode=0o600)
            files.sync_directory(self._directory)
        except OSError as error:
            raise Problem(
                "PC7009", f"the bundle counts but could not be kept: {error.strerror}"
            ) from None

    def _kept(self, domain: str) -> Path:
        return self._directory / f"{domain}.json"

    def _failed(self, domain: str, problem: Problem) -> Problem:
        self.failures[domain] = problem
        return self._records.refused(
            "bundle.update", problem, source=SOURCE, kind="trust-domain", principal=domain
        )

    def _tls(self, domain: str, one: Federated, web: Tls) -> Tls:
        if one.profile == "https_web":
            return web
        try:
            return SpiffeTls(parse(one.endpoint_id or ""), self._trust)
        except Problem as problem:
            raise Problem("PC7001", f"federation.{domain}.endpoint_id: {problem.detail}") from None


def _newer(bundle: Bundle, held: Bundle) -> bool:
    """Whether a bundle is to be taken. Problem PC7009 for one that would lead back.

    The one held may come with another refresh hint, or be counted for the first time.
    """
    same = bundle.same_keys(held)
    if bundle.sequence < held.sequence:
        raise Problem("PC7009", "the bundle's sequence number went back")
    if bundle.sequence == held.sequence:
        if not same and held.sequence:
            raise Problem("PC7009", "the bundle's keys changed under the same sequence number")
        return not same
    return True


def _read(path: Path) -> bytes:
    try:
        return files.read(path, MAX_DOCUMENT)
    except OSError as error:
        raise Problem("PC7009", f"{path.name} cannot be read: {error.strerror}") from None
