"""If these fail, a gateway listens elsewhere than was written, or tells others a wrong address."""

import pytest

from portcullis.config import Listen


@pytest.mark.parametrize(
    ("name", "value"),
    [("relay", "10.0.0.5:7305"), ("relay", "[fd00::5]:7305"), ("relay", "eu-1.example:7305"),
     ("mtls", "[::]:7302"), ("gate", "[::1]:0")],
)  # fmt: skip
def test_an_address_is_what_it_says(name, value):
    assert getattr(Listen(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("relay", "fd00::5:7305", "brackets"),
        ("mtls", "[fd00::5:7302", "brackets"),
        ("mtls", "[eu::x]:7302", "brackets"),
        ("mtls", "[::1]", "host:port"),
        ("relay", "[::]:7305", "reach"),
        ("relay", "[::0]:7305", "reach"),
        ("relay", "0.0.0.0:7305", "reach"),
        ("gate", "[fd00::5]:7300", "loopback"),
    ],
)
def test_what_is_none_or_reaches_too_far_is_refused(name, value, why):
    with pytest.raises(ValueError, match=why):
        Listen(**{name: value})
