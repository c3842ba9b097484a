"""A workload: the PyPI ``spiffe`` library and nothing of ours, driven by JSON lines.

    python spiffe_client.py SOCKET [UID]

Takes on another user id first, when it is given one. Each line on standard input is an object
with ``do``, the name of a function below, and its arguments; the answer is one line, with
``error`` when the library raised.
"""

import hashlib
import json
import os
import sys
import time

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from spiffe import JwtSource, JwtSvid, SpiffeId, TrustDomain, WorkloadApiClient, X509Source
from spiffe._proto import workload_pb2, workload_pb2_grpc
from spiffe.svid.jwt_svid import JwtSvid as Token

SOCKET = f"unix:{sys.argv[1]}"
SECONDS = 10
held = {}


def _client():
    if "client" not in held:
        held["client"] = WorkloadApiClient(SOCKET, default_timeout=SECONDS)
    return held["client"]


def _sha256(certificate):
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def _context(context):
    """What an X.509 context says; the chain and the key are verified here."""
    bundles = {
        bundle.trust_domain.name: sorted(map(_sha256, bundle.x509_authorities))
        for bundle in context.x509_bundle_set.bundles
    }
    svids = []
    for svid in context.x509_svids:
        leaf, signer = svid.cert_chain
        leaf.verify_directly_issued_by(signer)
        roots = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        [root] = [each for each in roots.x509_authorities if each.subject == signer.issuer]
        signer.verify_directly_issued_by(root)
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert svid.private_key.public_key().public_bytes(*form) == leaf.public_key().public_bytes(
            *form
        )
        svids.append(
            {
                "id": str(svid.spiffe_id),
                "serial": f"{leaf.serial_number:x}",
                "root": _sha256(root),
                "until": leaf.not_valid_after_utc.timestamp(),
            }
        )
    return {"svids": svids, "bundles": bundles}


def x509():
    return _context(_client().fetch_x509_context())


def x509_bundles():
    return sorted(each.trust_domain.name for each in _client().fetch_x509_bundles().bundles)


def jwt_bundles():
    bundles = _client().fetch_jwt_bundles().bundles
    return {each.trust_domain.name: sorted(each.jwt_authorities) for each in bundles}


def jwt(audience, subject=None):
    """A JWT-SVID, validated with the bundle."""
    client = _client()
    svid = client.fetch_jwt_svid(set(audience), SpiffeId(subject) if subject else None)
    bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    Token.parse_and_validate(svid.token, bundle, set(audience))
    return {"id": str(svid.spiffe_id), "token": svid.token}


def validate(token, audience):
    svid = _client().validate_jwt_svid(token, audience)
    assert isinstance(svid, JwtSvid)
    return str(svid.spiffe_id)


def open_source(seconds=SECONDS):
    source = X509Source(socket_path=SOCKET, timeout_in_seconds=seconds)
    updates = []
    source.subscribe_for_updates(lambda: updates.append(_context(source.get_x509_context())))
    held["source"], held["updates"] = source, updates
    return _context(source.get_x509_context())


def source_now():
    return _context(held["source"].get_x509_context())


def source_update():
    """The next update of the source that was not asked for yet, and when it was there."""
    deadline = time.monotonic() + SECONDS
    while not held["updates"]:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.002)
    return {**held["updates"].pop(0), "at": time.time()}


def open_jwt_source():
    held["jwt_source"] = JwtSource(socket_path=SOCKET, timeout_in_seconds=SECONDS)
    return jwt_source_keys()


def jwt_source_keys():
    bundles = held["jwt_source"].bundles
    return {each.trust_domain.name: sorted(each.jwt_authorities) for each in bundles}


def jwt_source_svid(audience):
    svid = held["jwt_source"].fetch_svid(set(audience))
    bundle = held["jwt_source"].get_bundle_for_trust_domain(TrustDomain("prod.example"))
    return str(Token.parse_and_validate(svid.token, bundle, set(audience)).spiffe_id)


def watch():
    """Follow a stream without reconnecting: ``watched`` is how it ends."""
    held["watched"] = []
    _client().stream_x509_contexts(
        lambda context: None, held["watched"].append, retry_connect=False
    )


def watched():
    deadline = time.monotonic() + SECONDS
    while not held["watched"]:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.002)
    return {"end": str(held["watched"][0]), "at": time.time()}


def bare(method, request, header=None):
    """A call without the library's security header; ``header`` is sent in its place."""
    with grpc.insecure_channel(SOCKET) as channel:
        stub = workload_pb2_grpc.SpiffeWorkloadAPIStub(channel)
        message = getattr(workload_pb2, request)()
        metadata = [tuple(header)] if header else None
        try:
            answer = getattr(stub, method)(message, timeout=SECONDS, metadata=metadata)
            return str(next(answer) if hasattr(answer, "__next__") else answer)
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"


def calls(count):
    """Many calls, one after the other: how each ended."""
    ends = (bare("FetchX509SVID", "X509SVIDRequest") for _ in range(count))
    return [end.partition(":")[0] for end in ends]


def _say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main():
    if len(sys.argv) > 2:
        user = int(sys.argv[2])
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    _say(os.getpid())
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            answer = globals()[arguments.pop("do")](**arguments)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(answer)


if __name__ == "__main__":
    main()
