import pytest

from policies import SUPPORT, policy_of
from portcullis.core.errors import Problem


def refused(*texts):
    with pytest.raises(Problem) as caught:
        policy_of(*texts)
    return caught.value


def role(text):
    return f"version: 1\nroles:\n  r:\n    {text}\n"


def argument(text):
    return f"version: 1\ntools:\n  a.b:\n    arguments:\n      x: {text}\n"


def test_an_error_shows_file_line_column_and_a_caret():
    problem = refused("version: 1\nroles:\n  r:\n    modells: [a]\n")
    assert problem.code == "PC7002"
    assert problem.detail == (
        "policy/main.yaml:4:5: unknown key modells in roles.r\n"
        "    4 |     modells: [a]\n"
        "      |     ^"
    )
    assert problem.hint == "Did you mean models?"


def test_one_run_reports_every_fault_in_order():
    problem = refused("version: 2\nagents:\n  a: {role: nobody}\nrolls: {}\n")
    places = [line for line in problem.detail.splitlines() if line.startswith("policy/")]
    assert [place.split(":")[1] for place in places] == ["1", "3", "4"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "empty"),
        ("[]", 1, "must be a mapping"),
        ("agents: {}\n", 1, "version"),
        ("version: '1'\n", 1, "unknown version"),
        ("version: 1\nversion: 1\n", 2, "named twice"),
        ("version: 1\nagents:\n  a: {role: r}\n  a: {role: r}\nroles: {r: {}}\n", 4, "named twice"),
        ("version: 1\nroles:\n\tr: {}\n", 3, "token"),
        ("version: 1\nroles: &x {}\n", 2, "anchors"),
        ("version: 1\nroles: *x\n", 2, "anchors"),
        ("version: 1\nroles: !!python/object {}\n", 2, "tags"),
        ("version: 1\n---\nversion: 1\n", 2, "document"),
        ("version: 1\nroles: {r: {models: [a]}\n", 3, "expected"),
        ("version: 1\nroles: " + "[" * 3000 + "]" * 3000, 2, "nested too deeply"),
        ("version: 1\nagents:\n  a: {}\n", 3, "has no role"),
        ("version: 1\nagents:\n  a: {role: r}\n", 3, "unknown role r"),
        ("version: 1\nagents:\n  no: {role: r}\nroles: {r: {}}", 3, "a truth value to some"),
        ("version: 1\nagents:\n  2026-01-01: {role: r}\nroles: {r: {}}", 3, "expected a string"),
        (role("permissions: [{read: a, write: b}]"), 4, "one pair"),
        (role("permissions: [{raed: a}]"), 4, "unknown key raed"),
        (role("permissions: {read: a}"), 4, "must be a list"),
        (role("permissions: [{read: a}]"), 4, "no tool has verb read on resource a"),
        (role("allowed_tools: [search]"), 4, "server.tool"),
        (role('allowed_tools: ["kb.*"]'), 4, "no wildcards"),
        (role('denied_tools: ["kb.delete*"]'), 4, "server.*"),
        (role("allowed_tools: [Kb.search]"), 4, "server.tool"),
        (role("allowed_tools: [kb.a, kb.a]"), 4, "listed twice"),
        (role("{allowed_tools: [kb.a], denied_tools: [kb.a]}"), 4, "denied by the same role"),
        (role('{allowed_tools: [kb.a], denied_tools: ["kb.*"]}'), 4, "denied by the same role"),
        (role("provider_features: [web_search]"), 4, "openai.FEATURE"),
        (role("server_requests: [every.tools/call]"), 4, "sampling/createMessage"),
        (role("allowed_resources: [nothing]"), 4, "server.URI"),
        ("version: 1\nroles:\n  'a b': {}\n", 3, "role's name"),
        ("version: 1\ntools:\n  a.b: {verb: read}\n", 3, "go together"),
        ("version: 1\ntools:\n  a.b: {verb: look, resource: r}\n", 3, "one of read"),
        ("version: 1\ntools:\n  a.b: {risk: none}\n", 3, "one of read, modify"),
        ("version: 1\ntools:\n  nodot: {}\n", 3, "server.tool"),
        (argument("{}"), 5, "says nothing"),
        (argument("{maximum: '3'}"), 5, "must be a number"),
        (argument("{maximum: true}"), 5, "must be a number"),
        (argument("{maximum: .nan}"), 5, "not a finite number"),
        (argument("{maximum: 99999999999999999999}"), 5, "64 bits"),
        (argument("{minimum: 3, maximum: 2}"), 5, "above maximum"),
        (argument("{max_length: -1}"), 5, "negative"),
        (argument("{enum: []}"), 5, "at least one"),
        (argument("{enum: [[1]]}"), 5, "must list"),
        (argument("{prefix: /srv/docs}"), 5, "must end with /"),
        (argument("{required: false}"), 5, "must be true"),
        (argument("{log: secret}"), 5, "clear"),
        (argument("{equals: session.prompt}"), 5, "unknown reference"),
        (argument("{equals: session.subject.}"), 5, "unknown reference"),
        (argument("{equals: [1]}"), 5, "must be a string"),
        (argument("{equals: 1, maximum: 2}"), 5, "stands alone"),
        (argument("{schema: {type: nonsense}}"), 5, "not a usable JSON Schema"),
        (argument('{schema: {$ref: "http://localhost/x"}}'), 5, "reference out of the document"),
        (argument("{pattern: a}"), 5, "unknown key pattern"),
    ],
)
def test_what_would_be_ignored_or_misread_is_an_error(text, line, says):
    problem = refused(text)
    assert problem.code == "PC7002"
    assert problem.detail.startswith(f"policy/main.yaml:{line}:")
    assert says in problem.detail


def test_an_alias_is_refused_with_what_to_do_about_it():
    problem = refused("version: 1\nroles:\n  a: &x {}\n  b: *x\n")
    assert problem.code == "PC7002"
    assert problem.detail.startswith("policy/main.yaml:3:6: anchors and aliases are not read here")
    assert problem.hint == "Write it out where it is used."


def test_a_permission_whose_tools_are_all_denied_is_an_error():
    text = SUPPORT.replace('denied_tools: [crm.delete, "danger.*"]', 'denied_tools: ["tickets.*"]')
    assert "deny every tool of this permission" in refused(text).detail


def test_files_are_merged_and_a_name_in_two_files_is_an_error():
    agents, roles = "version: 1\nagents: {a: {role: r}}\n", "version: 1\nroles: {r: {}}\n"
    assert policy_of(agents, roles).digest
    problem = refused(agents, roles, agents)
    assert problem.detail.startswith("policy/2.yaml:2:10: a is defined twice (first at policy/0")


def test_the_example_of_the_documentation_loads(request):
    text = (request.config.rootpath / "docs" / "policy.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert policy_of(example).schemas
