"""If these fail, a mistake in who is told of alerts is found when somebody should have been."""

import pytest
from pydantic import TypeAdapter, ValidationError

from portcullis.config import Config, load
from portcullis.config.alerts import Alerts
from portcullis.config.notifications import AnyChannel
from portcullis.core.errors import Problem

PAGER = {"kind": "pagerduty", "routing_key": "env:K"}


def test_steps_have_times_in_their_order_and_channels():
    made = Alerts.model_validate(
        {
            "tell": {"chat": "low"},
            "escalate": [
                {"after": "15m", "tell": {"chat": "high", "pager": "high"}},
                {"after": "1h", "tell": {"boss": "critical"}},
            ],
        }
    )
    assert [one.seconds for one in made.escalate] == [900.0, 3600.0]
    assert made.channels == ("chat", "pager", "boss")
    for wrong in (
        [{"after": "15", "tell": {"x": "high"}}],
        [{"after": "15m", "tell": {}}],
        [{"after": "15m", "tell": {"x": "loud"}}],
        [{"after": "1h", "tell": {"x": "low"}}, {"after": "60m", "tell": {"y": "low"}}],
    ):
        with pytest.raises(ValidationError):
            Alerts.model_validate({"escalate": wrong})


def test_a_step_names_channels_that_there_are(tmp_path):
    told = {"escalate": [{"after": "15m", "tell": {"pager": "high"}}]}
    made = {"trust_domain": "example.test", "notifications": {"pager": PAGER}, "alerts": told}
    assert Config.model_validate(made).alerts.channels == ("pager",)
    with pytest.raises(ValidationError, match="no channel pager"):
        Config.model_validate(made | {"notifications": {}})
    file = tmp_path / "portcullis.yaml"
    file.write_text(
        "trust_domain: example.test\nnotifications:\n"
        "  pager: {kind: pagerduty, routing_key: 'file:key'}\n"
        "  here: {kind: syslog, socket: log.sock}\n"
    )
    found = load(file).notifications
    assert found["pager"].routing_key == f"file:{tmp_path / 'key'}"
    assert found["here"].socket == tmp_path / "log.sock"
    file.write_text("trust_domain: example.test\nalerts: {escalate: [{after: 5}]}\n")
    with pytest.raises(Problem, match="yaml:2: "):
        load(file)


@pytest.mark.parametrize(
    ("given", "good"),
    [
        (PAGER, True),
        (PAGER | {"url": "http://127.0.0.1:1/v2/enqueue"}, True),
        (PAGER | {"url": "http://events.example.com/v2/enqueue"}, False),
        ({"kind": "pagerduty", "routing_key": "0123456789abcdef0123456789abcdef"}, False),
        ({"kind": "syslog", "address": "logs.example.com:6514"}, True),
        ({"kind": "syslog", "address": "logs.example.com:514", "tls": False}, False),
        ({"kind": "syslog", "address": "127.0.0.1:514", "tls": False}, True),
        ({"kind": "syslog", "socket": "/dev/log"}, True),
        ({"kind": "syslog", "socket": "/dev/log", "address": "127.0.0.1:514"}, False),
        ({"kind": "syslog"}, False),
    ],
    ids=range(10),
)
def test_nothing_leaves_the_machine_in_clear_and_no_key_stands_in_the_file(given, good):
    adapter = TypeAdapter(AnyChannel)
    if not good:
        with pytest.raises(ValidationError):
            adapter.validate_python(given)
        return
    made = adapter.validate_python(given)
    assert (made.tell == ()) == (made.kind == "pagerduty")  # nobody is paged for each held call
