import pytest

from portcullis.core.call import Action, RiskClass
from portcullis.core.errors import Problem
from portcullis.policy.source import SourceFile
from portcullis.policy.testing.cases import parse_cases, read_cases
from portcullis.policy.testing.moments import moment

HEAD = "version: 1\ncases:\n"


def cases(text):
    return parse_cases((SourceFile("tests/a.yaml", text),))


def one(text):
    return cases(f"version: 1\ncases:\n  - {{case: a, agent: bot, {text}}}\n")[0]


def refused(text):
    with pytest.raises(Problem) as caught:
        cases(text)
    assert caught.value.code == "PC7022"
    return caught.value


def test_a_case_says_what_is_asked_by_whom_where_and_when():
    case = one(
        "tool: orders.search, arguments: {limit: 1}, environment: staging, "
        "session: {user: ada, subject: {id: C-1}, grant: [orders.search]}, "
        'at: "2026-11-23T09:30:00+01:00", expect: allow'
    )
    call, context = case.call, case.context
    assert (call.action, call.server, call.name) == (Action.TOOL, "orders", "search")
    assert call.arguments == {"limit": 1}
    assert (context.principal.id, context.session.user) == ("bot", "ada")
    assert context.principal.session == context.session.id
    assert context.session.subject == {"id": "C-1"}
    assert context.session.grant == ("orders.search",)
    assert (case.environment, case.at) == ("staging", 1795422600.0)
    assert case.place.origin == "tests/a.yaml:3"


@pytest.mark.parametrize(
    ("text", "action", "server", "name"),
    [
        ("model: gpt-5", Action.MODEL, "", "gpt-5"),
        ('resource: "files.file:///a.b"', Action.RESOURCE, "files", "file:///a.b"),
        ("prompt: kb.hello", Action.PROMPT, "kb", "hello"),
        ("complete: kb.hello", Action.COMPLETE, "kb", "hello"),
        ("request: kb.roots/list", Action.SERVER_REQUEST, "kb", "roots/list"),
        ("list: kb.tools", Action.LIST, "kb", "tools"),
    ],
)
def test_everything_that_policy_decides_can_be_asked(text, action, server, name):
    call = one(f"{text}, expect: deny").call
    assert (call.action, call.server, call.name) == (action, server, name)


def test_egress_is_asked_as_the_gate_asks_it():
    asked = one('egress: "https://a.example/x?y=1", method: POST, expect: deny').call.arguments
    assert (asked["way"], asked["scheme"], asked["method"]) == ("request", "https", "POST")
    assert (asked["host"], asked["port"], asked["path"]) == ("a.example", 443, "/x")
    assert one('egress: "a.example:22", expect: deny').call.arguments["way"] == "connect"
    assert (
        "DNS name"
        in refused(HEAD + '  - {case: a, agent: b, egress: "10.0.0.1:1", expect: deny}').detail
    )


def test_defaults_hold_for_what_a_case_leaves_out_and_null_takes_the_session_away():
    first, second = cases(
        "version: 1\n"
        "defaults: {agent: bot, session: {user: ada}, environment: staging}\n"
        "cases:\n"
        "  - {case: a, tool: x.y, expect: deny}\n"
        "  - {case: b, tool: x.y, agent: other, session: null, environment: live, expect: deny}\n"
    )
    assert (first.context.principal.id, first.context.session.user) == ("bot", "ada")
    assert first.environment == "staging"
    assert (second.context.principal.id, second.context.session) == ("other", None)
    assert second.environment == "live"


def test_what_is_expected_is_a_word_a_code_or_more():
    assert one("tool: a.b, expect: allow").expected.verdict == "allow"
    assert one("tool: a.b, expect: PC3004").expected.code == "PC3004"
    assert one("tool: a.b, expect: {code: PC3004}").expected.verdict == "deny"
    more = one("tool: a.b, expect: {verdict: allow, rule: roles.x, risk: read}").expected
    assert (more.verdict, more.rule, more.risk) == ("allow", "roles.x", RiskClass.READ)
    said = "obligations: {mask: {'a.*.b': drop}, log: [to], approvers: 2}"
    obliged = one(f"tool: a.b, expect: {{{said}}}").expected
    assert (obliged.verdict, obliged.masks) == ("allow", {"a.*.b": "drop"})
    assert (obliged.log, obliged.approvers) == (frozenset({"to"}), 2)
    none = one("tool: a.b, expect: {obligations: {}}").expected
    assert (none.masks, none.log, none.approvers, none.rows) == ({}, frozenset(), 0, {})
    rows = one(
        "tool: a.b, expect: {obligations: {rows: {of: [a, 1]}}, limits: {calls: 5}}"
    ).expected
    assert (rows.rows, rows.limits) == ({"of": frozenset({"a", 1})}, {"calls": 5})
    assert (rows.masks, rows.approvers) == (None, None)
    shown = one("list: a.tools, names: [b, c], expect: {visible: [b]}")
    assert (shown.names, shown.expected.visible) == (("b", "c"), frozenset({"b"}))


def test_a_fault_shows_its_line_with_a_caret_and_all_are_told_at_once():
    problem = refused(
        "version: 1\n"
        "cases:\n"
        "  - case: a\n"
        "    agent: bot\n"
        "    tool: x.y\n"
        "    expct: allow\n"
        "    expect: deny\n"
        "  - {case: b, agent: bot, tool: x.y, expect: maybe}\n"
    )
    assert "tests/a.yaml:6:5: unknown key expct in cases[0]" in problem.detail
    assert "    6 |     expct: allow\n      |     ^" in problem.detail
    assert "tests/a.yaml:8:46" in problem.detail
    assert "      = Did you mean expect?" in problem.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tool: x.y", "has no expect"),
        ("tool: x.y, model: z, expect: allow", "must ask one thing"),
        ("tool: x, expect: allow", "must be qualified"),
        ("tool: x.y, expect: PC3999", "no code PC3999"),
        ("tool: x.y, expect: PC1001", "not of the form"),
        ("tool: x.y, expect: {}", "expects nothing"),
        ("tool: x.y, expect: {verdict: allow, code: PC3001}", "has no code"),
        ("tool: x.y, expect: {verdict: deny, obligations: {}}", "has no obligations"),
        ("tool: x.y, expect: {visible: [a]}", "go together, with a list"),
        ("list: x.tools, expect: {visible: [a]}", "go together, with a list"),
        ("list: x.tolls, names: [a], expect: {visible: [a]}", "no list tolls"),
        ("model: x, arguments: {a: 1}, expect: allow", "only with tool"),
        ('tool: x.y, at: "2026-11-23T09:30:00", expect: allow', "a moment with its zone"),
        ("tool: x.y, environment: a b, expect: allow", "one word"),
        ("tool: x.y, arguments: [1], expect: allow", "must be a mapping"),
        ("tool: x.y, expect: {obligations: {rows: {a: b}}}", "must be a list of values"),
        ("tool: x.y, expect: {limits: {calls: many}}", "must be a whole number"),
    ],
)
def test_a_case_that_cannot_mean_what_it_says_is_refused(text, said):
    assert said in refused(f"version: 1\ncases:\n  - {{case: a, agent: b, {text}}}\n").detail


def test_no_two_cases_have_one_name():
    same = "  - {case: a, agent: b, tool: x.y, expect: deny}\n"
    assert "a is there twice (first at tests/a.yaml:3" in refused(HEAD + same + same).detail


def test_files_are_read_by_name_and_no_folder_has_no_cases(tmp_path):
    assert read_cases(tmp_path / "none") == ()
    for name in ("b", "a"):
        text = f"{HEAD}  - {{case: {name}, agent: x, tool: x.y, expect: deny}}\n"
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert [case.name for case in read_cases(tmp_path)] == ["a", "b"]
    (tmp_path / "c.yaml").write_bytes(b"\xff")
    with pytest.raises(Problem) as caught:
        read_cases(tmp_path)
    assert caught.value.code == "PC7022"


@pytest.mark.parametrize("name", ["a.yml", "a.rego", "more/a.yaml"])
def test_nothing_that_looks_like_a_test_is_left_out_in_silence(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("version: 1\n", encoding="utf-8")
    (tmp_path / ".a.yml").touch()
    (tmp_path / "README.md").touch()
    with pytest.raises(Problem) as caught:
        read_cases(tmp_path)
    assert caught.value.code == "PC7022"


def test_a_date_is_its_midnight_in_utc_and_a_time_needs_its_zone():
    assert moment("2026-11-23") == moment("2026-11-23T00:00:00Z") == 1795392000.0
    assert moment("2026-11-23T00:00:00") is None
    assert moment("20261123") is None
    assert moment("soon") is None
