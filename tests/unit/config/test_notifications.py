"""If these fail, a secret stands in a file, or a message goes out that anybody can read."""

import pytest
import yaml

from portcullis.config import load
from portcullis.core.errors import Problem

WEBHOOK = {"kind": "webhook", "url": "https://x.example/in", "secrets": ["env:K"]}
SLACK = {"kind": "slack", "token": "env:T", "channel": "C1"}
MAIL = {
    "kind": "email",
    "server": "smtp.example:587",
    "from": "gate@shop.example",
    "to": ["ops@shop.example"],
}
ACTIONS = {"signing_secret": "env:S", "approvers": {"U1": "bea"}}


def loaded(folder, channel):
    place = folder / "portcullis.yaml"
    place.write_text(
        yaml.safe_dump({"trust_domain": "shop.example", "notifications": {"one": channel}})
    )
    return load(place).notifications["one"]


@pytest.mark.parametrize(
    "channel",
    [
        WEBHOOK,
        WEBHOOK | {"url": "http://127.0.0.1:8080/in"},
        SLACK,
        SLACK | {"actions": ACTIONS},
        {"kind": "slack", "webhook": "env:W"},
        MAIL,
        MAIL | {"server": "localhost:25", "tls": "none"},
        MAIL | {"user": "gate", "password": "env:P", "tls": "tls"},
    ],
)
def test_what_is_safe_is_taken(tmp_path, channel):
    assert loaded(tmp_path, channel).kind == channel["kind"]


@pytest.mark.parametrize(
    "channel",
    [
        WEBHOOK | {"url": "http://x.example/in"},
        WEBHOOK | {"url": "https://user:secret@x.example/in"},
        WEBHOOK | {"secrets": []},
        WEBHOOK | {"secrets": ["a-secret-by-value"]},
        WEBHOOK | {"tell": ["everything"]},
        WEBHOOK | {"details": ["arguments"]},
        WEBHOOK | {"per_minute": 0},
        {"kind": "slack"},
        {"kind": "slack", "webhook": "https://hooks.example/services/by-value"},
        {"kind": "slack", "webhook": "env:W", "token": "env:T", "channel": "C1"},
        {"kind": "slack", "webhook": "env:W", "actions": ACTIONS},
        {"kind": "slack", "token": "env:T"},
        SLACK | {"api": "http://chat.example/api"},
        SLACK | {"actions": ACTIONS | {"signing_secret": "by-value"}},
        SLACK | {"actions": ACTIONS | {"approvers": {"U1\nX": "bea"}}},
        MAIL | {"tls": "none"},
        MAIL | {"server": "smtp.example"},
        MAIL | {"user": "gate"},
        MAIL | {"password": "env:P"},
        MAIL | {"server": "localhost:25", "tls": "none", "user": "g", "password": "env:P"},
        MAIL | {"from": "gate@shop.example\nBcc: all@evil.example"},
        MAIL | {"to": ["Ops <ops@shop.example>"]},
        MAIL | {"to": []},
    ],
)
def test_what_is_not_is_refused_with_its_line(tmp_path, channel):
    with pytest.raises(Problem, match=r"portcullis\.yaml:\d+: notifications\.one") as refused:
        loaded(tmp_path, channel)
    assert refused.value.code == "PC7001"
    assert "by-value" not in refused.value.detail


def test_where_passkeys_are_required_no_chat_button_decides(tmp_path):
    place = tmp_path / "portcullis.yaml"
    config = {
        "trust_domain": "shop.example",
        "console": {"passkeys": "required"},
        "notifications": {"one": SLACK | {"actions": ACTIONS}},
    }
    place.write_text(yaml.safe_dump(config))
    with pytest.raises(Problem, match=r"console: .*notifications\.one has actions") as refused:
        load(place)
    assert refused.value.code == "PC7001"
    place.write_text(yaml.safe_dump(config | {"notifications": {"one": SLACK}}))
    assert load(place).console.passkeys == "required"


def test_files_are_found_below_the_configuration(tmp_path):
    found = loaded(tmp_path, WEBHOOK | {"secrets": ["file:k", "env:K"], "ca": "ca.pem"})
    assert found.secrets == (f"file:{tmp_path}/k", "env:K")
    assert found.ca == tmp_path / "ca.pem"
    actions = loaded(tmp_path, SLACK | {"actions": ACTIONS | {"signing_secret": "file:s"}}).actions
    assert actions.signing_secret == f"file:{tmp_path}/s"
