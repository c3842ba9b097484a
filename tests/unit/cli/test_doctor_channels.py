"""If this fails, the doctor breaks off at a channel, or tells the URL that is a secret."""

from __future__ import annotations

import os

import pytest

from portcullis.cli.doctor_channels import channel
from portcullis.config import load
from portcullis.execution.secrets import local_secrets

CONFIG = """trust_domain: test.internal
guard: {shop: {}}
notifications:
  chat: {kind: slack, webhook: env:HOOK}
  hook: {kind: webhook, url: "https://LONG.example/", secrets: [env:HOOK]}
""".replace("LONG", "a" * 80)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://127.0.0.1:1/HIDDEN", "no connection"),
        ("http://hooks.example/HIDDEN", "no https URL"),
        ("https://host:99999/HIDDEN", "no https URL"),
        ("https://[bad/HIDDEN", "no https URL"),
        ("HIDDEN", "no https URL"),
    ],
)
def test_the_doctor_says_what_is_wrong_with_a_webhook_and_not_where_it_is(
    tmp_path, monkeypatch, url, says
):
    monkeypatch.setenv("HOOK", url)
    (tmp_path / "portcullis.yaml").write_text(CONFIG)
    secrets, told = local_secrets(os.environ), load(tmp_path / "portcullis.yaml").notifications
    found = [one for name in told for one in channel(name, told[name], secrets)]
    chat, hook = (one for one in found if one.what in {"channel chat", "channel hook"})
    assert (chat.ok, chat.found) == (False, f"env:HOOK: {says}")
    assert not hook.ok
    assert "HIDDEN" not in repr(found)
