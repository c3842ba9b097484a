"""If these fail, an agent reaches data that its role does not name, or that nothing enforces."""

import pytest

from policies import call, context, pdp_of, policy_of, session_of
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp

POLICY = """\
version: 1
agents: {a: {role: infra}, all: {role: admin}, own: {role: clerk}}
roles:
  infra:
    allowed_tools: [kube.get, kube.version, kube.logs, kube.list, other.tool]
    data_access: {namespaces: [monitoring, app-staging], secrets: false, config_maps: true}
  admin:
    allowed_tools: [kube.get, kube.list]
    data_access: {namespaces: ["*"], secrets: true, config_maps: true}
  clerk:
    allowed_tools: [crm.orders]
    data_access: {customers: [session.subject.customer_id, 7], owners: [session.user]}
tools:
  kube.get:
    risk: read
    data:
      namespaces:
        argument: spec.namespace
        everything: all_namespaces
        results: ["items[].metadata.namespace", metadata.namespace]
      kinds:
        argument: kind
        results: "items.*.kind"
        classes: {secrets: [secret, secrets, Secret], config_maps: [configmap, cm, ConfigMap]}
  kube.list: {risk: read, data: {namespaces: {results: "[].namespace"}}}
  kube.logs: {risk: read, data: {namespaces: {is: monitoring}}}
  kube.version: {risk: read, data: none}
  crm.orders:
    risk: read
    data:
      customers: {argument: customer, results: "rows[].customer"}
      owners: {results: "rows[].owner"}
"""
HERE = {"spec": {"namespace": "monitoring"}, "kind": "cm"}


@pytest.fixture(scope="module")
def pdp():
    return pdp_of(POLICY)


def code(pdp, tool, arguments=None, agent="a", **more):
    found = pdp.decide(call(target=tool, arguments=arguments), context(agent, **more))
    return found.code if isinstance(found, Deny) else ""


def test_what_the_role_names_is_in_reach(pdp):
    found = pdp.decide(call(target="kube.get", arguments=HERE), context("a"))
    namespaces, kinds = found.obligations.rows
    assert namespaces.paths == (
        ("items", "*", "metadata", "namespace"),
        ("metadata", "namespace"),
    )
    assert namespaces.values == ("monitoring", "app-staging")
    assert kinds.values == ("configmap", "cm", "ConfigMap")
    both = {"spec": {"namespace": ["app-staging", "monitoring"]}, "kind": "configmap"}
    assert code(pdp, "kube.get", both) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        {"spec": {"namespace": "kube-system"}, "kind": "cm"},
        {"spec": {"namespace": "Monitoring"}, "kind": "cm"},
        {"spec": {"namespace": "monitoring,kube-system"}, "kind": "cm"},
        {"spec": {"namespace": ["monitoring", "kube-system"]}, "kind": "cm"},
        {"spec": {"namespace": []}, "kind": "cm"},
        {"spec": {"namespace": ""}, "kind": "cm"},
        {"spec": {"namespace": None}, "kind": "cm"},
        {"spec": {"namespace": {"monitoring": 1}}, "kind": "cm"},
        {"spec": {"namespace": True}, "kind": "cm"},
        {"spec": "monitoring", "kind": "cm"},
        {"spec.namespace": "monitoring", "kind": "cm"},
        {"kind": "cm"},
        HERE | {"all_namespaces": True},
        HERE | {"all_namespaces": "no"},
        HERE | {"kind": "secret"},
        HERE | {"kind": "SECRET"},
        HERE | {"kind": "pods"},
        HERE | {"kind": ["cm", "secret"]},
        {"spec": {"namespace": "monitoring"}},
    ],
    ids=map(str, range(19)),
)
def test_what_it_does_not_name_is_refused(pdp, arguments):
    found = pdp.decide(call(target="kube.get", arguments=arguments), context("a"))
    assert isinstance(found, Deny)
    assert found.code == "PC3029"
    assert found.rule.startswith(("tools.kube.get.data.namespaces", "tools.kube.get.data.kinds"))
    assert "kube-system" not in found.reason


def test_everything_is_in_reach_of_a_star_and_still_not_of_unknown_classes(pdp):
    assert code(pdp, "kube.get", {"kind": "secret"}, "all") == ""
    assert code(pdp, "kube.get", {"kind": "cm", "all_namespaces": True}, "all") == ""
    assert code(pdp, "kube.get", {"kind": "pods"}, "all") == "PC3029"
    found = pdp.decide(call(target="kube.get", arguments={"kind": "cm"}), context("all"))
    assert [scope.name for scope in found.obligations.rows] == ["kinds"]
    listed = pdp.decide(call(target="kube.list"), context("all"))
    assert listed.obligations is None


def test_false_and_null_do_not_ask_for_everything(pdp):
    for said in (False, None):
        assert code(pdp, "kube.get", HERE | {"all_namespaces": said}) == ""


def test_a_tool_is_bound_by_its_results_by_one_value_or_by_nothing(pdp):
    assert code(pdp, "kube.list") == ""
    assert code(pdp, "kube.logs") == ""
    assert code(pdp, "kube.version") == ""
    elsewhere = pdp_of(POLICY.replace("{is: monitoring}", "{is: kube-system}"))
    assert code(elsewhere, "kube.logs") == "PC3029"


def test_values_of_the_session_are_its_own(pdp):
    session = session_of("own", {"customer_id": "C-1"}, user="ada")
    asked = {"customer": "C-1"}
    found = pdp.decide(call(target="crm.orders", arguments=asked), context("own", session))
    assert {scope.name: scope.values for scope in found.obligations.rows} == {
        "customers": (7, "C-1"),
        "owners": ("ada",),
    }
    assert code(pdp, "crm.orders", {"customer": 7}, "own", session=session) == ""
    assert code(pdp, "crm.orders", {"customer": "C-2"}, "own", session=session) == "PC3029"
    assert code(pdp, "crm.orders", asked, "own") == "PC3029", "without a session nothing is in it"
    for subject in ({}, {"customer_id": None}, {"customer_id": ["C-1"]}, {"customer_id": ""}):
        other = session_of("own", subject, user="ada")
        for customer in (None, "", "C-1", ["C-1"], [""]):
            arguments = {"customer": customer}
            assert code(pdp, "crm.orders", arguments, "own", session=other) == "PC3029"


@pytest.mark.parametrize(
    ("old", "new", "problem", "message"),
    [
        ("data: none", "verb: read, resource: x", "PC7003", "kube.version has no `data:`"),
        ("other.tool]", "kube.unlisted]", "PC7003", "kube.unlisted has no `data:`"),
        (
            "other.tool]",
            "other.tool]\n    allowed_resources: ['kube.log://*']",
            "PC7003",
            "kube.log://* is bound to none of it",
        ),
        ("secrets: false,", "secrets: false, volumes: true,", "PC7003", "binds volumes"),
        (
            "{customers: [session.subject.customer_id, 7], owners",
            "{owners",
            "PC7002",
            "the role clerk cannot use crm.orders",
        ),
        (
            "data_access: {customers: [session.subject.customer_id, 7], owners: [session.user]}",
            "models: [x]",
            "PC7002",
            "the role clerk cannot use crm.orders",
        ),
        ("secrets: false,", "secrets: [x],", "PC7002", "say true or false"),
        ('namespaces: ["*"]', "namespaces: true", "PC7002", "say a list of values"),
        ('namespaces: ["*"]', 'namespaces: ["*", x]', "PC7002", '"*" stands alone'),
        ('namespaces: ["*"]', "namespaces: []", "PC7002", "names no value"),
        ('namespaces: ["*"]', "namespaces: all", "PC7002", "must be a list of values"),
        ('namespaces: ["*"]', "namespaces: [session.agent]", "PC7002", "unknown reference"),
        ('namespaces: ["*"]', "namespaces: [1.5]", "PC7002", "a text or a whole number"),
        ("data: none", "data: nothing", "PC7002", "must be a mapping, or `none`"),
        ("data: none", "data: false", "PC7002", "must be a mapping, or `none`"),
        ("data: none", "data: {}", "PC7002", "binds nothing"),
        ("{is: monitoring}", "{is: monitoring, argument: x}", "PC7002", "always the same"),
        ("{is: monitoring}", "{is: monitoring, everything: x}", "PC7002", "beside an argument"),
        ("{is: monitoring}", "{everything: x}", "PC7002", "does not say where it shows"),
        ("argument: spec.namespace", "argument: spec..x", "PC7002", "no argument's path"),
        ('results: "items.*.kind"', 'results: "items..kind"', "PC7002", "not a path"),
        ("[configmap, cm", "[secret, cm", "PC7002", "secret is listed twice"),
        ("argument: kind\n", "is: pods\n", "PC7002", "no class has this value"),
    ],
    ids=map(str, range(22)),
)
def test_what_could_not_be_enforced_does_not_load(old, new, problem, message):
    assert POLICY.count(old) == 1
    with pytest.raises(Problem) as caught:
        policy_of(POLICY.replace(old, new))
    assert message in caught.value.detail
    assert "policy/main.yaml:" in caught.value.detail
    assert caught.value.code == problem


MASKED = """\
version: 1
agents: {a: {role: r}}
roles:
  r:
    allowed_tools: [crm.get, docs.find]
    {WHAT}
    {MASKS}
tools:
  crm.get: {risk: read, obligations: {mask: {iban: mask}}}
"""


def test_what_has_no_columns_is_not_read_past_the_masks_of_its_server_unless_policy_says_so():
    def read(what, masks="{}"):
        return policy_of(MASKED.replace("{WHAT}", what).replace("    {MASKS}\n", masks))

    own = "    obligations: {mask: {name: drop}}\n"
    bare = "allowed_resources: [{resource: 'crm.file:///*', data: none}]"
    for what, masks in (
        ("allowed_resources: ['crm.file:///*']", ""),
        ("allowed_prompts: [{prompt: crm.summary, until: '2099-01-01'}]", ""),
        ("allowed_resources: ['docs.file:///*']", own),
    ):
        with pytest.raises(Problem, match=r"has no columns: the masks of the role r") as caught:
            read(what, masks)
        assert caught.value.code == "PC7003"
        assert "data: none" in caught.value.hint
    read("allowed_resources: ['docs.file:///*']", "")
    pdp = RegoPdp(read(bare, own), RegorusEngine())
    assert isinstance(pdp.decide(call("resource", "crm.file:///x"), context("a")), Allow)
    with pytest.raises(Problem, match="can only be none"):
        read(bare.replace("none", "all"), "")


def test_a_role_that_inherits_reaches_both_and_a_no_of_either_holds():
    text = POLICY.replace("agents: {a: {role: infra}", "agents: {a: {role: infra}, h: {role: heir}")
    text = text.replace(
        "tools:\n  kube",
        "  heir:\n    inherits: [infra]\n"
        "    data_access: {namespaces: [logging], secrets: true}\ntools:\n  kube",
        1,
    )
    pdp = pdp_of(text)
    for namespace in ("logging", "monitoring"):
        asked = {"spec": {"namespace": namespace}, "kind": "cm"}
        assert code(pdp, "kube.get", asked, "h") == ""
    assert code(pdp, "kube.get", HERE | {"kind": "secret"}, "h") == "PC3029"
