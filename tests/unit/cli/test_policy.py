import json

import pytest
from typer.testing import CliRunner

from policies import SUPPORT, write
from portcullis.cli.policy import app
from portcullis.core.errors import Problem

GOOD = {
    "agent": "support-1",
    "tool": "orders.search",
    "arguments": {"customer_id": "C-1"},
    "session": {"subject": {"customer_id": "C-1"}},
}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "policy", SUPPORT)


def run(*arguments, text=None):
    return CliRunner().invoke(app, [str(item) for item in arguments], input=text)


def test_check_says_what_was_loaded(folder):
    result = run("check", folder, "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert (said["ok"], said["agents"], said["roles"], said["catalogue"]) == (True, 2, 2, 4)
    assert run("check", folder).stdout.startswith("ok: 2 agents, 2 roles, 4 tools\nsha256:")


def test_check_finds_the_folder_through_the_configuration(folder):
    config = folder.parent / "portcullis.yaml"
    config.write_text("trust_domain: example.org\npolicy: policy\n", encoding="utf-8")
    assert run("check", "-c", config).exit_code == 0


def test_check_refuses_an_entity_that_nothing_finds_and_says_which_was_meant(folder):
    write(folder, SUPPORT + "inspection: {to_model: {CREDITCARD: block}}\n")
    result = run("check", folder)
    assert isinstance(result.exception, Problem)
    assert result.exception.code == "PC7002"
    assert "CREDITCARD" in result.exception.detail
    assert "CREDIT_CARD" in result.exception.hint
    write(folder, SUPPORT + "inspection: {to_model: {CREDIT_CARD: block}}\n")
    assert run("check", folder).exit_code == 0


def test_check_knows_what_a_deployments_own_rules_find(folder):
    config = folder.parent / "portcullis.yaml"
    settings = "inspection: {dictionaries: {ACME_NAME: names.txt}}\n"
    config.write_text(f"trust_domain: example.org\npolicy: policy\n{settings}", encoding="utf-8")
    (folder.parent / "names.txt").write_text("Ada Lovelace\n", encoding="utf-8")
    write(folder, SUPPORT + "inspection: {to_model: {ACME_NAME: mask}}\n")
    assert run("check", "-c", config).exit_code == 0
    assert isinstance(run("check", folder, "-c", folder / "none.yaml").exception, Problem)


def test_check_fails_with_the_place_of_the_error(folder):
    write(folder, SUPPORT + "  bad: {}\n")
    result = run("check", folder)
    assert isinstance(result.exception, Problem)
    assert "policy/main.yaml:" in result.exception.detail


def test_build_writes_what_decides_and_its_digest(folder, tmp_path):
    out = tmp_path / "out"
    assert run("build", folder, "-o", out).exit_code == 0
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {".manifest", "data.json", "decide.rego", "roles/support.rego"} <= files
    manifest = json.loads((out / ".manifest").read_text("utf-8"))
    assert manifest["revision"] == json.loads(run("check", folder, "--json").stdout)["digest"]


def test_build_overwrites_nothing_and_stays_in_its_folder(folder, tmp_path):
    assert isinstance(run("build", folder, "-o", folder).exception, Problem)
    write(folder, "version: 1\ntools: {'a.x/../../up': {arguments: {y: {required: true}}}}\n")
    assert run("build", folder, "-o", tmp_path / "out").exit_code == 0
    data = json.loads((tmp_path / "out" / "data.json").read_text("utf-8"))
    assert "a.x/../../up" in data["policy"]["catalogue"]
    assert not list(tmp_path.rglob("up*"))


def test_decide_answers_and_its_exit_code_says_denied(folder, tmp_path):
    allowed = run("decide", "--dir", folder, "--json", text=json.dumps(GOOD))
    assert allowed.exit_code == 0
    assert json.loads(allowed.stdout)["verdict"] == "allow"
    request = tmp_path / "request.json"
    request.write_text(json.dumps(GOOD | {"arguments": {"customer_id": "C-2"}}), "utf-8")
    denied = run("decide", request, "--dir", folder, "--json")
    assert denied.exit_code == 3
    assert json.loads(denied.stdout)["code"] == "PC3004"
    assert run("decide", request, "--dir", folder).stdout.startswith("deny PC3004: customer_id")


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"agent": "support-1", "model": "gpt-4"}, 0),
        ({"agent": "support-1", "model": "gpt-4", "features": ["openai.mcp"]}, 3),
        ({"agent": "support-1", "resource": "files.file:///srv/docs/a"}, 0),
        ({"agent": "support-1", "prompt": "files.summarise"}, 0),
        (GOOD | {"session": {"subject": {"customer_id": "C-1"}, "grant": []}}, 3),
    ],
)
def test_decide_answers_for_every_kind_of_call(folder, question, code):
    assert run("decide", "--dir", folder, text=json.dumps(question)).exit_code == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"agent": "a"}',
        '{"agent": "a", "tool": "x.y", "model": "m"}',
        '{"agent": "a", "tool": "x"}',
        '{"x": 1}',
    ],
)
def test_decide_refuses_a_question_that_it_does_not_understand(folder, text):
    result = run("decide", "--dir", folder, text=text)
    assert isinstance(result.exception, Problem)
    assert result.exception.code == "PC7004"


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"egress": "api.example:443"}, ""),
        ({"egress": "https://api.example/v1/a?b=c"}, ""),
        ({"egress": "https://api.example/v1/a", "method": "POST"}, "PC3018"),
        ({"egress": "http://api.example/v1/a"}, "PC3017"),
        ({"egress": "other.example:443"}, "PC3016"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_decide_answers_where_an_agent_may_go(tmp_path, question, code):
    rule = "{host: api.example, terminate: true, methods: [GET], paths: [/v1/*]}"
    text = f"version: 1\nagents: {{a: {{role: r}}}}\nroles: {{r: {{egress: [{rule}]}}}}\n"
    folder = write(tmp_path / "policy", text)
    asked = json.dumps({"agent": "a", **question})
    result = run("decide", "--dir", folder, "--json", text=asked)
    said = json.loads(result.stdout)
    assert (said.get("code", ""), result.exit_code) == (code, 3 if code else 0)
