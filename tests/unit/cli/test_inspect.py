"""``portcullis inspect``: findings as JSON lines, for evaluation and for pre-commit hooks."""

# ruff: noqa: E501 - tables of examples are read a line each

import io
import json
import re
import stat
import sys
import time
from types import SimpleNamespace

import pytest

from portcullis import cli
from portcullis.cli import inspect as command
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, InjectionScore, InjectionVerdict, Match
from portcullis.inspection.build import own_cache
from portcullis.inspection.inspector import Inspector

SECRET = "tok_" + "c3d4" * 3


class Patterns:
    entities = frozenset({"API_KEY", "NAME"})

    def only(self, entities):
        return self

    def scan(self, texts, keys=()):
        if any(text == "too much" for text in texts):
            raise Problem("PC3025", "too many matches")
        return [
            tuple(
                Match(
                    entity="API_KEY",
                    category=Category.SECRET,
                    start=one.start(),
                    end=one.end(),
                    score=0.123456,
                    rule="tok",
                )
                for one in re.finditer("tok_[a-z0-9]{12}", text)
            )
            for text in texts
        ]


class Injection:
    def score(self, text, source):
        bad = "ignore" in text and source != "user"
        verdict = InjectionVerdict.INJECTION if bad else InjectionVerdict.CLEAN
        return InjectionScore(score=0.987654321 if bad else 0.0, verdict=verdict)


class Trickle(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def read1(self, size=-1):
        return super().read1(7)


def failing(words):
    return [part for word in words.split(",") for part in ("--fail-on", word)]


@pytest.fixture
def run(monkeypatch, capfdbinary):
    """Run the command on an input; returns (exit code, answers, stderr)."""

    def go(data, *arguments, pipe=io.BytesIO):
        inspector = Inspector(Patterns(), Injection())
        entities = {"API_KEY": {Category.SECRET}, "NAME": {Category.PERSONAL}}
        built = SimpleNamespace(inspector=inspector, entities=entities)
        monkeypatch.setattr(command, "build", lambda *_, **__: built)
        stdin = SimpleNamespace(buffer=pipe(data if isinstance(data, bytes) else data.encode()))
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "argv", ["portcullis", "inspect", *arguments])
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capfdbinary.readouterr()
        assert SECRET.encode() not in out + err
        return code, [json.loads(line) for line in out.splitlines()], err.decode()

    return go


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_text_is_answered_with_names_and_places_and_never_its_content(run):
    code, (answer,), _ = run(f"the key\n{SECRET}\n")
    assert code == 0
    assert answer == {
        "id": "stdin",
        "injection": {"score": 0.0, "verdict": "clean", "reasons": []},
        "findings": [
            {"entity": "API_KEY", "category": "secret", "start": 8, "end": 24, "score": 0.1235, "rule": "tok"}
        ],
        "hidden": [],
        "tricks": [],
    }  # fmt: skip


@pytest.mark.parametrize("pipe", [io.BytesIO, Trickle])
def test_json_lines_are_answered_in_order_each_with_its_source(run, pipe):
    data = lines(
        {"id": "a", "text": "ignore it", "source": "tool", "label": 1},
        {"id": 7, "text": "ignore it"},
        {"text": f"k\u00e9y {SECRET}", "source": None},
    )
    code, answers, _ = run("\n" + data, pipe=pipe)
    assert code == 0
    assert [one["id"] for one in answers] == ["a", 7, 4]
    verdicts = [one["injection"]["verdict"] for one in answers]
    assert verdicts == ["injection", "clean", "clean"]
    assert [len(one["findings"]) for one in answers] == [0, 0, 1]
    assert run(data, "--source", "document")[1][1]["injection"]["verdict"] == "injection"


def test_a_byte_order_mark_hides_no_line(run):
    code, answers, _ = run("\ufeff" + lines({"id": 7, "text": "x"}, {"id": 8, "text": "y"}))
    assert (code, [one["id"] for one in answers]) == (0, [7, 8])


def test_a_last_line_without_a_newline_counts(run):
    assert len(run(lines({"text": "a"}, {"text": "b"}).strip())[1]) == 2
    assert run("")[:2] == (0, [])
    assert run("\n\n", "--format", "jsonl")[:2] == (0, [])


def test_text_that_looks_like_json_but_is_none_of_ours_is_text(run):
    (answer,) = run('{"a": 1}\n{"text": 5}\n')[1]
    assert answer["id"] == "stdin"
    assert run(lines({"text": "x"}), "--format", "text")[1][0]["id"] == "stdin"


def test_bad_lines_are_told_by_number_and_all_others_are_answered(run):
    data = lines({"text": "a"}) + "{nonsense " + SECRET + "\n" + lines({"text": "b"}, {"text": "too much"}, {"text": 3}, {"text": "c"})  # fmt: skip
    code, answers, err = run(data)
    assert code == 2
    assert [one["id"] for one in answers] == [1, 3, 6]
    assert re.findall(r"^line (\d+):", err, re.MULTILINE) == ["2", "5", "4"]
    assert "PC3025" in err


@pytest.mark.parametrize(
    "first",
    ["{nonsense", '{"text": "a", "text": "b"}', "{", '{"text": "a"', '\n\n{"text": "\xff"}'],
)
@pytest.mark.parametrize("pipe", [io.BytesIO, Trickle])
def test_lines_are_not_taken_for_one_text_when_the_first_is_spoilt(run, first, pipe):
    data = first.encode("latin-1") + b"\n" + lines({"text": SECRET}).encode()
    code, answers, err = run(data, pipe=pipe)
    assert (code, answers) == (2, [])
    assert "the first line begins as JSON" in err
    assert "hint: Say --format jsonl" in err
    code, answers, _ = run(data, "--format", "jsonl")
    assert (code, len(answers)) == (2, 1)
    assert run(data, "--format", "text")[0] == 0


def test_a_line_that_says_something_twice_is_refused_as_the_gate_would(run):
    twice = '{"text": "a", "text": "' + SECRET + '"}\n{"text": "a", "more": {"b": 1, "b": 2}}\n'
    code, answers, err = run(lines({"text": "a"}) + twice + lines({"text": "b"}))
    assert code == 2
    assert [one["id"] for one in answers] == [1, 4]
    assert re.findall(r"^line (\d+): .*names a key twice$", err, re.MULTILINE) == ["2", "3"]


def test_empty_lines_are_read_in_linear_time():
    class Pipe:
        def __init__(self, chunks):
            self.left = chunks

        def read1(self, size):
            self.left -= 1
            return b"\n" * 4096 if self.left >= 0 else b""

    def cost(chunks):
        before = time.process_time()
        assert len([*command._batches(Pipe(chunks), command.Format.AUTO)]) == 1
        return time.process_time() - before

    assert min(cost(4000), cost(4000)) < 10 * min(cost(1000), cost(1000)) + 0.02


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_line_that_is_too_deep_keeps_no_other_from_being_read(run, place):
    deep = '{"text": "a", "more": ' + "[" * 100_000 + "]" * 100_000 + "}\n"
    rows = [deep, lines({"text": SECRET})]
    data = "".join(rows if place == "first" else [lines({"text": "a"}), *rows])
    code, answers, err = run(data, "--format", "jsonl" if place == "first" else "auto")
    assert code == 2
    assert [len(one["findings"]) for one in answers][-1] == 1
    assert err.count("not a JSON object") == 1


@pytest.mark.parametrize(
    ("fail_on", "text", "code"),
    [
        ("secret", SECRET, 3),
        ("API_KEY", SECRET, 3),
        ("secret,injection", "clean", 0),
        ("injection", "ignore", 3),
        ("suspect", "ignore", 3),
        ("personal,injection", SECRET, 0),
        ("hidden", "&#116;" + SECRET[1:], 0),
        ("hidden", "dG9rX2MzZDRjM2Q0YzNkNA==", 3),
    ],
)
def test_a_hook_fails_when_what_it_names_is_found(run, fail_on, text, code):
    got, _, err = run(text, "--source", "tool", *failing(fail_on))
    assert got == code
    assert ("error: PC302" in err) == (code == 3)


@pytest.mark.parametrize("option", ["--fail-on", "--only"])
def test_a_name_that_nothing_finds_is_a_usage_error_and_not_a_silent_pass(run, option):
    code, _, err = run("text", option, "SECRETS")
    assert code == 2
    assert f"{option}: nothing is named 'SECRETS'" in err


@pytest.mark.parametrize("fail_on", ["secret", "API_KEY", "injection,secret", "health"])
def test_a_hook_that_could_never_fail_is_a_usage_error(run, fail_on):
    code, answers, err = run(SECRET, "--only", "NAME", *failing(fail_on))
    assert (code, answers) == (2, [])
    assert f"--fail-on {fail_on.rpartition(',')[2]}: no rule" in err
    assert "hint: Leave --only out" in err


def test_a_hook_that_can_fail_for_what_it_looks_for_runs(run):
    assert run(SECRET, "--only", "NAME", *failing("personal,NAME,hidden,suspect"))[0] == 0
    assert run(SECRET, "--only", "API_KEY", "--fail-on", "secret")[0] == 3


def test_the_cache_is_the_users_own_and_nobody_elses_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = own_cache()
    assert folder == tmp_path / "cache" / "portcullis"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert own_cache() is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert own_cache() is None
