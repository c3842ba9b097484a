"""The session command reaches a gate by a name that the gate's certificate has."""

import pytest

from portcullis.cli.session import _budget, _dialled, _schema
from portcullis.core.errors import Problem

NAMES = ("localhost", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("url", "names", "dialled"),
    [
        ("https://127.0.0.1:7302", NAMES, "https://127.0.0.1:7302"),
        ("https://[::1]:7302", NAMES, "https://[::1]:7302"),
        ("https://0.0.0.0:7302", NAMES, "https://localhost:7302"),
        ("https://[::]:7302", ("::1",), "https://[::1]:7302"),
        ("https://0.0.0.0:7302", ("gate.example.org",), "https://gate.example.org:7302"),
        ("https://0.0.0.0:7302", (), "https://0.0.0.0:7302"),
    ],
)
def test_a_gate_on_all_interfaces_is_dialled_by_a_name_in_its_certificate(url, names, dialled):
    assert _dialled(url, names) == dialled


@pytest.mark.parametrize("content", [None, b"{", b'{"a": 1, "a": 2}'])
def test_a_schema_that_cannot_be_read_is_refused_before_anything_is_asked(tmp_path, content):
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Problem) as raised:
        _schema(file)
    assert (raised.value.code, str(file) in raised.value.detail) == ("PC7004", True)


def test_a_schema_is_read_as_it_is_written(tmp_path):
    file = tmp_path / "schema.json"
    file.write_bytes(b'{"type": "object"}')
    assert _schema(file) == {"type": "object"}


def test_a_budget_is_read_in_any_order():
    assert _budget("effects=5,calls=50") == {"effects": 5, "calls": 50}
    assert _budget("calls=0") == {"calls": 0}  # the gate says what is wrong with that


@pytest.mark.parametrize(
    "text",
    ["", "50", "calls", "calls=", "calls=-1", "calls=1.5", "calls=1,calls=9", "calls=1,", "=1"],
)
def test_a_budget_that_is_none_is_refused_before_anything_is_asked(text):
    with pytest.raises(Problem, match="PC7004"):
        _budget(text)
