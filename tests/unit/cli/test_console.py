"""``portcullis console``: a link for who holds the issuer's key."""

import json
import stat
import sys
import webbrowser
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from portcullis.bootstrap import authority_of
from portcullis.cli import console, main
from portcullis.config import load
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import LINK


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "portcullis.yaml").write_text("trust_domain: example.test\n")
    gate = SimpleNamespace(control="http://127.0.0.1:7301")
    monkeypatch.setattr(console, "running_gate", lambda _: gate)
    (tmp_path / "portcullis-state/keys").mkdir(parents=True, mode=0o700)
    return tmp_path


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["portcullis", "console", *words])
    with pytest.raises(SystemExit) as done:
        main()
    return done.value.code or 0


def holder(folder, url):
    token = parse_qs(urlsplit(url).fragment)["once"][0]
    return authority_of(load(folder / "portcullis.yaml")).verify(token, LINK)


def test_a_link_is_an_operators_token_for_a_minute(folder, monkeypatch, capsys):
    assert run(monkeypatch, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["url"].startswith("http://portcullis.localhost:7301/login?again=1#once=")
    claims = holder(folder, said["url"])
    assert claims.sub.startswith(f"{PrincipalKind.OPERATOR}:local-")
    assert claims.exp - claims.iat == 60
    assert claims.exp == said["expires_at"]


def test_no_other_user_of_the_machine_sees_the_link_that_is_opened(folder, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert run(monkeypatch, "--open") == 0
    link = capsys.readouterr().out.strip()
    page = folder / "portcullis-state" / console.PAGE
    assert opened == [page.resolve().as_uri()]
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert f'url={link}"' in page.read_text()


def test_without_a_gate_there_is_no_console(folder, monkeypatch, capsys):
    monkeypatch.setattr(console, "running_gate", lambda _: None)
    assert run(monkeypatch) == 1
    assert "portcullis up" in capsys.readouterr().err


def test_a_console_that_is_switched_off_has_no_links(folder, monkeypatch, capsys):
    (folder / "portcullis.yaml").write_text(
        "trust_domain: example.test\nconsole: {enabled: false}\n"
    )
    assert run(monkeypatch) == 2
    assert capsys.readouterr().out == ""
