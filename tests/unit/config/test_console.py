"""The section ``console``."""

import pytest

from portcullis.config.console import Console


def test_without_a_section_the_console_is_on_and_local():
    assert Console() == Console(enabled=True, origin=None, passkeys="optional")


@pytest.mark.parametrize("origin", ["https://portcullis.example", "https://gate.lan:8443"])
def test_an_origin_is_that_of_a_page(origin):
    assert Console(origin=origin).origin == origin


@pytest.mark.parametrize(
    "origin",
    [
        "http://portcullis.example",
        "https://portcullis.example/",
        "https://portcullis.example/console",
        "https://Portcullis.example",
        "https://user@portcullis.example",
        "portcullis.example",
        "https://",
        "",
    ],
)
def test_anything_else_does_not_load(origin):
    with pytest.raises(ValueError, match="origin"):
        Console(origin=origin)
