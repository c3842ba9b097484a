"""``portcullis demo``: the whole line with real clients, and a story that tells the truth."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from portcullis.demo import run, stage
from portcullis.demo.scenes import SCENES

PORTCULLIS = [sys.executable, "-c", "from portcullis.cli import main; main()"]


def portcullis(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*PORTCULLIS, *arguments], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )


def test_once_as_json_goes_as_told_and_leaves_nothing_behind(tmp_path):
    done = portcullis("demo", "--once", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert [step["title"] for step in told["steps"]] == [scene.title for scene in SCENES]
    assert all(step["ok"] for step in told["steps"])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = portcullis("demo", "--once", "--state", "kept", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "kept", done


def test_once_can_be_read_in_a_pipe(kept):
    _, done = kept
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"All {len(SCENES)} steps went as told." in done.stdout


def test_its_log_can_be_verified_afterwards(kept):
    folder, _ = kept
    verified = portcullis("audit", "verify", "-c", "portcullis.yaml", cwd=folder)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_no_credential_of_an_upstream_is_told_or_logged(kept):
    folder, done = kept
    values = [path.read_bytes() for path in (folder / "secrets").iterdir()]
    written = [path for path in (folder / "state").rglob("*") if path.is_file()]
    assert len(values) == 2
    assert len(written) > 3
    for value in values:
        assert value.decode() not in done.stdout + done.stderr
        assert not [path for path in written if value in path.read_bytes()]


def test_it_stays_up_for_the_usual_clients_until_it_is_told_to_stop(tmp_path):
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [str(Path(sys.executable).parent / "portcullis"), "demo", "--state", "kept"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            lines = []
            for line in child.stdout:
                lines.append(line)
                if line.startswith("Ctrl-C"):
                    break
            exports = dict(re.findall(r"(\w+)=(\S+)", (tmp_path / "kept" / "env.sh").read_text()))
            client = openai.OpenAI(
                base_url=exports["OPENAI_BASE_URL"], api_key=exports["OPENAI_API_KEY"]
            )
            said = client.chat.completions.create(
                model="gpt-standin:say", messages=[{"role": "user", "content": "still there?"}]
            )
            assert said.choices[0].message.content == "still there?"
            assert (tmp_path / "kept" / "env.sh").stat().st_mode & 0o077 == 0
            suggested = [
                line for line in lines if re.match(r"  \S*portcullis (audit|policy) ", line)
            ]
            assert len(suggested) == 3
            for line in suggested:
                typed = subprocess.run(
                    ["/bin/sh", "-c", line],
                    cwd=tmp_path,
                    env={"PATH": "/usr/bin:/bin"},
                    capture_output=True,
                    timeout=30,
                    check=False,
                )
                assert typed.returncode == 0, typed.stderr
        finally:
            child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=20) == 0, "".join(lines)


def test_a_gate_that_lets_through_what_it_should_not_is_noticed(tmp_path, monkeypatch):
    lax = (
        stage.support_policy()
        .replace("denied_tools: [crm.delete_customer]", "")
        .replace("- read: customer_records", "- delete: customer_records")
        .replace(
            "customer_id: {equals: session.subject.customer_id, log: clear}",
            "customer_id: {log: clear}",
        )
    )
    monkeypatch.setattr(stage, "support_policy", lambda: lax)
    told = asyncio.run(run.perform(tmp_path / "demo", lambda _: None))
    wrong = {step.title for step in told.steps if not step.ok}
    assert told.ok is False
    assert {"An agent sees its own tools", "Outside the row scope", "A denied tool"} <= wrong
