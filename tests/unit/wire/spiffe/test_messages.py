import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from spiffe._proto import workload_pb2 as theirs

from portcullis.wire.spiffe import workload_pb2 as ours

ROOT = Path(__file__).parents[4]


def test_the_committed_messages_are_what_the_tool_makes():
    check = [sys.executable, "tools/proto.py", "--check"]
    subprocess.run(check, cwd=ROOT, check=True, timeout=60)


def test_our_messages_are_those_of_another_library_in_the_same_process():
    assert _form(ours.DESCRIPTOR) == _form(theirs.DESCRIPTOR)


def test_claims_of_every_type_reach_the_other_side():
    claims = {"aud": ["a", "b"], "exp": 12, "nested": {"on": True, "none": None}}
    message = ours.ValidateJWTSVIDResponse(spiffe_id="spiffe://prod.example/agent/shop-1")
    message.claims.update(claims)
    received = theirs.ValidateJWTSVIDResponse.FromString(message.SerializeToString())
    assert dict(received.claims)["exp"] == 12
    assert list(received.claims["aud"]) == ["a", "b"]
    assert received.claims["nested"]["on"] is True


def _form(descriptor) -> FileDescriptorProto:
    form = FileDescriptorProto()
    descriptor.CopyToProto(form)
    form.name = ""
    return form
