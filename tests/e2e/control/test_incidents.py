"""If these fail, an incident is lost with the process that led it, or led in the wrong order."""

import json
import os
import signal
import subprocess
import sys

from e2e.control.led import eventually, running

DYING = """
import asyncio, os, signal, sys
from portcullis.cli import main
from portcullis.control.incidents_acts import Acts

async def dies(self, context, incident):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(Acts, sys.argv[1], dies)
sys.argv = ["portcullis", *sys.argv[2:]]
main()
"""


def test_an_incident_is_led_in_order_and_survives_the_process_that_leads_it(deployment):
    with (deployment.folder / "portcullis.yaml").open("a") as config:
        config.write("incidents: {on_alert: high}\n")
    for agent in ("shop-1", "shop-2"):
        deployment.create("agent", agent)
    deployment.json("agent", "register", "shop-1", "--selector", "unix:uid:1000")
    made = deployment.json("incident", "open", "--agent", "shop-1", "--reason", "odd mails")
    number = made["id"]
    assert (made["phase"], made["due"], made["playbook"]) == ("open", "contain", "hostile-agent")
    again = deployment.run("incident", "open", "--agent", "shop-1", "--reason", "odd", code=1)
    assert "PC7062" in again.err
    assert number in again.err

    def step(*words, code=0):
        return deployment.run("incident", *words, "--reason", "led", code=code)

    assert "contain is due" in step("step", number, "revoke", code=1).err
    dying(deployment, "contain", number)
    assert deployment.json("incident", "show", number)["begun"] is True
    assert deployment.json("kill") == []
    assert "contained" in step("step", number, "contain").out
    assert [one["value"] for one in deployment.json("kill")] == ["shop-1"]
    undo = deployment.run("kill", "--undo", "--agent", "shop-1", "--reason", "x", code=1)
    assert "PC7063" in undo.err
    dying(deployment, "revoke", number)
    assert deployment.json("agent", "show", "shop-1")["entries"]
    with running(deployment):  # takes up by itself what cuts somebody off
        shown = ("incident", "show", number)
        assert eventually(lambda: deployment.json(*shown)["phase"] == "revoked")
        assert not deployment.json("agent", "show", "shop-1")["entries"]
        assert "PC7064" in step("step", number, "rotate", code=1).err
        step("tick", number, "contain.owner-told")
        step("step", number, "rotate")
        assert "PC7061" in step("step", number, "reaudit", code=1).err
        assert "rotated" in step("rotate", number).out
        assert "audited" in step("step", number, "reaudit").out
        deployment.run("incident", "note", number, "ada@customer.example\nwas told")
        text = deployment.run("incident", "show", number).out
        assert "old_credential PC4001" in text
        assert "ada@customer.example" in text
        assert step("close", number).out.split()[1] == "closed"
        assert deployment.json("agent", "show", "shop-1")["state"] == "revoked"
        assert deployment.run("incident", "list").out == ""
        (row,) = listed(deployment)
        assert (row["id"], row["phase"], row["due"]) == (number, "closed", None)
        deployment.run("agent", "quarantine", "shop-2", "--reason", "odd")  # which is an alert
        assert eventually(lambda: deployment.run("incident", "list").out)
        found = deployment.json("incident", "list")
        assert (found["agent"], found["source"], found["phase"]) == ("shop-2", "alert", "open")
    events = [
        one
        for one in deployment.events()
        if (one.get("name"), one.get("verdict")) == (number, "allow")
    ]
    verbs = [one["method"].removeprefix("incident.") for one in events]
    done = [one["parameters"]["step"] for one in events if one["method"] == "incident.done"]
    assert done == ["contain", "revoke", "rotate", "reaudit", "close"]
    assert (verbs[0], verbs.count("contain"), verbs.count("revoke")) == ("open", 1, 1)
    assert "customer.example" not in json.dumps(events)


def dying(deployment, step, number):
    """The command is killed when the step is on record and has not acted."""
    words = ("incident", "step", number, step, "--reason", "led")
    done = subprocess.run(
        [sys.executable, "-c", DYING, step, *words],
        cwd=deployment.folder,
        env=os.environ,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def listed(deployment):
    return [
        json.loads(line)
        for line in deployment.run("incident", "list", "--all", "--json").out.splitlines()
    ]


def test_what_makes_no_sense_is_refused(deployment):
    deployment.create("agent", "shop-1")
    for words, code in (
        (("open", "--reason", "x"), "PC7004"),
        (("open", "--agent", "A b", "--reason", "x"), "PC7004"),
        (("open", "--agent", "shop-1", "--reason", " "), "PC7004"),
        (("step", "none", "contain", "--reason", "x", "--days", "3"), "PC7004"),
        (("note", "none", ""), "PC7004"),
        (("open", "--agent", "nobody", "--reason", "x"), "PC2010"),
        (("open", "--session", "0a1b", "--reason", "x"), "PC2006"),
        (("open", "--agent", "shop-1", "--reason", "x", "--playbook", "none"), "PC7066"),
        (("step", "none", "contain", "--reason", "x"), "PC7060"),
        (("note", "none", "\x1b[2J"), "PC7004"),
        (("note", "none", "\udce4"), "PC7004"),
        (("approve", "none", "--reason", "x", "--proposal", "?"), "PC7004"),
        (("approve", "none", "--reason", "x", "--proposal", "0a", "--token", "env:NO"), "PC7005"),
    ):
        refused = deployment.run("incident", *words, code=2 if code == "PC7004" else 1)
        assert code in refused.err
    assert listed(deployment) == []


def test_a_kill_offers_an_incident_and_false_alarms_are_stood_down(deployment):
    deployment.create("agent", "shop-1")
    offered = deployment.run("kill", "--agent", "shop-1", "--reason", "odd").err
    assert "portcullis incident open --agent shop-1" in offered
    deployment.run("kill", "--undo", "--agent", "shop-1", "--reason", "no")
    for words in (("--role", "support"), ("--undo", "--agent", "shop-1")):
        refused = deployment.run("kill", *words, "--incident", "hostile-agent", code=2)
        assert "PC7004" in refused.err
    made = ("--agent", "shop-1", "--reason", "it loops", "--playbook", "runaway-cost")
    one = deployment.json("incident", "open", *made, "--alert", "a-1", "--days", "3")
    assert (one["containing"], one["source"], one["source_id"]) == ("quarantine", "alert", "a-1")
    deployment.run("incident", "step", one["id"], "contain", "--reason", "now")
    let_out = ("agent", "release", "shop-1", "--reason", "x")
    assert "PC7063" in deployment.run(*let_out, code=1).err
    deployment.run("incident", "stand-down", one["id"], "--reason", "a load test")
    assert deployment.json("agent", "show", "shop-1")["quarantined"] is False
    assert "PC4011" in deployment.run(*let_out, code=1).err
    books = deployment.run("incident", "playbooks").out
    assert [line.split()[0] for line in books.splitlines()] == [
        "hostile-agent",
        "leaked-credential",
        "prompt-injection",
        "runaway-cost",
    ]
