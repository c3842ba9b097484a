import base64
import hashlib
import json
import subprocess
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import GATE, audit_directory
from portcullis.cli import ca
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.identity.bundle import decode

DOMAIN = "example.test"


@pytest.fixture
def deployment(tmp_path):
    """A configuration, and ``run``: the command line on it, or its Problem."""
    file = tmp_path / "portcullis.yaml"
    file.write_text(f"trust_domain: {DOMAIN}\nstate: {tmp_path / 'state'}\n")
    runner = CliRunner()

    def run(*words):
        done = runner.invoke(ca.app, [*words, "--config", str(file)])
        if isinstance(done.exception, Problem):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done

    with ca._opened(load(file)):
        pass  # what the first start of a gate does
    return SimpleNamespace(run=run, config=load(file), folder=tmp_path)


def events(config):
    place = audit_directory(config, GATE)
    return [
        (r.event.method, r.event.verdict, r.event.code) for r in records(place, own_verifier(place))
    ]


def keys(deployment):
    shown = json.loads(deployment.run("show", "--json").stdout)
    return {(key["kind"], key["state"]): key for key in shown["keys"]}


def test_the_keys_are_shown_to_people_and_to_programs(deployment):
    shown = deployment.run("show").stdout
    assert shown.startswith(f"{DOMAIN}, bundle 1\n")
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [
        ["jwt", "active"],
        ["root", "active"],
        ["signing", "active"],
    ]
    assert keys(deployment)["root", "active"]["online"]


def test_the_bundle_is_pem_for_tls_and_a_spiffe_document_for_federation(deployment):
    text = deployment.run("bundle").stdout
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "basicConstraints"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "CA:TRUE" in done.stdout
    document = deployment.run("bundle", "--json").stdout
    assert len(decode(DOMAIN, document.encode()).x509) == 1


def test_a_root_is_rotated_and_the_old_one_retired_and_both_are_recorded(deployment):
    deployment.run("rotate", "root")
    assert ("root", "retired") in keys(deployment)
    deployment.run("retire", "root")
    assert ("root", "retired") not in keys(deployment)
    with pytest.raises(Problem) as refused:
        deployment.run("retire", "root")
    assert refused.value.code == "PC7008"
    assert events(deployment.config) == [
        ("authority.rotate.root", "allow", ""),
        ("authority.retire.root", "allow", ""),
        ("authority.retire.root", "allow", ""),
        ("authority.retire.root", "deny", "PC7008"),
    ]


def test_with_the_root_moved_out_a_signing_authority_is_rotated_with_its_key(deployment):
    elsewhere = deployment.folder / "safe"
    deployment.run("offline", str(elsewhere))
    key = next(elsewhere.glob("root-*.key"))
    assert key.stat().st_mode & 0o077 == 0
    assert not list((deployment.config.state / "ca").glob("root-*.key"))
    assert "offline" in deployment.run("show").stdout
    for words in (("rotate", "signing"), ("offline", str(elsewhere))):
        with pytest.raises(Problem, match="offline") as refused:
            deployment.run(*words)
        assert refused.value.code == "PC7008"
    before = keys(deployment)["signing", "active"]["id"]
    deployment.run("rotate", "signing", "--root-key", str(key))
    assert keys(deployment)["signing", "active"]["id"] != before
    assert not list((deployment.config.state / "ca").glob("root-*.key"))


def test_misuse_is_said_so(deployment):
    with pytest.raises(Problem) as usage:
        deployment.run("rotate", "root", "--root-key", "x")
    assert usage.value.code == "PC7004"
    with pytest.raises(Problem) as missing:
        deployment.run("rotate", "signing", "--root-key", str(deployment.folder / "none"))
    assert missing.value.code == "PC7005"


def test_the_only_copy_of_a_root_key_is_not_moved_onto_itself(deployment):
    place = deployment.config.state / "ca"
    link = deployment.folder / "stick"
    link.symlink_to(place)
    for directory in (place, link):
        with pytest.raises(Problem, match="is where the root key lies now") as refused:
            deployment.run("offline", str(directory))
        assert refused.value.code == "PC7004"
    assert len(list(place.glob("root-*.key"))) == 1


def test_before_the_first_start_there_is_no_authority_and_it_is_said_so(tmp_path):
    file = tmp_path / "portcullis.yaml"
    file.write_text(f"trust_domain: {DOMAIN}\nstate: {tmp_path / 'state'}\n")
    for words in (["show"], ["bundle"], ["offline", str(tmp_path / "x")]):
        done = CliRunner().invoke(ca.app, [*words, "--config", str(file)])
        assert isinstance(done.exception, Problem)
        assert (done.exception.code, "portcullis up" in done.exception.hint) == ("PC7008", True)


def test_while_a_gate_runs_it_is_asked_and_the_files_are_left_to_it(deployment, monkeypatch):
    asked = []
    gate = SimpleNamespace(control="http://127.0.0.1:1")
    monkeypatch.setattr(ca, "running_gate", lambda config: gate)
    monkeypatch.setattr(ca, "call", lambda *arguments: asked.append(arguments))
    before = deployment.run("bundle").stdout
    deployment.run("offline", str(deployment.folder / "safe"))
    key = next((deployment.folder / "safe").glob("root-*.key"))
    deployment.run("rotate", "signing", "--root-key", str(key))
    deployment.run("rotate", "jwt")
    deployment.run("retire", "root")
    assert deployment.run("bundle").stdout == before
    offline, signing, jwt, retire = [(each[1], each[2], each[4]) for each in asked]
    digest = hashlib.sha256(key.read_bytes()).hexdigest()
    sealed = base64.b64encode(key.read_bytes()).decode()
    url = "/api/v1/authority"
    assert offline == ("POST", f"{url}/root/offline", {"digests": {key.name: digest}})
    assert signing == ("POST", f"{url}/signing/rotate", {"root_key": sealed})
    assert jwt == ("POST", f"{url}/jwt/rotate", {})
    assert retire == ("POST", f"{url}/root/retire", None)
