"""The session command reaches a gate by a name that the gate's certificate has."""

import pytest

from portcullis.cli.session import _dialled

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
