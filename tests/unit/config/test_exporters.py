"""If these fail, events leave in clear or unsigned, or a mistake is found out at run time only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from portcullis.config import Config, load
from portcullis.config.exporters import FileExporter, OpaExporter, SyslogExporter, WebhookExporter
from portcullis.core.errors import Problem

HOOK = {"name": "a", "kind": "webhook", "url": "https://siem.example.com/in", "secret": "env:X"}
SYSLOG = {"name": "a", "kind": "syslog", "address": "syslog.example.com:6514"}
OTLP = {"name": "a", "kind": "otlp", "url": "https://otel.example.com/v1/logs"}
OPA = {"name": "a", "kind": "opa", "url": "https://opal.example.com/logs"}
FILE = {"name": "a", "kind": "file", "path": "out.jsonl"}


def loaded(folder: Path, *exporters: dict[str, Any]) -> Config:
    path = folder / "portcullis.yaml"
    path.write_text(
        yaml.safe_dump(
            {"trust_domain": "example.org", "audit": {"exporters": [*exporters]}}, sort_keys=False
        )
    )
    return load(path)


def test_every_kind_is_read_with_paths_beside_the_file(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        {**HOOK, "name": "h", "ca": "ca.pem", "secret": "file:key", "types": ["tool_call"]},
        {**SYSLOG, "name": "s"},
        {**OTLP, "name": "o"},
        {**OPA, "name": "d"},
        {**FILE, "name": "f"},
    )
    hook, syslog, _, opa, file = config.audit.exporters
    assert isinstance(hook, WebhookExporter)
    assert (hook.ca, hook.secret) == (tmp_path / "ca.pem", f"file:{tmp_path / 'key'}")
    assert hook.types == ("tool_call",)
    assert isinstance(syslog, SyslogExporter)
    assert syslog.tls is True
    assert isinstance(opa, OpaExporter)
    assert opa.types == ("decision", "tool_call", "llm_call")
    assert isinstance(file, FileExporter)
    assert file.path == tmp_path / "out.jsonl"


@pytest.mark.parametrize(
    "exporter",
    [
        {**HOOK, "url": "http://127.0.0.1:9/in"},
        {**OTLP, "url": "http://[::1]:4318/v1/logs"},
        {**SYSLOG, "address": "localhost:514", "tls": False},
        {**SYSLOG, "address": "[::1]:514", "tls": False},
    ],
)
def test_clear_text_stays_on_the_machine(tmp_path: Path, exporter: dict[str, Any]) -> None:
    assert len(loaded(tmp_path, exporter).audit.exporters) == 1


@pytest.mark.parametrize(
    ("exporter", "line", "said"),
    [
        ({**HOOK, "url": "http://siem.example.com/in"}, 6, "https"),
        ({**HOOK, "url": "https://user:pw@siem.example.com/in"}, 6, "no credential"),
        ({**HOOK, "secret": "the secret itself"}, 7, "secret"),
        ({**OTLP, "url": "http://127.0.0.1.example.com/"}, 6, "https"),
        ({**SYSLOG, "tls": False}, 4, "only to loopback"),
        ({**SYSLOG, "address": "syslog.example.com"}, 6, "host:port"),
        ({**SYSLOG, "address": "syslog.example.com:0"}, 6, "host:port"),
        ({**FILE, "rotate_bytes": 10}, 7, "rotate_bytes"),
        ({**FILE, "frmat": "cef"}, 7, "unknown key"),
        ({**FILE, "types": ["tool_cal"]}, 8, "tool_call"),
        ({**FILE, "kind": "fax"}, 4, "fax"),
        ({**FILE, "name": "../../etc"}, 4, "name"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, exporter: dict[str, Any], line: int, said: str
) -> None:
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, exporter)
    assert caught.value.code == "PC7001"
    assert f"portcullis.yaml:{line}:" in caught.value.detail
    assert said in caught.value.detail
    assert "the secret itself" not in caught.value.detail


def test_two_exporters_do_not_share_a_name(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="same name"):
        loaded(tmp_path, HOOK, FILE)


@pytest.mark.parametrize("types", [[], ["admin"], ["tool_call", "tool_result"]])
def test_opa_gets_decisions_and_nothing_else(tmp_path: Path, types: list[str]) -> None:
    with pytest.raises(Problem, match="types are of decision, tool_call, llm_call"):
        loaded(tmp_path, {**OPA, "types": types})
