"""If these fail, a deployment's lease is not what its configuration says."""

import pytest
from pydantic import ValidationError

from portcullis.config import Feed, load


def test_a_gateway_is_closed_within_a_second_by_default():
    assert (Feed().lease_seconds, Feed().heartbeat_seconds, Feed().via) == (1.0, 0.25, "unix")


@pytest.mark.parametrize(
    "said",
    [
        {"heartbeat_seconds": 0.6},
        {"lease_seconds": 0},
        {"via": "redis"},
        {"url": "env:FEED"},
        {"via": "redis", "url": "redis://user:secret@host"},
    ],
    ids=["one beat", "no lease", "no url", "url for nothing", "a value"],
)
def test_what_would_leave_a_gateway_open_or_show_a_secret_is_refused(said):
    with pytest.raises(ValidationError):
        Feed(**said)


def test_the_address_of_the_server_is_a_reference():
    assert Feed(via="redis", url="file:feed.url").url == "file:feed.url"


def test_a_file_is_found_beside_the_configuration(tmp_path):
    path = tmp_path / "portcullis.yaml"
    path.write_text("trust_domain: a.test\nfeed: {via: redis, url: 'file:feed.url'}\n")
    assert load(path).feed.url == f"file:{tmp_path / 'feed.url'}"
