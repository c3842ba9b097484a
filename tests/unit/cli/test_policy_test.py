import json

import pytest
from typer.testing import CliRunner

from policies import write
from portcullis.cli.policy import app
from portcullis.core.errors import Problem

POLICY = """\
version: 1
agents: {bot: {role: clerk, expires: "2027-06-30"}}
roles:
  clerk: {allowed_tools: [kb.search], denied_tools: [kb.drop]}
"""
CASES = """\
version: 1
defaults: {agent: bot, at: "2027-01-01"}
cases:
  - {case: searches, tool: kb.search, expect: {verdict: allow, rule: roles.clerk.allowed_tools}}
  - {case: drops nothing, tool: kb.drop, expect: PC3002}
  - {case: ends, tool: a.b, at: "2027-06-30", expect: {code: PC3009, rule: agents.bot.expires}}
"""
RULES = """\
package kb_test

import rego.v1

test_nobody if data.portcullis.decision.code == "PC3009" with input as {"action": "list",
\t"session": null, "principal": {"kind": "agent", "id": "nobody", "session": null}}

todo_test_more if false
"""

DENIED = "roles.clerk.denied_tools[0] kb.drop"


@pytest.fixture
def folder(tmp_path):
    policy = write(tmp_path / "policy", POLICY)
    write(policy / "tests", CASES, "cases.yaml")
    write(policy / "tests", RULES, "kb_test.rego")
    return policy


def run(*arguments):
    return CliRunner().invoke(app, ["test", *(str(item) for item in arguments)])


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def code(result):
    assert isinstance(result.exception, Problem), result.exception
    return result.exception.code


def test_all_that_is_as_expected_passes_and_is_counted(folder):
    result = run(folder, "--coverage", "--mutate", "--minimum", "100")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.splitlines() == [
        "4 passed, 0 failed, 1 skipped",
        "coverage 100.0 %: 3 of 3 were decisive",
        "mutants 100.0 %: 6 killed, 0 survived, 0 were no policy",
    ]


def test_what_fails_is_shown_with_its_line_and_what_decided_and_the_exit_code_is_5(folder):
    wrong = CASES.replace("tool: kb.drop, expect: PC3002", "tool: kb.drop, expect: allow")
    write(folder / "tests", wrong, "cases.yaml")
    write(folder / "tests", RULES.replace('"PC3009"', '"PC3001"'), "kb_test.rego")
    result = run(folder)
    assert result.exit_code == 5
    assert result.stdout.splitlines() == [
        "FAILED tests/cases.yaml:5: drops nothing",
        "  expected allow, got deny PC3002",
        f"  deny PC3002: the role clerk denies this tool ({DENIED} @ policy/main.yaml:4)",
        "FAILED tests/kb_test.rego:5: kb_test.test_nobody",
        "  does not hold",
        "2 passed, 2 failed, 1 skipped",
    ]
    assert code(run(folder, "--mutate")) == "PC7024"


def test_a_program_reads_one_object_a_line(folder):
    said = lines(run(folder, "--coverage", "--mutate", "--json"))
    assert [one["kind"] for one in said] == [
        *("case", "case", "case", "rule", "rule", "summary", "coverage", "mutation"),
    ]
    assert (said[0]["case"], said[0]["passed"]) == ("searches", True)
    assert said[0]["verdict"]["rule"].startswith("roles.clerk.allowed_tools[0] kb.search")
    assert (said[5]["passed"], said[5]["failed"], said[5]["skipped"]) == (4, 0, 1)
    assert said[5]["digest"].startswith("sha256:")
    assert (said[6]["percent"], said[7]["score"], said[7]["killed"]) == (100.0, 100.0, 6)


def test_below_the_minimum_the_exit_code_is_5_and_what_is_missing_is_named(folder):
    few = "".join(f"{line}\n" for line in CASES.splitlines()[:4])
    write(folder / "tests", few, "cases.yaml")
    result = run(folder, "--coverage", "--mutate", "--minimum", "90")
    assert result.exit_code == 5
    said = result.stdout
    assert "never decisive: policy/main.yaml:4: denial roles.clerk.denied_tools[0] kb.drop" in said
    assert "never decisive: policy/main.yaml:2: condition agents.bot.expires 2027-06-30" in said
    assert "SURVIVED policy/main.yaml:4: flip: kb.drop goes to allowed_tools of clerk" in said
    assert "a case that would: a denied call of kb.drop as clerk" in said
    assert run(folder, "--coverage", "--minimum", "33").exit_code == 0
    left = [one for one in lines(run(folder, "--mutate", "--json")) if one["kind"] == "mutant"]
    assert {one["fate"] for one in left} == {"survived"}
    assert left[0]["origin"].startswith("policy/main.yaml:")
    missed = lines(run(folder, "--coverage", "--json"))[-3]
    assert (missed["kind"], missed["part"]) == ("uncovered", "condition")


def test_cases_without_a_time_are_asked_at_the_one_that_is_given(folder, tmp_path):
    bare = CASES.replace(', at: "2027-01-01"', "")
    write(tmp_path / "other", bare, "cases.yaml")
    other = ("--cases", tmp_path / "other")
    assert run(folder, *other, "--at", "2027-01-01T08:00:00+01:00").exit_code == 0
    assert run(folder, *other, "--at", "2027-07-01").exit_code == 5
    assert code(run(folder, "--at", "soon")) == "PC7004"


def test_junit_is_written_for_builds(folder, tmp_path):
    run(folder, "--junit", tmp_path / "out.xml")
    text = (tmp_path / "out.xml").read_text(encoding="utf-8")
    assert '<testsuite name="cases" tests="3" failures="0" errors="0" skipped="0">' in text
    assert '<testsuite name="test_ rules" tests="2" failures="0" errors="0" skipped="1">' in text
    assert code(run(folder, "--junit", tmp_path / "none" / "out.xml")) == "PC7004"


def test_nothing_to_run_is_no_success(folder, tmp_path):
    assert code(run(folder, "--minimum", "90")) == "PC7004"
    assert code(run(folder, "--cases", tmp_path / "none")) == "PC7022"
    (tmp_path / "empty").mkdir()
    bare = write(tmp_path / "bare", POLICY)
    assert code(run(bare)) == "PC7022"
    assert code(run(bare, "--cases", tmp_path / "empty")) == "PC7022"


def test_the_folder_of_the_cases_is_no_part_of_the_policy(folder):
    with_tests = CliRunner().invoke(app, ["check", str(folder)])
    assert with_tests.exit_code == 0
    (folder / "tests" / "cases.yaml").unlink()
    assert CliRunner().invoke(app, ["check", str(folder)]).stdout == with_tests.stdout
    (folder / "more").mkdir()
    assert code(CliRunner().invoke(app, ["check", str(folder)])) == "PC7002"
