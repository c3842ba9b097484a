import sys

import pytest

from policies import SUPPORT
from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.policy import apart
from portcullis.policy.apart import LARGE, compile_apart
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import compile_files
from portcullis.policy.source import SourceFile

LONG = SUPPORT + "#" * LARGE + "\n"


def files(text):
    return (SourceFile("policy/main.yaml", text),)


@pytest.fixture
def asked(monkeypatch):
    """The environments of the processes that are started."""
    seen, run = [], apart.subprocess.run

    def watched(*words, **how):
        seen.append(how["env"])
        return run(*words, **how)

    monkeypatch.setattr(apart.subprocess, "run", watched)
    return seen


def test_a_large_policy_is_compiled_elsewhere_to_the_same_and_sees_no_secret(asked, monkeypatch):
    monkeypatch.setenv("PORTCULLIS_UPSTREAM_KEY", "hidden")
    engine = RegorusEngine()
    assert compile_apart(files(LONG), fault, engine) == compile_files(files(LONG), fault, engine)
    (environment,) = asked
    assert "PATH" in environment
    assert "hidden" not in environment.values()


def test_what_is_wrong_with_a_large_policy_is_said_as_of_a_small_one(asked):
    found = []
    for compiled in (compile_apart, compile_files):
        with pytest.raises(Problem) as refused:
            compiled(files(LONG + "rolls: {}\n"), fault, RegorusEngine())
        found.append((refused.value.code, refused.value.detail, refused.value.hint))
    assert found[0] == found[1]
    assert "rolls" in found[0][1]
    assert len(asked) == 1


def test_a_small_policy_is_compiled_here(asked):
    assert compile_apart(files(SUPPORT), fault, RegorusEngine()).roles
    assert asked == []


def test_without_another_process_a_policy_takes_force_all_the_same(asked, monkeypatch, tmp_path):
    def mine(schema):
        return fault(schema)

    wanted = compile_files(files(LONG), fault, RegorusEngine()).digest
    assert compile_apart(files(LONG), mine, RegorusEngine()).digest == wanted
    assert asked == []
    for program in ("/bin/false", "/bin/true", str(tmp_path / "none")):
        monkeypatch.setattr(sys, "executable", program)
        assert compile_apart(files(LONG), fault, RegorusEngine()).digest == wanted
    assert len(asked) == 3
