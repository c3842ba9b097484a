"""If these fail, a leaked secret stays good, or an incident's report cannot be held against a log.

One agent, one upstream with a secret in a file, one program that rotates it; from the first call to
the archive on an auditor's desk.
"""

import json
import sys
import threading
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from e2e.control.led import ask, eventually, running
from portcullis.bootstrap import authority_of
from portcullis.config import load
from portcullis.core.principal import PrincipalKind

TOLD = ("--reason", "led by a test")
OLD = "sk-upstream-old-0001"
ROTATE = """
import pathlib, sys
place = pathlib.Path(sys.argv[-1].removeprefix("file:"))
new = "sk-upstream-new-0002"
place.with_name("accepted").write_text(new)  # what the upstream takes from now on
place.write_text(new)
print(new)
"""
ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-x",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@pytest.fixture
def upstream(deployment):
    """A model's endpoint that takes one key only, by name ``accepted`` in the folder."""
    accepted = deployment.folder / "accepted"
    accepted.write_text(OLD)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            good = self.headers["authorization"] == f"Bearer {accepted.read_text()}"
            body = json.dumps(ANSWER if good else {"error": {"message": "no"}}).encode()
            self.send_response(200 if good else 401)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = deployment.folder / "upstream.key"
    key.write_text(OLD)
    key.chmod(0o600)
    script = deployment.folder / "rotate.py"
    script.write_text(ROTATE)
    with (deployment.folder / "portcullis.yaml").open("a") as config:
        config.write(
            f'models: {{main: {{shape: openai, url: "http://127.0.0.1:{server.server_port}",'
            ' credential: "file:upstream.key", serves: ["gpt-*"]}}\n'
            "incidents: {rotation: {file: {seconds: 20, command: "
            f"{json.dumps([sys.executable, str(script)])}}}}}}}\n"
        )
    yield key
    server.shutdown()
    server.server_close()


def chat(gate, token, model="gpt-x"):
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return ask(f"{gate['gate']}/openai/v1/chat/completions", token, body)


def test_an_upstreams_secret_is_rotated_and_the_report_is_proven_offline(deployment, upstream):
    deployment.create("agent", "shop-1")
    with running(deployment) as gate:
        token = deployment.json("agent", "token", "shop-1")["token"]
        assert chat(gate, token)[0] == 200
        assert chat(gate, token, "other-model")[0] == 403
        number = deployment.json("incident", "open", "--agent", "shop-1", *TOLD)["id"]
        for name in ("contain", "revoke"):
            step(deployment, number, name)
        rotates(deployment, number, upstream)
        judges(deployment, number)
        rows = timeline(deployment, number)
        assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
        kinds = {row["kind"] for row in rows}
        assert {"model", "denied", "credential", "kill", "incident"} <= kinds
        assert "sk-upstream" not in " ".join(row["text"] for row in rows)
        reads_over_the_api(deployment, gate, number, len(rows))
    reports(deployment, number)


def rotates(deployment, number, upstream):
    """The agent's own credentials are worthless, and the upstream's secret is another."""
    tick_all(deployment, number)
    listed = {one["reference"]: one for one in step(deployment, number, "rotate")["credentials"]}
    secret = listed[f"file:{upstream}"]
    assert listed.keys() == {secret["reference"], "identity:shop-1"}
    assert secret["used"] > 0
    assert "it called this" in secret["why"]
    assert [one["hook"] for one in listed.values()] == [True, True]
    done = deployment.json("incident", "rotate", number, *TOLD)
    assert {one["fault"] for one in done["credentials"]} == {""}
    assert done["phase"] == "rotated"
    assert upstream.read_text() != OLD
    assert b"sk-upstream" not in (deployment.state / "portcullis.db").read_bytes()


def judges(deployment, number):
    """What it did is judged, group by group."""
    tick_all(deployment, number)
    audited = step(deployment, number, "reaudit")
    kinds = {(one["kind"], one["name"]) for one in audited["findings"]}
    assert ("new_tool", "main.gpt-x") in kinds
    assert "denied" in {kind for kind, _ in kinds}
    for one in audited["findings"]:
        deployment.run("incident", "judge", number, one["id"], "benign", *TOLD)


def reports(deployment, number):
    """Nothing runs any more: files are made, and verified by their keys alone."""
    run, archive = deployment.run, deployment.folder / "report.zip"
    made = deployment.json("incident", "report", number, "--format", "zip", "-o", str(archive))
    assert b"sk-upstream" not in archive.read_bytes()
    page = run("incident", "report", number, "--format", "html").out
    assert "rotated and seen to be another" in page
    assert "rotated and seen to be another" in run("incident", "report", number).out
    refused = run("incident", "report", number, "-o", str(archive), code=2)
    assert "exists already" in refused.err
    vkey = str(deployment.state / "log" / "log.vkey")
    check = ("incident", "verify", str(archive), "--key", made["key"], "--log-key", vkey)
    found = deployment.json(*check)
    assert found["ok"], found
    assert found["proofs"] > 5
    assert found["unproven"] == 0
    with zipfile.ZipFile(archive) as file:
        proof = next(name for name in file.namelist() if name.startswith("proofs/"))
        (deployment.folder / "one.tlog-proof").write_bytes(file.read(proof))
    run("audit", "verify-proof", "one.tlog-proof", "--key", vkey)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    run(*check, code=5)


def step(deployment, number, name):
    """Take a step; the incident as it is then."""
    return deployment.json("incident", "step", number, name, *TOLD)


def tick_all(deployment, number):
    """Everything on the checklist."""
    for item in deployment.json("incident", "show", number)["unticked"]:
        deployment.run("incident", "tick", number, item["id"], *TOLD)


def timeline(deployment, number, *words):
    """All rows; the newest entries are signed within a moment."""
    found = []

    def whole():
        found[:] = [
            json.loads(line)
            for line in deployment.run(
                "incident", "timeline", number, "--json", *words
            ).out.splitlines()
        ]
        return any("incident.done" in row["text"] and "reaudit" in row["text"] for row in found)

    assert eventually(whole)
    return found


def reads_over_the_api(deployment, gate, number, count):
    """The same over HTTP, page by page, for viewers."""
    authority = authority_of(load(deployment.folder / "portcullis.yaml"))
    viewer = authority.mint(PrincipalKind.OPERATOR, "local-v", ttl=60, roles=("viewer",)).token
    url = f"{gate['control']}/api/v1/incidents/{number}"
    rows, cursor = [], ""
    while True:
        status, page = ask(f"{url}/timeline?limit=5&cursor={cursor}", viewer)
        assert status == 200
        rows += page["rows"]
        cursor = page["following"]
        if not cursor:
            break
    assert len(rows) >= count
    status, page = ask(f"{url}/timeline?kind=denied", viewer)
    assert {row["kind"] for row in page["rows"]} == {"denied"}
    assert ask(f"{url}/timeline?kind=nonsense", viewer)[1]["code"] == "PC1020"
    assert ask(f"{url}/timeline?cursor=nonsense!", viewer)[1]["code"] == "PC3051"
    assert ask(f"{gate['control']}/api/v1/incidents/none/radius", viewer)[1]["code"] == "PC7060"
    status, radius = ask(f"{url}/radius", viewer)
    assert status == 200
    assert any("around the gate" in one for one in radius["limits"])
    for form, kind in (("md", "text/markdown"), ("html", "text/html"), ("zip", "application/zip")):
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{url}/report?format={form}", headers={"authorization": f"Bearer {viewer}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - loopback
            assert answer.headers["content-type"].startswith(kind)
            assert answer.headers["content-disposition"].endswith(f'{number}.{form}"')
            assert bool(answer.headers["portcullis-key"]) == (form == "zip")
            assert answer.read()
