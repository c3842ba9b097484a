"""If these fail, a tenant's line passes for another's, one gets what is in another's environment,
or one that cannot start keeps others from it."""

import asyncio
import json
import os

import pytest

from portcullis.bootstrap import children, tenants_running
from portcullis.bootstrap.tenants_running import Bounds, TenantsRunning, environment, labelled
from portcullis.config.tenants import Tenant
from portcullis.core.errors import Problem


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"gate http://127.0.0.1:7400", "acme: gate http://127.0.0.1:7400"),
        (b"globex: all is well", "acme: globex: all is well"),
        (b"\x1b[2Jnothing\r", "acme: ?[2Jnothing?"),
        ("a\u202eb\u2028".encode(), "acme: a?b?"),
        (b"\xff{", "acme: \N{REPLACEMENT CHARACTER}{"),
        (b"[" * 100_000, "acme: " + "[" * 100_000),
    ],
    ids=["words", "another name", "a terminal's", "a script's", "no text", "deep"],
)
def test_a_line_has_the_name_of_whose_it_is(line, told):
    assert labelled("acme", line) == told


def test_an_object_has_that_name_whatever_it_says_itself():
    for said in (b'{"event": "x"}', b'{"tenant": "globex", "event": "x", "tenant": "y"}'):
        found = labelled("acme", said)
        assert json.loads(found, object_pairs_hook=list) == [("tenant", "acme"), ("event", "x")]
    assert labelled("acme", '{"event": "\u2028"}'.encode()).isascii()


def test_a_tenant_has_its_own_environment_and_little_of_the_providers(tmp_path, monkeypatch):
    one = Tenant("acme", tmp_path)
    ours = {"PATH": "/bin", "OPENAI_API_KEY": "the provider's", "HOME": "/root"}
    assert environment(one, ours) == {"PATH": "/bin", "HOME": "/root"}
    one.environment.write_text("# its own\n\nOPENAI_API_KEY=a=b \nHOME=/srv\n")
    one.environment.chmod(0o600)
    found = environment(one, ours)
    assert found == {"PATH": "/bin", "HOME": "/srv", "OPENAI_API_KEY": "a=b "}
    for line in ("export X=1\n", "X=a\0b\n"):
        one.environment.write_text(line)
        with pytest.raises(Problem, match=r"PC7001.*environment:1"):
            environment(one, ours)
    one.environment.write_text("X=1\n")
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)  # who looks at all is another
    assert environment(one, {}) == {"X": "1"}
    monkeypatch.setattr(tenants_running, "_owner", lambda _: owner + 2)
    with pytest.raises(Problem, match="PC7001"):
        environment(one, ours)
    monkeypatch.undo()
    one.environment.chmod(0o644)
    with pytest.raises(Problem, match="PC7001"):
        environment(one, ours)


@pytest.mark.anyio
async def test_one_that_cannot_start_keeps_no_other_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "BACK_OFF", (0.01, 0.02))
    said = []
    made = [Tenant(name, tmp_path / name) for name in ("acme", "globex", "third")]
    for one in made:
        one.folder.mkdir()
        one.file.write_text("trust_domain: [")
    made[1].environment.write_text("not a variable\n")
    made[1].environment.chmod(0o600)

    def told(line):
        said.append(line)
        raise BrokenPipeError  # nobody listens

    running = TenantsRunning(made, Bounds(2**30, 1024), told)
    keeping = asyncio.create_task(running.run())

    def refused():
        return {line.partition(":")[0] for line in said if "error: PC7001" in line}

    async with asyncio.timeout(60):
        while refused() != {"acme", "third"}:  # noqa: ASYNC110 - processes
            await asyncio.sleep(0.02)
    await running.end()
    await keeping
    assert not [line for line in said if line.startswith("globex: start")]
