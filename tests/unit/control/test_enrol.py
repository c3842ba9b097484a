"""If these fail, somebody gets a certificate who is not that workload, or without a record."""

import base64
import hashlib
import secrets
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.testclient import TestClient

from holders import peer_of
from portcullis.config.identity import Identity
from portcullis.control import enrol
from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.ports import Entry
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import parse
from portcullis.identity.authority import open_authority
from portcullis.identity.records import IdentityRecords
from portcullis.identity.svid import thumbprint
from portcullis.wire.certificates import der
from sealers import sealer_at

DOMAIN = "example.test"
POD = ("k8s:cluster:prod", "k8s:ns:shop", "k8s:sa:default")


def csr(key=None, digest=None, subject="/agent/admin"):
    key = key or ec.generate_private_key(ec.SECP256R1())
    if digest is None and not isinstance(key, Ed25519PrivateKey):
        digest = hashes.SHA256()
    uri = x509.UniformResourceIdentifier(f"spiffe://{DOMAIN}{subject}")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "admin")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


class Bench:
    """The enrolment route over real stores; ``peer`` is whose certificate the caller shows."""

    def __init__(self, world, tmp_path):
        self.world = world
        self.peer = None
        services = world.services
        number = iter(range(1, 10**6))
        self.authority = open_authority(
            tmp_path / "ca",
            trust_domain=DOMAIN,
            settings=Identity(),
            sealer=sealer_at(tmp_path),
            clock=world.clock,
            new_id=lambda: f"{int(world.clock.time * 1000):012x}{next(number):020x}",
        )
        self.pods = {}
        self.enrolment = enrol.Enrolment(
            authority=self.authority,
            authenticator=services.authority,
            registrations=services.registrations,
            directory=services.directory,
            feed=services.feed,
            records=IdentityRecords("gate-1", world.recorder, world.clock, services.new_id),
            clock=world.clock,
            selectors=self.selectors,
        )
        edge = services.edge("api")
        app = edge.app("enrolment", "1")
        app.include_router(enrol.router(edge, self.enrolment))

        async def outer(scope, receive, send):
            if self.peer is not None:
                scope["portcullis.peer"] = self.peer
            await app(scope, receive, send)

        self.client = TestClient(outer, raise_server_exceptions=False)

    async def selectors(self, cluster, token):
        if (cluster, token) not in self.pods:
            raise Problem("PC2062", "unknown")
        return self.pods[cluster, token]

    def post(self, **body):
        return self.client.post("/v1/svid", json={"csr": csr()} | body)

    def pod(self, token):
        return self.post(kubernetes_token=token, cluster="prod")

    def code(self, **body):
        return self.post(**body).json()["code"]

    def join(self, kind="agent", name="shop-1", seconds=600):
        token = secrets.token_urlsafe(32)
        self.world.services.registrations.join(
            hashlib.sha256(token.encode()).digest(),
            PrincipalKind(kind),
            name,
            self.world.clock.time + seconds,
        )
        return token

    def entry(self, name="shop-1", selectors=POD, ttl=0, kind="agent"):
        self.world.services.registrations.add(
            Entry(
                id=secrets.token_hex(16),
                kind=PrincipalKind(kind),
                principal=name,
                selectors=selectors,
                ttl_seconds=ttl,
                created_at=self.world.clock.time,
            )
        )

    def show(self, answer):
        """From now on the caller shows the certificate that was just issued."""
        said = answer.json()
        leaf = der(said["svid"])[0]
        self.peer = Peer(
            id=parse(said["spiffe_id"]),
            serial=said["serial"],
            thumbprint=thumbprint(leaf),
            anchor="",
            issued_at=self.world.clock.time,
            expires_at=said["expires_at"],
        )
        return leaf


@pytest.fixture
def bench(world, tmp_path):
    world.register("agent", "shop-1")
    world.register("agent", "shop-2")
    world.register("application", "web")
    found = Bench(world, tmp_path)
    with found.client:
        yield found


def test_a_join_token_gives_the_principal_it_was_made_for_whatever_the_request_says(bench):
    answer = bench.post(join_token=bench.join())
    assert answer.status_code == 201
    said = answer.json()
    assert said["spiffe_id"] == f"spiffe://{DOMAIN}/agent/shop-1"
    leaf = x509.load_der_x509_certificate(der(said["svid"])[0])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [said["spiffe_id"]]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert der(said["bundle"]) == bench.authority.bundle().x509
    assert said["expires_at"] == leaf.not_valid_after_utc.timestamp()
    assert answer.headers["cache-control"] == "no-store"


def test_it_is_in_the_log_before_the_certificate_leaves_and_without_the_token(bench):
    token = bench.join()
    said = bench.post(join_token=token).json()
    event = bench.world.recorder.last
    assert (event.type, event.method, event.verdict) == ("identity", "svid.issue", "allow")
    assert (event.principal_kind, event.principal) == ("agent", "shop-1")
    assert event.credential == f"svid:{said['serial']}"
    assert event.parameters == {
        "thumbprint": thumbprint(der(said["svid"])[0]),
        "expires_at": int(said["expires_at"]),
        "attestor": "join_token",
    }
    assert token not in str(bench.world.recorder.events)


def test_nothing_leaves_unrecorded(bench):
    bench.world.recorder.full = True
    answer = bench.post(join_token=bench.join())
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")
    assert "svid" not in answer.json()


def test_a_join_token_is_good_once_and_for_its_time(bench):
    token = bench.join()
    assert bench.post(join_token=token).status_code == 201
    assert bench.code(join_token=token) == "PC2061"
    late = bench.join(seconds=10)
    bench.world.clock.time += 10
    assert bench.code(join_token=late) == "PC2061"
    refused = bench.world.recorder.last
    assert (refused.verdict, refused.code) == ("deny", "PC2061")


def test_guessing_join_tokens_costs_time_for_that_address_alone(bench):
    for _ in range(enrol.FREE_FAILURES + 1):
        assert bench.code(join_token=secrets.token_urlsafe(32)) == "PC2061"
    good = bench.join()
    answer = bench.post(join_token=good)
    assert (answer.status_code, answer.json()["code"]) == (429, "PC2064")
    elsewhere = TestClient(bench.client.app, client=("10.0.0.9", 1234))
    assert elsewhere.post("/v1/svid", json={"csr": csr(), "join_token": good}).status_code == 201
    bench.world.clock.time += enrol.LONGEST_WAIT_SECONDS
    assert bench.post(join_token=bench.join()).status_code == 201


def test_a_refused_proof_stands_in_the_log_by_its_fingerprint_alone(bench):
    proofs = {
        "join_token": {"join_token": secrets.token_urlsafe(32)},
        "kubernetes_token": {"kubernetes_token": secrets.token_urlsafe(32), "cluster": "prod"},
    }
    for name, proof in proofs.items():
        assert bench.post(**proof).status_code == 403
        event = bench.world.recorder.last
        digest = hashlib.sha256(proof[name].encode()).hexdigest()
        assert (event.type, event.method, event.verdict) == ("identity", "svid.issue", "deny")
        assert event.credential == f"sha256:{digest}"
        assert proof[name] not in str(bench.world.recorder.events)
    bench.peer = peer_of("/agent/nobody", bench.world.clock.now())
    assert bench.code() == "PC2007"
    event = bench.world.recorder.last
    assert (event.type, event.method) == ("identity", "svid.renew")
    assert event.credential == f"svid:{bench.peer.serial}"


def broken_csr():
    raw = bytearray(x509.load_pem_x509_csr(csr().encode()).public_bytes(Encoding.DER))
    raw[-5] ^= 1
    text = x509.load_der_x509_csr(bytes(raw)).public_bytes(Encoding.PEM)
    return text.decode()


def another_version():
    raw = x509.load_pem_x509_csr(csr().encode()).public_bytes(Encoding.DER)
    changed = base64.encodebytes(raw.replace(b"\x02\x01\x00", b"\x02\x01\x05", 1)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{changed}-----END CERTIFICATE REQUEST-----\n"


REFUSED = {
    "another version": another_version,
    "rubbish": lambda: "rubbish",
    "another key type": lambda: csr(rsa.generate_private_key(65537, 2048)),
    "another curve": lambda: csr(ec.generate_private_key(ec.SECP384R1())),
    "not signed by its key": broken_csr,
    "a certificate": lambda: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_refused_before_the_join_token_is_used_up(bench, make):
    token = bench.join()
    assert bench.code(csr=make(), join_token=token) == "PC2063"
    assert bench.post(join_token=token).status_code == 201


def test_ed25519_keys_are_taken_too(bench):
    answer = bench.post(csr=csr(Ed25519PrivateKey.generate()), join_token=bench.join())
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kubernetes_token": "x"}, "PC1020"),
        ({"cluster": "prod"}, "PC1020"),
        ({"join_token": "x", "kubernetes_token": "y", "cluster": "prod"}, "PC1020"),
        ({"join_token": ""}, "PC1020"),
        ({"spiffe_id": "spiffe://example.test/agent/admin"}, "PC1021"),
        ({"csr": "x" * 9000}, "PC1020"),
    ],
    ids=["no cluster", "no token", "two proofs", "empty", "unknown field", "too long"],
)
def test_a_request_of_another_shape_is_refused(bench, body, code):
    assert bench.code(**body) == code


def test_a_pod_becomes_the_principal_of_its_entry(bench):
    bench.entry(ttl=120)
    bench.pods["prod", "good"] = POD
    said = bench.pod("good").json()
    assert said["spiffe_id"] == f"spiffe://{DOMAIN}/agent/shop-1"
    assert said["expires_at"] == pytest.approx(bench.world.clock.time + 120, abs=1)
    assert bench.world.recorder.last.parameters["attestor"] == "kubernetes:prod"


def test_a_pod_without_an_entry_or_with_two_is_nobody(bench):
    bench.pods["prod", "good"] = POD
    assert bench.pod("bad").json()["code"] == "PC2062"
    assert bench.pod("good").json()["code"] == "PC2060"
    bench.entry("shop-1")
    bench.entry("shop-2", selectors=POD[:2])
    assert bench.pod("good").json()["code"] == "PC2060"


@pytest.mark.anyio
@pytest.mark.parametrize("state", ["suspended", "expired", "revoked"])
async def test_who_is_not_active_gets_no_certificate(bench, state):
    await bench.world.set_state("agent", "shop-1", state)
    assert bench.code(join_token=bench.join()) == "PC4001"


@pytest.mark.anyio
async def test_a_refusal_while_somebody_is_cut_off_or_the_feed_is_stale_uses_no_token_up(bench):
    feed, token = bench.world.services.feed, bench.join()
    feed.lease(lambda: False)
    assert bench.code(join_token=token) == "PC4002"
    feed.lease(None)
    feed.sever("agent", "shop-1", "a drill")
    assert bench.code(join_token=token) == "PC4001"
    await feed.lift("agent", "shop-1")
    assert bench.post(join_token=token).status_code == 201
    assert bench.code(join_token=token) == "PC2061"


def test_people_and_gateways_do_not_enrol(bench):
    bench.world.register("operator", "ada", ["admin"])
    for kind, name in (("operator", "ada"), ("gateway", "gate")):
        assert bench.code(join_token=bench.join(kind, name)) == "PC2004"


def test_who_is_not_registered_gets_no_certificate(bench):
    assert bench.code(join_token=bench.join(name="nobody")) == "PC2007"


def test_a_certificate_renews_itself_for_its_own_principal(bench):
    bench.show(bench.post(join_token=bench.join("application", "web")))
    old = bench.peer.serial
    bench.world.clock.time += 1800
    said = bench.post().json()
    assert said["spiffe_id"] == f"spiffe://{DOMAIN}/application/web"
    assert said["serial"] != old
    event = bench.world.recorder.last
    assert event.method == "svid.renew"
    assert event.parameters["renews"] == f"svid:{old}"


def test_without_a_certificate_there_is_no_renewal(bench):
    answer = bench.post()
    assert (answer.status_code, answer.json()["code"]) == (401, "PC2020")


def test_a_token_does_not_stand_in_for_the_certificate_in_a_renewal(bench):
    headers = bench.world.bearer("agent", "shop-1")
    answer = bench.client.post("/v1/svid", json={"csr": csr()}, headers=headers)
    assert answer.json()["code"] == "PC2020"


def test_an_entrys_shorter_life_holds_for_renewals_too(bench):
    bench.entry(ttl=120)
    bench.show(bench.post(join_token=bench.join()))
    assert bench.post().json()["expires_at"] == pytest.approx(bench.world.clock.time + 120, abs=1)


@pytest.mark.anyio
async def test_a_revoked_certificate_does_not_renew(bench):
    bench.show(bench.post(join_token=bench.join()))
    bench.world.services.feed.sever("credential", f"svid:{bench.peer.serial}", "stolen")
    assert bench.code() == "PC4001"


@pytest.mark.anyio
async def test_a_certificate_from_before_a_rotation_does_not_renew(bench):
    bench.show(bench.post(join_token=bench.join()))
    bench.world.clock.time += 10
    principals = bench.world.services.principals("control")
    context = bench.world.context("local-ada", "admin")
    await principals.rotate(context, PrincipalKind.AGENT, "shop-1")
    bench.world.clock.time += 10
    assert bench.code() == "PC4001"
    assert bench.post(join_token=bench.join()).status_code == 201


def test_a_rotation_that_overtakes_a_renewal_wins(bench):
    """Else whoever stole the old certificate would leave with a new one."""
    bench.show(bench.post(join_token=bench.join()))
    bench.world.clock.time += 10

    def rotated(event):
        if event.method == "svid.renew":
            at = bench.world.clock.time
            bench.world.services.feed.outdate(PrincipalKind.AGENT, "shop-1", at)

    bench.world.recorder.watch = rotated
    assert bench.code() == "PC4001"


def test_a_certificate_of_another_trust_domain_is_renewed_there(bench):
    bench.show(bench.post(join_token=bench.join()))
    bench.peer = Peer(
        id=parse("spiffe://other.test/agent/shop-1"),
        serial="1",
        thumbprint="x",
        anchor="",
        issued_at=time.time(),
        expires_at=2e9,
    )
    assert bench.code() == "PC2027"
