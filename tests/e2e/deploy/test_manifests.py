"""If these fail, what somebody applies to a cluster is refused there, or open where it is shut."""

import json
import subprocess

import kubernetes_validate
import pytest
import yaml

from deployed import DEPLOY, IMAGE, ROOT, SETS
from needs import needs_judges, needs_kubectl
from portcullis.core.sandbox import Profile
from portcullis.execution.sandbox import manifest

NAMES = ["printed", *SETS]
VERSIONS = ["1.33", "1.37"]
UNASKED = {
    ("CKV_K8S_8", "Pod.portcullis-boxes.attached"),
    ("CKV_K8S_9", "Pod.portcullis-boxes.attached"),
    ("CKV_K8S_8", "Pod.portcullis-boxes.listening"),
    ("CKV_K8S_9", "Pod.portcullis-boxes.listening"),
    ("CKV_K8S_31", "Pod.portcullis-boxes.listening"),
}
"""Nobody asks a box whether it is alive or ready: it is attached to, and ends. A list of system
calls of one's own is no finding."""
FOREIGN = {"SandboxTemplate", "SandboxWarmPool"}


def pods(objects):
    """The specs of all pods that objects bring about, with their namespaces."""
    for one in objects:
        spec = one["spec"] if one["kind"] == "Pod" else None
        if one["kind"] in {"StatefulSet", "Deployment"}:
            spec = one["spec"]["template"]["spec"]
        if spec is not None:
            yield one["metadata"]["namespace"], spec


def containers(spec):
    return [*spec.get("initContainers", ()), *spec["containers"]]


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_one_of_the_apis(rendered, name, version):
    judged = [kubernetes_validate.validate(one, version, strict=True) for one in rendered[name]]
    assert judged
    assert set(judged) == {version}


@needs_kubectl
@pytest.mark.parametrize("name", NAMES)
def test_every_pod_is_restricted_and_holds_no_token_it_was_not_given(rendered, name):
    found = list(pods(rendered[name]))
    assert found
    for _, spec in found:
        inside = spec["securityContext"]
        assert (spec["automountServiceAccountToken"], spec["hostUsers"]) == (False, False)
        assert spec["enableServiceLinks"] is False
        names = {one["name"]: one["value"] for one in spec["dnsConfig"].get("options", ())}
        assert names == {"ndots": "1"} or spec["dnsPolicy"] == "None"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert inside["runAsNonRoot"]
        assert inside["runAsUser"] > 10_000
        assert inside["seccompProfile"]["type"] in {"RuntimeDefault", "Localhost"}
        assert inside["appArmorProfile"]["type"] == "RuntimeDefault"
        assert all("hostPath" not in volume for volume in spec["volumes"])
        for container in containers(spec):
            held = container["securityContext"]
            assert held["allowPrivilegeEscalation"] is False
            assert held["readOnlyRootFilesystem"] is True
            assert held["capabilities"] == {"drop": ["ALL"]}
            assert "@sha256:" in container["image"]
            bounds = container["resources"]["limits"]
            assert bounds.keys() == {"cpu", "memory", "ephemeral-storage"}


@needs_kubectl
@pytest.mark.parametrize("name", SETS)
def test_every_namespace_denies_by_default_and_admits_only_restricted_pods(rendered, name):
    spaces = {one["metadata"]["name"]: one for one in rendered[name] if one["kind"] == "Namespace"}
    denied = {
        one["metadata"]["namespace"]
        for one in rendered[name]
        if one["kind"] == "NetworkPolicy"
        and one["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert {namespace for namespace, _ in pods(rendered[name])} <= spaces.keys()
    assert denied == spaces.keys()
    for space in spaces.values():
        assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@needs_kubectl
def test_an_agent_reaches_the_gate_and_not_even_a_resolver(rendered):
    (way,) = (
        rule
        for one in rendered["agent"]
        if one["kind"] == "NetworkPolicy" and one["metadata"]["namespace"] == "portcullis-agents"
        for rule in one["spec"].get("egress", ())
    )
    gate = {"app.kubernetes.io/name": "portcullis", "app.kubernetes.io/component": "gate"}
    assert [one["podSelector"]["matchLabels"] for one in way["to"]] == [gate]
    space = way["to"][0]["namespaceSelector"]["matchLabels"]
    assert space == {"kubernetes.io/metadata.name": "portcullis"}
    assert {(port["protocol"], port["port"]) for port in way["ports"]} == {
        ("TCP", 7302),
        ("TCP", 7303),
    }
    (spec,) = (spec for namespace, spec in pods(rendered["agent"]) if namespace.endswith("agents"))
    (agent,) = spec["containers"]
    assert spec["dnsPolicy"] == "None"
    assert {one["name"] for one in agent["volumeMounts"]} == {"tmp"}
    secret = {"name": "token", "mountPath": "/var/run/portcullis", "readOnly": True}
    assert secret in spec["initContainers"][0]["volumeMounts"]


@needs_kubectl
def test_only_the_overlay_for_boxes_gives_the_gate_a_right_and_only_over_them(rendered):
    rights = {
        name: [one for one in rendered[name] if one["kind"] in {"Role", "ClusterRole"}]
        for name in SETS
    }
    assert [name for name in SETS if rights[name]] == ["boxes"]
    (over_boxes,) = (one for one in rights["boxes"] if one["kind"] == "Role")
    (everywhere,) = (one for one in rights["boxes"] if one["kind"] == "ClusterRole")
    assert over_boxes["metadata"]["namespace"] == "portcullis-boxes"
    assert everywhere["rules"] == [
        {"apiGroups": ["node.k8s.io"], "resources": ["runtimeclasses"], "verbs": ["get"]}
    ]
    asked = {(resource, verb) for rule in over_boxes["rules"] for resource in rule["resources"]
             for verb in rule["verbs"]}  # fmt: skip
    assert not {resource for resource, _ in asked} & {"secrets", "pods/exec", "serviceaccounts"}


@needs_kubectl
@needs_judges
def test_checkov_and_hadolint_find_nothing(rendered, tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(rendered[name]))
    (tmp_path / "Dockerfile").write_bytes((DEPLOY / "Dockerfile").read_bytes())
    tools = ROOT / ".venv-manifests/bin"
    judged = subprocess.run(
        [tools / "checkov", "-d", tmp_path, "--framework", "kubernetes", "dockerfile", "--quiet",
         "--compact", "--skip-download", "--output", "json"],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    reports = {one["check_type"]: one for one in json.loads(judged.stdout)}
    found = {
        (check["check_id"], check["resource"])
        for one in reports.values()
        for check in one["results"]["failed_checks"]
    }
    assert found <= UNASKED
    assert reports.keys() == {"kubernetes", "dockerfile"}
    assert reports["kubernetes"]["summary"]["passed"] > 400
    linted = subprocess.run(
        [tools / "hadolint", "--format", "json", DEPLOY / "Dockerfile"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (linted.returncode, json.loads(linted.stdout)) == (0, [])


def test_a_pool_is_the_same_box_and_its_template_never_opens_the_internet():
    place = manifest.Place(image=IMAGE)
    pod, cut = manifest.pod("tool", Profile(), place), manifest.policy("tool", Profile(), place)
    template, pool = manifest.pooled(pod, cut, 3)
    assert {template["kind"], pool["kind"]} == FOREIGN
    spec = template["spec"]
    assert spec["networkPolicy"] == {"ingress": [], "egress": []}
    assert spec["networkPolicyManagement"] == "Managed"
    assert spec["envVarsInjectionPolicy"] == "Disallowed"
    made = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "tool"}}
    made |= {"spec": spec["podTemplate"]["spec"]}
    assert kubernetes_validate.validate(made, "1.33", strict=True) == "1.33"
    assert made["spec"].keys() == pod["spec"].keys() - {"activeDeadlineSeconds"}
    assert pool["spec"] == {"replicas": 3, "sandboxTemplateRef": {"name": "tool"}}
