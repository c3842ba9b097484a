"""If these fail, an operator cannot see what was raised, take it on, or try a rule beforehand."""

import json

from e2e.control.led import eventually, running

OWN = """\
version: 1
alerts:
  cut-off:
    title: Somebody was suspended
    level: low
    detection:
      cut: {type: admin, method: principals.suspend, verdict: allow}
    group-by: [name]
    keep: true
"""


def test_alerts_are_listed_taken_on_silenced_and_resolved_with_and_without_a_gate(deployment):
    deployment.create("agent", "shop-1")
    deployment.create("agent", "shop-2")
    with running(deployment):
        cuts = ("alert", "list", "--rule", "cut-off")  # at night, changes are an alert, too
        assert deployment.run(*cuts).out == ""
        deployment.run("agent", "suspend", "shop-1")
        assert eventually(lambda: deployment.run(*cuts).out)
        one = deployment.json(*cuts)
        assert (one["rule"], one["group"]) == ("cut-off", {"name": "agent:shop-1"})
        shown = deployment.run("alert", "show", one["id"]).out
        assert "Somebody was cut off" in shown
        assert "hostile-agent" in shown
        assert deployment.run("audit", "verify").out
        done = deployment.json("alert", "ack", one["id"], "--reason", "I look")
        assert done["state"] == "acknowledged"
        assert "PC8021" in deployment.run("alert", "ack", one["id"], "--reason", "x", code=1).err
        made = deployment.json(
            "alert",
            *("silence", "cut-*", "--for", "2h", "--by", "name=agent:shop-2"),
            *("--reason", "a rehearsal"),
        )
        deployment.run("agent", "suspend", "shop-2")
        assert eventually(lambda: "shop-2" in deployment.run("alert", "list").out)
        assert "silenced" not in deployment.run("alert", "list").out  # a glob does not hide a cut
        deployment.run("alert", "unsilence", made["id"], "--reason", "over")
        assert deployment.run("alert", "silences").out == ""
    deployment.json("alert", "silence", "cut-off", "--for", "5m", "--reason", "again")
    assert "cut-off  everybody" in deployment.run("alert", "silences").out
    deployment.run("alert", "resolve", one["id"], "--reason", "it was a test")
    assert one["id"] not in deployment.run("alert", "list").out
    whole = deployment.run("alert", "list", "--all", "--rule", "cut-off", "--level", "high").out
    assert len(whole.splitlines()) == 2
    for words in (
        ("ack", "a b", "--reason", "x"),
        ("silence", "Odd!", "--for", "2h", "--reason", "x"),
        ("silence", "odd", "--for", "2 weeks", "--reason", "x"),
        ("silence", "odd", "--for", "2h", "--by", "principal", "--reason", "x"),
    ):
        assert "PC7004" in deployment.run("alert", *words, code=2).err
    assert "PC8020" in deployment.run("alert", "show", "none", code=1).err
    said = [
        (event["method"], event["parameters"].get("reason"))
        for event in deployment.events()
        if event.get("method", "").startswith("alert.")
        and event.get("verdict") == "allow"
        and event["parameters"].get("rule") != "changes-at-night"
    ]
    assert [reason for method, reason in said if method != "alert.raised"] == [
        "I look",
        "a rehearsal",
        "over",
        "again",
        "it was a test",
    ]
    assert [method for method, _ in said].count("alert.raised") == 2


def test_rules_of_ones_own_are_checked_and_tried_on_a_log_before_they_are_used(deployment):
    folder = deployment.folder / "watch"
    folder.mkdir()
    (folder / "own.yaml").write_text(OWN)
    with (deployment.folder / "portcullis.yaml").open("a") as file:
        file.write("alerts: {rules: watch}\n")
    deployment.create("agent", "shop-1")
    deployment.run("agent", "suspend", "shop-1")
    rows = {
        one["rule"]: one
        for one in map(
            json.loads, deployment.run("alert", "rules", "list", "--json").out.splitlines()
        )
    }
    assert rows["cut-off"]["own"]
    assert not rows["canary-left"]["own"]
    assert rows["cut-off"]["level"] == "low"
    assert "cut-off" in deployment.json("alert", "rules", "check")["rules"]
    log = str(deployment.state / "log")
    tried = deployment.run("alert", "rules", "test", "watch/own.yaml", "--events", log)
    assert "name=agent:shop-1" in tried.out
    lines = deployment.folder / "events.jsonl"
    lines.write_text("".join(f"{json.dumps(event)}\n" for event in deployment.events()))
    words = ("alert", "rules", "test", "watch", "--events", str(lines))
    assert deployment.json(*words)["subject"] == "name=agent:shop-1"
    lines.write_text("{}\n")
    assert "events.jsonl:1: not an event" in deployment.run(*words, code=1).err
    (folder / "own.yaml").write_text(OWN.replace("level: low", "level: loud"))
    assert "watch/own.yaml:5" in deployment.run("alert", "rules", "check", code=1).err
    assert "PC7002" in deployment.run("up", code=1).err
