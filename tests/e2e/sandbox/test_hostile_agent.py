"""A hostile agent under ``portcullis run``: nothing but the gate, and of the gate only its routes.

If these fail, an agent has a way out that policy, checks and the log do not see.
"""

import contextlib
import json
import os
import shutil
import tempfile
from urllib.parse import urlsplit

import pytest

from e2e.egress.hosts import Trusted
from e2e.egress.rules import FRONT, INSIDE, OPEN, READ
from e2e.egress.stage import staged_egress
from e2e.run.house import House
from naive_proxies import NaiveProxy
from needs import needs_boxes
from portcullis.core.sandbox import Mount, Order, Profile, Streams
from portcullis.redteam.escape import THROUGH_GATE, attempts
from portcullis.redteam.escape_stage import PYTHON, VARIABLE, staged

pytestmark = [pytest.mark.anyio, needs_boxes]

GROUPS = (*sorted(THROUGH_GATE), "network", "sockets", "shared")
SOCKETS = tuple(f"/run/portcullis/{name}.sock" for name in ("gate", "egress", "names", "control"))
HOME_SHOWS = ("shared.temporary",)
"""The agent's working directory, which it is meant to see, is below /tmp here."""
NOT_A_PROXYS = {
    "gate.workload_api",  # sockets and files in the box, not what a proxy does
    "gate.bridge_socket",
    "gate.keys",
    "tls.two_names",  # refused by any server of TLS itself
}


def found(text):
    return {each["id"]: each for each in map(json.loads, text.splitlines())}


@pytest.mark.timeout(240)
async def test_a_hostile_agent_reaches_nothing_but_what_policy_allows(tmp_path):
    folder = tmp_path / "egress"
    folder.mkdir()
    async with staged() as outside, staged_egress(folder) as egress:
        home = tmp_path / "home"
        shutil.copytree(outside.probe, home)
        plan = {
            "groups": GROUPS,
            "allowed": OPEN,
            "seen": READ,
            "denied": FRONT,
            "inward": INSIDE,
            "port": egress.tls,
            "control": urlsplit(egress.gate.urls["control"]).port,
            "sockets": SOCKETS,
            "skip": HOME_SHOWS,
            "parallel": 6,
        }
        variable = dict(outside.environ(**plan))[VARIABLE]
        house = House(egress.stage, home)
        ran = await house.run(
            "coder", "--env", f"{VARIABLE}={variable}", "--", PYTHON, "-B", "-m", "attempts"
        )
        assert ran.code == 0, ran.err
        results = found(ran.out)
        through = {one["id"]: one["how"] for one in results.values() if not one["stopped"]}
        assert through == {}
        assert set(results) == {each.name for each in attempts(GROUPS)} - set(HOME_SHOWS)
        assert outside.touched == []
        hosts = {host.partition(":")[0] for host, *_ in egress.hosts.seen}
        assert hosts <= {OPEN, READ}
        refused = {event.code for event in house.events("coder") if event.code}
        assert len(refused) > 3  # each for its own reason, and on record


@pytest.mark.timeout(180)
async def test_the_same_agent_gets_through_a_naive_proxy_so_that_the_attempts_can_fail(weak):
    groups = ("connect", "proxy", "tls", "gate")
    trusted = Trusted()
    context = trusted.context("allowed.test", "denied.test", "*.attacker.example")
    async with staged() as outside:
        (outside.probe / "trust.pem").write_text(trusted.pem())
        with contextlib.closing(NaiveProxy(outside.planted["tcp"], context)) as proxy:
            environ = outside.environ(
                groups=groups, allowed="allowed.test", denied="denied.test", inward="inward.test",
                seen="allowed.test", port=443, parallel=8,
            )  # fmt: skip
            url = f"http://127.0.0.1:{proxy.port}"
            order = Order(
                title="weak",
                argv=(PYTHON, "-B", "-m", "attempts"),
                profile=Profile(),
                environ={
                    **environ,
                    "HTTPS_PROXY": url,
                    "OPENAI_BASE_URL": url,
                    "SSL_CERT_FILE": "/probe/trust.pem",
                },
                mounts=(Mount(source=outside.probe, target="/probe"),),
            )
            results = await _weakly(weak, order)
    through = {each["id"] for each in results.values() if not each["stopped"]}
    expected = {each.name for each in attempts(groups)} - NOT_A_PROXYS
    assert expected - through == set()


async def _weakly(sandbox, order):
    with tempfile.TemporaryFile() as out:
        null = os.open(os.devnull, os.O_RDWR)
        try:
            streams = Streams(stdin=null, stdout=out.fileno(), stderr=null)
            box = await sandbox.start(order, streams)
            try:
                await box.wait()
            finally:
                await box.close()
        finally:
            os.close(null)
        out.seek(0)
        return found(out.read().decode())
