"""If these fail, a root that was put into a box vouches for other hosts than it should."""

import ssl
import time

import pytest
from cryptography import x509

from portcullis.config.egress import EgressCredential
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.execution.egress.authority import LEAF_LIFE, ROOT_LIFE, EgressAuthority
from portcullis.execution.egress.credentials import EgressCredentials
from portcullis.execution.secrets import local_secrets

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self, now=None):
        self.at = time.time() if now is None else now

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


def shaken(root, server, host):
    """The version of TLS that a client which trusts ``root`` agrees on with ``server``."""
    client = ssl.create_default_context(cadata=root)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=host)
    two = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (one, two):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return one.version()


def test_every_gateway_vouches_under_the_root_that_one_gave():
    one, other = EgressAuthority(bytes(32), Clock()), EgressAuthority(bytes(32), Clock())
    root = one.root("a", ("*.shop.example", "api.example"))
    for host in ("www.shop.example", "api.example"):
        assert shaken(root, other.context("a", host), host) == "TLSv1.3"


@pytest.mark.parametrize(
    ("secret", "agent", "host"),
    [(1, "a", "api.example"), (0, "b", "api.example"), (0, "a", "bank.example")],
    ids=["deployment", "agent", "host"],
)
def test_no_other_s_certificate_is_good_under_it(secret, agent, host):
    root = EgressAuthority(bytes(32), Clock()).root("a", ("api.example",))
    other = EgressAuthority(bytes([secret]) * 32, Clock())
    with pytest.raises(ssl.SSLError):
        shaken(root, other.context(agent, host), host)


def test_certificates_are_short_lived_and_made_anew_in_time():
    clock = Clock()
    authority = EgressAuthority(bytes(32), clock)
    root = x509.load_pem_x509_certificate(authority.root("a", ("api.example",)).encode())
    lasts = root.not_valid_after_utc - root.not_valid_before_utc
    assert ROOT_LIFE <= lasts < 2 * ROOT_LIFE
    first = authority.context("a", "api.example")
    assert authority.context("a", "api.example") is first
    clock.at += LEAF_LIFE.total_seconds() / 2 + 1
    assert authority.context("a", "api.example") is not first


async def test_a_credential_that_nobody_configured_is_not_given():
    agent = Principal(kind=PrincipalKind.AGENT, id="a", credential="", expires_at=1e12)
    context = Context(principal=agent, session=None, source="", trace_id="", received_at=0)
    settings = {"one": EgressCredential(credential="env:KEY", header="X-Key", scheme="")}
    credentials = EgressCredentials(settings, local_secrets({"KEY": "value-of-the-key"}))
    given = await credentials.give("one", "api.example", context)
    assert given.header == ("x-key", "value-of-the-key")
    assert given.found_in(b"it is value-of-the-key.")
    assert "value" not in repr(given)
    with pytest.raises(Problem) as refused:
        await credentials.give("other", "api.example", context)
    assert refused.value.code == "PC5056"
