"""An agent in a box with a kernel of its own. If this fails, the docs recommend nothing."""

import json
import os
import platform
import shutil

import pytest
import yaml

from e2e.run.house import House

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("runsc") is None,
        reason="needs root and runsc: see `make packages`",
    ),
]
SCRIPT = """
import http.client, json, os, platform, socket
gate = http.client.HTTPConnection("127.0.0.1", 8700, timeout=10)
gate.request("GET", "/v1/bundle")
said = {"release": platform.release(), "gate": gate.getresponse().status}
try:
    socket.create_connection(("203.0.113.1", 443), 2)
except OSError as error:
    said["elsewhere"] = error.errno
print(json.dumps(said | {"secret": os.environ["OPENAI_API_KEY"]}), flush=True)
raise SystemExit(6)
"""


async def test_an_agent_reaches_the_gate_from_a_kernel_of_its_own(stage, tmp_path):
    other = stage.config.with_name("own-kernel.yaml")
    settings = yaml.safe_load(stage.config.read_text())
    settings["sandbox"]["adapter"] = "runsc"
    other.write_text(yaml.safe_dump(settings))
    house = House(stage, tmp_path)
    words = ("-c", str(other), "--cwd", "none", "--", "/usr/bin/python3", "-c", SCRIPT)
    ran = await house.run("worker-3", *words)
    assert ran.code == 6, ran.err
    said = json.loads(ran.out)
    assert said["release"] != platform.release()
    assert (said["gate"], said["secret"]) == (200, "portcullis")
    assert said["elsewhere"]
    start = [one for one in house.reports("worker-3") if one.method == "run.start"][-1]
    assert start.parameters["adapter"] == "runsc"
    assert "kernel" in start.parameters["enforced"]
