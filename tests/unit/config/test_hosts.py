"""If these fail, a gateway on another host rests on a file that only it has."""

import pytest
from pydantic import ValidationError

from portcullis.config import Config

COMMON = {
    "store": {"url": "env:STORE"},
    "feed": {"via": "redis", "url": "env:REDIS"},
    "counters": {"via": "redis", "url": "env:REDIS"},
    "shared": {"url": "env:REDIS"},
    "audit": {"replicate": [{"name": "far", "store": "s3://logs/all"}]},
}


def made(**changes):
    said = {"trust_domain": "example.org", "control_plane": "elsewhere", **COMMON, **changes}
    return Config.model_validate({name: one for name, one in said.items() if one is not None})


def test_a_folder_has_the_control_plane_unless_it_says_otherwise():
    assert not Config(trust_domain="example.org").apart
    assert made().apart


@pytest.mark.parametrize("section", COMMON)
def test_what_would_be_in_a_file_is_named_and_refused(section):
    with pytest.raises(ValidationError, match=f"elsewhere needs {section}"):
        made(**{section: None})


def test_an_upstream_in_users_names_is_for_gateways_beside_the_control_plane():
    oauth = {"mode": "user", "client_id": "gate", "issuer": "https://as.example"}
    mcp = {"crm": {"url": "https://crm.example/mcp", "oauth": oauth}}
    with pytest.raises(ValidationError, match="crm is asked in users' names"):
        made(mcp=mcp)
