"""Bundles of policy: the key that signs ours, serving them, and taking those of a server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.bootstrap.keys import keys_of
from portcullis.catalogue.schema import fault
from portcullis.config import Config, PolicySource
from portcullis.config.places import Role
from portcullis.control.bundles import Bundles
from portcullis.control.releases import ReleaseParts, Releasing
from portcullis.control.services import Services
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer, SecretSource
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.release import File, Release
from portcullis.execution.policy_bundles import BundleServer
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.records import new_id
from portcullis.identity.keys import derived, issuer_key
from portcullis.identity.sealing import Envelope
from portcullis.policy.bundles.layout import agrees, built, number_of, opened
from portcullis.policy.bundles.signature import Private, Public, algorithm, public_key
from portcullis.policy.delivery import sources
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import compile_files

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's base point (SEC 2, section 2.4.2)."""

log = structlog.get_logger(__name__)


def signing_key(config: Config, sealer: Sealer | None = None) -> Private:
    """The key that signs bundles: the configured one, or else one of the issuer's.

    Raises Problem PC7001 for a key that cannot be used.
    """
    reference = config.policy_changes.bundle_key
    if reference is None:
        issuer = issuer_key(config.state / "keys", sealer or Envelope(keys_of(config)))
        return _own(issuer)
    pem = local_secrets(os.environ).resolve(reference).reveal().encode()
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, ValueError):
        raise Problem("PC7001", "policy_changes.bundle_key is no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Problem("PC7001", "policy_changes.bundle_key is P-256 (ES256) or RSA (RS256)")
    algorithm(key.public_key())
    return key


def _own(issuer: Ed25519PrivateKey) -> ec.EllipticCurvePrivateKey:
    """A P-256 key that is always the same (FIPS 186-5, appendix A.2.1: from extra random bits)."""
    secret = derived(issuer, "policy-bundles/1") + derived(issuer, "policy-bundles/2")
    return ec.derive_private_key(int.from_bytes(secret, "big") % (_ORDER - 1) + 1, ec.SECP256R1())


def serving(config: Config, services: Services) -> Bundles:
    """The bundles that the control plane serves."""
    key: list[Private] = []

    def made(release: Release, files: tuple[File, ...]) -> bytes:
        if not key:
            key.append(signing_key(config, services.sealer))
        return _archive(release.number, files, key[0], int(services.clock.now()))

    return Bundles(_parts(services).book, made, services.clock)


def archive_of(config: Config, number: int, files: tuple[File, ...], now: int) -> bytes:
    """A release's signed bundle. Raises Problem: for the policy, for the key."""
    return _archive(number, files, signing_key(config), now)


def _archive(number: int, files: tuple[File, ...], key: Private, now: int) -> bytes:
    bundle = compile_files(sources(files), fault, RegorusEngine()).bundle
    return built(bundle, files, number, key, now)


async def taking_bundles(
    config: Config,
    services: Services,
    secrets: SecretSource,
    refused: Callable[[Problem], None],
) -> None:
    """Make releases of what the configured server has, until cancelled; for the one that rules.

    ``refused`` is told of each problem, once until there is another. Raises Problem PC7001 for a
    key that cannot be used.
    """
    settings = config.policy_source
    if settings is None or not Role.of(services.gateway.rpartition("/")[2]).rules:
        return
    taker = _Taker(settings, services)
    server = BundleServer(settings, secrets)
    last: Problem | None = None
    try:
        while True:
            try:
                archive = await server.next()
                if archive is not None:
                    await taker.take(archive)
                last = None
            except Problem as problem:
                if last is None or str(last) != str(problem):
                    log.warning("policy_bundle_refused", code=problem.code, detail=problem.detail)
                    refused(problem)
                last = problem
            if last is not None or not server.waits:
                await asyncio.sleep(settings.seconds)
    finally:
        await server.close()


class _Taker:
    """Verifies archives and makes releases of them; nothing older than the last is one."""

    def __init__(self, settings: PolicySource, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._book = _parts(services).book
        self._releasing: Releasing = services.releasing("bundle")
        self._source = settings.bundle.partition("?")[0][:512]

    async def take(self, archive: bytes) -> None:
        """Verify, compare, compile and propose. Raises Problem."""
        key = await asyncio.to_thread(self._key)
        found = await asyncio.to_thread(opened, archive, key, self._settings.key_id)
        marked = await asyncio.to_thread(self._book.marked, self._source)
        if marked == found.revision:
            return
        if marked and found.number <= number_of(marked):
            detail = f"revision {found.number} came after {number_of(marked)}"
            raise Problem("PC7039", detail)
        policy = await asyncio.to_thread(
            compile_files, sources(found.sources), fault, RegorusEngine()
        )
        agrees(found, policy.bundle)
        try:
            await self._releasing.arrived(self._context(), found.sources, found.revision)
        except Problem as problem:
            if problem.code != "PC7035":  # what is in force already is what it says
                raise
        await asyncio.to_thread(self._book.mark, self._source, found.revision)

    def _key(self) -> Public:
        try:
            return public_key(self._settings.key.read_bytes())
        except OSError as error:
            raise Problem("PC7001", f"policy_source.key: {error.strerror}") from None

    def _context(self) -> Context:
        now = self._services.clock.now()
        principal = Principal(
            kind=PrincipalKind.GATEWAY, id="gate", credential="bundle", expires_at=now
        )
        return Context(
            principal=principal, session=None, source="bundle", trace_id=new_id(), received_at=now
        )


def _parts(services: Services) -> ReleaseParts:
    if services.release_parts is None:
        raise Problem("PC7005", "there are no releases of policy here")
    return services.release_parts
