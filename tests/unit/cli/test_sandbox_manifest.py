"""If these fail, what is applied for a tool is not the tool's, or shows its secrets."""

import json

import kubernetes_validate
import pytest
import yaml

from commands import run

IMAGE = "registry.example.org/tools:1"
CONFIG = """\
trust_domain: example.org
mcp:
  files:
    command: [file-server, --root, /scratch]
    env: {LEVEL: high, TOKEN: "env:FILES_TOKEN", KEY: "openbao:kv/data/files#key"}
    sandbox: small
  mounted: {command: [x], mounts: ["/srv/data:ro"]}
  remote: {url: "https://tools.example.org/mcp"}
sandbox:
  kubernetes: {image: "registry.example.org/all:2", namespace: boxes, runtime_class: null}
  profiles: {small: {memory: 64MiB, seconds: 20}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(*words):
    done = run("sandbox", "manifest", *words)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_a_server_of_the_configuration_has_its_profile_and_its_secrets_by_name(folder):
    (folder / "portcullis.yaml").write_text(CONFIG)
    cut, pod = printed("--tool", "files")
    for one in (cut, pod):
        assert kubernetes_validate.validate(one, "1.33", strict=True) == "1.33"
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["file-server", "--root", "/scratch"]
    assert container["image"] == "registry.example.org/all:2"
    assert container["resources"]["limits"]["memory"] == str(64 * 2**20)
    assert pod["metadata"]["namespace"] == "boxes"
    assert "runtimeClassName" not in pod["spec"]
    environ = {one["name"]: one for one in container["env"]}
    assert environ["LEVEL"]["value"] == "high"
    for name in ("TOKEN", "KEY"):
        secret = {"secretKeyRef": {"name": "files-env", "key": name}}
        assert environ[name] == {"name": name, "valueFrom": secret}
    assert cut["spec"]["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == "tool-files"


def test_a_tool_that_listens_is_reached_by_the_gate_alone(folder):
    cut, pod, service = printed("--image", IMAGE, "--port", "8080", "--", "tool", "--serve")
    (way,) = cut["spec"]["ingress"]
    assert way["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert [one.keys() for one in way["from"]] == [{"namespaceSelector", "podSelector"}]
    assert "egress" not in cut["spec"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert pod["spec"]["restartPolicy"] == "Always"


def test_a_pool_is_printed_as_json_for_who_asks(folder):
    done = run("sandbox", "manifest", "--image", IMAGE, "--pool", "2", "--json", "--", "tool")
    template, pool = json.loads(done.stdout)
    assert (template["kind"], pool["spec"]["replicas"]) == ("SandboxTemplate", 2)


def test_our_list_of_system_calls_is_printed_for_nodes(folder):
    listed = json.loads(run("sandbox", "manifest", "--syscalls").stdout)
    assert listed["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = {name for one in listed["syscalls"] for name in one["names"] if "args" not in one}
    assert "execve" in allowed
    assert not {"ptrace", "mount", "unshare", "bpf"} & allowed


@pytest.mark.parametrize(
    "words",
    [
        ("--tool", "remote"),
        ("--tool", "mounted"),
        ("--tool", "nobody"),
        ("--tool", "files", "--", "other"),
        ("--tool", "files", "--image", "two words"),
        ("--tool", "files", "--profile", "none"),
        ("--tool", "files", "--profile", "loose"),
        ("--tool", "files", "--port", "0"),
        (),
    ],
)
def test_what_cannot_be_printed_is_a_usage_error(folder, words):
    (folder / "portcullis.yaml").write_text(CONFIG)
    done = run("sandbox", "manifest", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PC7004" in done.stderr
