"""Processes of ours run our code, and nothing that lies where somebody started us."""

import re
import threading
from pathlib import Path

import portcullis
from portcullis.policy import custom

TRIES = "package x\n\nimport rego.v1\n\nmet if input.y == 1\n"
SOURCES = Path(portcullis.__file__).parent
OURS = re.compile(r'sys\.executable,\s*"(-[^"]*)"')
MEASURES = {"bench", "redteam"}


def test_no_file_of_the_working_directory_is_run(tmp_path, monkeypatch):
    trace = tmp_path / "ran"
    (tmp_path / "json.py").write_text(f"open({str(trace)!r}, 'w').close()\nraise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    said = []
    thread = threading.Thread(target=lambda: said.append(custom.tried(TRIES, "data.x.met")))
    thread.start()  # a worker of its own
    thread.join(60)
    assert said == [None]
    assert not trace.exists()


def test_every_interpreter_that_is_started_is_told_so():
    found = [
        (str(path.relative_to(SOURCES)), flag)
        for path in sorted(SOURCES.rglob("*.py"))
        if path.relative_to(SOURCES).parts[0] not in MEASURES
        for flag in OURS.findall(path.read_text(encoding="utf-8"))
    ]
    assert found
    assert [one for one in found if one[1] not in {"-P", "-I"}] == []
