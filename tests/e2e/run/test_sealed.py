"""A hostile agent in its box. If these fail, it reads a secret or finds a way around the gate."""

import base64
import json
import re
from urllib.parse import urlsplit

import pytest

from e2e.run.house import AGENTS, House
from needs import needs_boxes

pytestmark = [pytest.mark.anyio, needs_boxes]

SECRET = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|eyJ[\w-]{16,}\.[\w-]{16,}\.[\w-]{16,}")


@pytest.fixture(scope="module")
async def probed(stage):
    """What it found, run in the folder of the gate itself, where state and secrets lie."""
    folder = stage.config.parent
    (folder / "prober.py").write_text((AGENTS / "prober.py").read_text())
    ports = [str(urlsplit(url).port) for url in stage.gate.urls.values()]
    house = House(stage, folder)
    how = ("--profile", "quick", "--", "python3", "prober.py", *ports)
    ran = await house.run("worker-3", *how)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


async def test_there_is_no_way_but_the_gate(probed):
    assert "through" not in probed["ways"].values(), probed["ways"]
    assert probed["allowed"][0] == 200


async def test_the_way_to_the_gate_does_not_lead_to_an_identity_or_to_operators(probed):
    assert {tuple(one) for one in probed["asked"]} <= {
        (404, "PC1010"),
        (400, "PC1011"),
        (400, None),
    }
    assert probed["smuggled"].startswith("HTTP/1.0 400") or probed["smuggled"].startswith(
        "HTTP/1.1 400"
    )


async def test_no_secret_is_in_the_box(probed, stage):
    seen = base64.b64decode(probed["seen"])
    assert b"trust_domain" in seen  # it did read the folder of the gate
    for secret in stage.upstream_credentials:
        assert secret.encode() not in seen
    assert not SECRET.findall(seen)
    matches, processes = probed["memory"]
    assert len(matches) == 1, matches
    assert matches[0].startswith("eyJplanted-")  # its own, to show that it can find one
    assert processes >= 1
