"""If these fail, something is wrong in the house and nobody hears of it, or too much is told."""

import asyncio
import contextlib
import email
import email.policy
import json
import secrets
import time

import aiohttp
import pytest
from mcp import MCPError

import standins
from chatting import chat_server, mail_server
from e2e.approvals.desk import furnished, policy
from e2e.approvals.test_notices import kept_in, until
from paging import datagrams, pager, parsed
from portcullis.core.principal import PrincipalKind
from receivers import http_receiver, server_tls

pytestmark = pytest.mark.anyio

RULES = """\
version: 1
alerts:
  odd-argument:
    title: Somebody asks for a customer by the name of a test
    level: low
    detection:
      asked: {type: tool_call, parameters.customer_id|exists: true}
    group-by: [parameters.customer_id]
"""


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


URGENT = """\
version: 1
alerts:
  urgent:
    title: Somebody looks at a customer
    level: critical
    detection:
      asked: {type: tool_call, name: get_customer}
      back: {type: admin, verdict: allow, method: principals.resume}
    resolve: {by: back}
"""


class House:
    """A gate that tells five channels of alerts, and a sixth of what nobody took on.

    ``arrived`` is when the webhook got each.
    """

    async def ask(self, who, method, path, body=None, status=200):
        """An operator's request to the control plane."""
        url = f"{self.desk.stage.gate.control_url}/api/v1{path}"
        async with (
            aiohttp.ClientSession(headers=self.desk.operators[who]) as http,
            http.request(method, url, json=body) as answer,
        ):
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)

    async def alerts(self, rule, **wanted):
        query = "&".join(f"{name}={value}" for name, value in {"rule": rule, **wanted}.items())
        return (await self.ask("vic", "GET", f"/alerts?{query}"))["alerts"]

    async def raised(self, rule, **group):
        """An alert of a rule that is about this, once it is there."""
        found = []

        async def there():
            found[:] = [
                one for one in await self.alerts(rule) if group.items() <= one["group"].items()
            ]
            return bool(found)

        end = time.monotonic() + 10
        while not await there():
            assert time.monotonic() < end, await self.alerts("")
            await asyncio.sleep(0.05)
        return found[0]

    def hooked(self, alert):
        """What the webhook was told of an alert, in order."""
        said = [json.loads(body) for _, body in self.hook.taken]
        return [one for one in said if one["data"].get("alert") == alert]

    def shown(self, alert):
        """The chat's messages about an alert."""
        return [one for one in self.chat.messages.values() if alert in json.dumps(one)]

    def paged(self, alert):
        """Whether somebody was paged for an alert, and by which key."""
        there = {
            one["dedup_key"]
            for one in self.pager.events
            if one["event_action"] == "trigger" and f" {alert}" in json.dumps(one)
        }
        return there and there.pop()

    def lined(self, alert):
        """What syslog got of an alert, in order."""
        some = map(parsed, self.lines)
        return [one for one in some if f'alert="{alert}"' in one["text"]]

    def says(self, alert):
        """The one message in the chat about an alert, as it is now; empty before there is one."""
        texts = [message["text"] for message in self.shown(alert)]
        assert len(texts) <= 1
        return "".join(texts)

    def mails(self, alert):
        found = [
            email.message_from_bytes(one.content, policy=email.policy.default)
            for one in self.mail.mails
        ]
        return [one for one in found if alert in one.get_body(("plain",)).get_content()]

    def got(self):
        """Every byte that went to a channel; of mails also what they say when they are decoded."""
        said = [*self.chat.seen, *(body for _, body in self.hook.taken)]
        said += [*self.pager.seen, *self.boss.seen, *self.lines]
        for raw in self.mail.mails:
            one = email.message_from_bytes(raw.content, policy=email.policy.default)
            said += [raw.content, *(part.get_content().encode() for part in one.iter_parts())]
        return b"\n".join(said).decode()


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("house")
    made = House()
    for name in ("tls", "watch"):
        (folder / name).mkdir()
    (folder / "watch" / "own.yaml").write_text(RULES, encoding="utf-8")
    context, authority = server_tls(folder / "tls")
    async with contextlib.AsyncExitStack() as stack:
        made.chat = await stack.enter_async_context(chat_server(context))
        made.mail = await stack.enter_async_context(mail_server(context))
        made.hook = await stack.enter_async_context(http_receiver(context))
        made.pager = await stack.enter_async_context(pager(context))
        made.boss = await stack.enter_async_context(pager(context))
        made.lines = await stack.enter_async_context(datagrams(folder / "log.sock"))
        made.arrived = {}

        def note(request, body):
            alert = json.loads(body)["data"].get("alert")
            made.arrived.setdefault(alert, time.time())

        made.hook.judge = note
        kept_in(
            folder,
            token=made.chat.token,
            password=made.mail.password,
            key=secrets.token_hex(16),
            pager=made.pager.key,
            boss=made.boss.key,
        )
        trusted = {"ca": str(authority), "per_minute": 6000, "details": ["operator"]}
        slack = {"kind": "slack", "api": made.chat.api, "token": "file:token", "channel": "C0123"}
        post = {
            "kind": "email",
            "server": made.mail.address,
            "user": made.mail.user,
            "password": "file:password",
            "from": "gate@shop.example",
            "to": ["ops@shop.example"],
        }
        settings = {
            "notifications": {
                "chat": trusted | slack,
                "post": trusted | post,
                "hook": trusted
                | {"kind": "webhook", "url": made.hook.url, "secrets": ["file:key"]},
                "pager": trusted
                | {"kind": "pagerduty", "url": made.pager.url, "routing_key": "file:pager"},
                "boss": trusted
                | {"kind": "pagerduty", "url": made.boss.url, "routing_key": "file:boss"},
                "lines": {"kind": "syslog", "socket": "log.sock", "per_minute": 6000},
            },
            "alerts": {
                "rules": "watch",
                "tell": {
                    "chat": "low",
                    "post": "high",
                    "hook": "low",
                    "pager": "high",
                    "lines": "low",
                },
                "escalate": [{"after": "1s", "tell": {"boss": "critical"}}],
            },
            "incidents": {"on_alert": "high"},
            "approvals": {"refusals": 1000},
            "breakers": {"agent": {"denials": 1000}},
        }
        stage = await stack.enter_async_context(
            standins.staged(folder, policy=policy(), settings=settings)
        )
        made.desk = await furnished(stage)
        await made.desk.operator("rea", "responder")
        yield made


async def test_who_is_cut_off_is_told_in_less_than_a_second_on_every_channel(house):
    took = {"webhook": [], "page": [], "syslog": []}
    for number in range(5):
        name = f"spare-{number}"
        await house.desk.stage.register(PrincipalKind.AGENT, name)
        began = time.time()
        await house.ask("ada", "POST", f"/principals/agent/{name}/suspend")
        alert = (await house.raised("cut-off", name=f"agent:{name}"))["id"]
        await until(lambda alert=alert: alert in house.arrived)
        await until(lambda alert=alert: house.lined(alert))
        took["syslog"].append(time.time() - began)
        await until(lambda alert=alert: house.paged(alert))
        took["page"].append(house.pager.arrived[house.paged(alert)] - began)
        took["webhook"].append(house.arrived[alert] - began)
        assert house.hooked(alert)[0]["data"]["group"] == {"name": f"agent:{name}"}
        await until(lambda alert=alert: house.shown(alert) and house.mails(alert))
    for channel, seconds in took.items():  # the median: the machine may have other work
        assert sorted(seconds)[2] < 1.0, (channel, took)


async def test_what_becomes_of_an_alert_is_told_where_it_was_told_and_recorded_first(house):
    await house.desk.stage.register(PrincipalKind.AGENT, "spare-x")
    await house.ask("ada", "POST", "/principals/agent/spare-x/suspend")
    one = (await house.raised("cut-off", name="agent:spare-x"))["id"]
    await until(lambda: house.mails(one))
    why = {"reason": "I look at it"}
    await house.ask("vic", "POST", f"/alerts/{one}/acknowledge", why, status=403)
    done = await house.ask("rea", "POST", f"/alerts/{one}/acknowledge", why)
    assert (done["state"], done["by"]) == ("acknowledged", "rea")
    again = await house.ask("rea", "POST", f"/alerts/{one}/acknowledge", why, status=409)
    assert again["code"] == "PC8021"
    await until(lambda: len(house.mails(one)) == 2 and len(house.hooked(one)) == 2)
    await until(lambda: house.says(one).startswith("Acknowledged: High: Somebody was cut off"))
    await house.ask("rea", "POST", f"/alerts/{one}/resolve", {"reason": "a test"})
    await until(lambda: len(house.mails(one)) == 3 and len(house.hooked(one)) == 3)
    first, *more = house.mails(one)
    assert {mail["References"] for mail in more} == {first["Message-ID"]}
    types = [said["type"] for said in house.hooked(one)]
    assert types == ["alert.open", "alert.acknowledged", "alert.resolved"]
    assert [said["data"]["by"] for said in house.hooked(one)] == ["", "rea", "rea"]
    await until(lambda: house.says(one).startswith("Resolved: "))
    await until(lambda: len(house.lined(one)) == 3)
    kinds = [line["kind"] for line in house.lined(one)]
    assert kinds == ["alert.open", "alert.acknowledged", "alert.resolved"]
    key = house.paged(one)
    await until(lambda: [one["dedup_key"] for one in house.pager.events].count(key) == 3)
    acts = [each["event_action"] for each in house.pager.events if each["dedup_key"] == key]
    assert acts == ["trigger", "acknowledge", "resolve"]
    assert key not in house.pager.alerts
    missing = await house.ask("vic", "GET", "/alerts/none", status=404)
    assert missing["code"] == "PC8020"
    acts = [
        (event.method, event.principal, event.parameters["rule"])
        for event in house.desk.stage.events()
        if event.name == one and event.verdict == "allow"
    ]
    assert acts == [
        ("alert.acknowledged", "rea", "cut-off"),
        ("alert.resolved", "rea", "cut-off"),
    ]


async def test_calls_that_are_refused_again_and_again_are_one_alert_and_none_of_their_words(house):
    words = [f"quentin.sandoval.{number}@customer.example" for number in range(24)]
    async with standins.mcp_client(house.desk.stage, "crm", house.desk.token) as client:
        for word in words:
            with contextlib.suppress(MCPError):
                await client.call_tool("wipe_everything", {"whom": word})
    one = await house.raised("refused-often", principal=standins.AGENT)
    assert (one["level"], one["count"]) == ("medium", 20)
    await until(lambda: house.hooked(one["id"]) and house.shown(one["id"]))
    assert not house.mails(one["id"])  # told from high on
    everything = house.got()
    for word in (*words, "wipe_everything", house.desk.token):
        assert word not in everything, word


async def test_a_rule_of_ones_own_is_told_without_the_argument_that_it_is_about(house):
    async with standins.mcp_client(house.desk.stage, "crm", house.desk.token) as client:
        await client.call_tool("get_customer", {"customer_id": standins.SUBJECT["customer_id"]})
    one = await house.raised("odd-argument")
    assert one["group"] == {"parameters.customer_id": standins.SUBJECT["customer_id"]}
    assert one["hidden"] == ["parameters.customer_id"]
    await until(lambda: house.hooked(one["id"]) and house.shown(one["id"]))
    assert house.hooked(one["id"])[0]["data"]["group"] == {"parameters.customer_id": "?"}
    assert standins.SUBJECT["customer_id"] not in house.got()


async def test_who_wants_to_approve_what_is_his_own_is_told_of(house):
    held = await house.desk.send()
    status, _ = await house.desk.decide("cy", held.meta["portcullis/approval"], "approve")
    assert status == 403
    one = await house.raised("approves-own", principal="cy")
    await until(lambda: house.mails(one["id"]))
    assert "cy" in house.mails(one["id"])[0]["Subject"]


async def test_a_silence_keeps_quiet_what_it_names_but_no_glob_hides_a_cut(house):
    why = {"reason": "a rehearsal", "seconds": 60}
    wide = why | {"rule": "*", "matching": {}}
    await house.ask("rea", "POST", "/silences", wide, status=403)
    made = await house.ask("ada", "POST", "/silences", wide)
    odd = await house.ask(
        "ada", "POST", "/silences", wide | {"matching": {"agnet": "x"}}, status=400
    )
    assert odd["code"] == "PC8022"
    await house.desk.operator("cyril", "approver")
    await house.desk.operator("dan", "viewer")
    await house.ask("ada", "POST", "/principals/operator/cyril/suspend")
    cut = await house.raised("cut-off", name="operator:cyril")
    await until(lambda: house.hooked(cut["id"]))
    rights = {"roles": ["viewer", "approver"]}
    await house.ask("ada", "POST", "/principals/operator/dan/roles", rights)
    quiet = await house.raised("rights-changed", name="operator:dan")
    assert quiet["silence"] == made["id"]
    await asyncio.sleep(1.0)
    assert not house.hooked(quiet["id"])
    assert not house.shown(quiet["id"])
    listed = await house.ask("vic", "GET", "/silences")
    assert [one["id"] for one in listed["silences"]] == [made["id"]]
    await house.ask("ada", "POST", f"/silences/{made['id']}/end", {"reason": "over"})
    gone = await house.ask(
        "ada", "POST", f"/silences/{made['id']}/end", {"reason": "over"}, status=404
    )
    assert gone["code"] == "PC8023"
    await house.ask("ada", "POST", "/principals/operator/dan/roles", {"roles": ["approver"]})
    await until(lambda: house.hooked(quiet["id"]))
    assert house.hooked(quiet["id"])[0]["data"]["count"] == 2


async def test_alerts_come_by_pages_the_newest_first(house):
    for number in range(5):
        await house.desk.stage.register(PrincipalKind.AGENT, f"page-{number}")
        await house.ask("ada", "POST", f"/principals/agent/page-{number}/suspend")
    one = (await house.raised("cut-off", name="agent:page-0"))["id"]
    await house.raised("cut-off", name="agent:page-4")
    await house.ask("rea", "POST", f"/alerts/{one}/resolve", {"reason": "a test"})
    whole = await house.ask("vic", "GET", "/alerts")
    found, cursor = [], ""
    while True:
        page = await house.ask("vic", "GET", f"/alerts?limit=2&cursor={cursor}")
        found += page["alerts"]
        cursor = page["following"]
        if not cursor:
            break
    assert [each["id"] for each in found] == [each["id"] for each in whole["alerts"]]
    assert len(found) >= 5
    settled = await house.alerts("cut-off", state="resolved")
    assert one in {each["id"] for each in settled}
    assert {each["state"] for each in settled} == {"resolved"}
    assert one not in {each["id"] for each in await house.alerts("cut-off", state="unresolved")}
    high = await house.ask("vic", "GET", "/alerts?level=high")
    assert {each["level"] for each in high["alerts"]} <= {"high", "critical"}
    told = {
        event.parameters["alert"]
        for event in house.desk.stage.events()
        if event.method == "alert.raised"
    }
    assert told >= {each["id"] for each in whole["alerts"]}


async def test_what_really_happens_raises_the_built_in_rules(house):
    stage = house.desk.stage
    for name in ("bea", "cy", "ada", "vic", "rea"):
        wrong = {"name": name, "password": "not hers", "code": "000000"}
        await house.ask("vic", "POST", "/login", wrong, status=401)
    for number in range(3):
        held = await house.desk.send(
            {"to": standins.SUBJECT["email"], "subject": f"No {number}", "body": "x"}
        )
        status, _ = await house.desk.decide("bea", held.meta["portcullis/approval"], "deny")
        assert status == 200
    for number in range(8):
        async with standins.mcp_client(stage, "crm", house.desk.token) as client:
            with contextlib.suppress(MCPError):
                await client.call_tool(f"drop_table_{'abcdefgh'[number]}", {})
    file = stage.config.parent / "policy" / "support.yaml"
    good = file.read_text(encoding="utf-8")
    file.write_text("version: 0\n", encoding="utf-8")
    stage.gate.reload_policy()
    await house.raised("policy-refused", gateway="demo.portcullis.example/gate")
    file.write_text(good, encoding="utf-8")
    stage.gate.reload_policy()
    for _ in range(20):
        path = f"/principals/agent/{standins.AGENT}/join"
        join = await house.ask("ada", "POST", path, {"ttl_seconds": 60}, status=201)
        assert join
    expected = {
        "login-guessed": {},
        "approvals-refused": {"parameters.agent": standins.AGENT},
        "probing": {"principal": standins.AGENT},
        "mint-burst": {"name": f"agent:{standins.AGENT}"},
    }
    for rule, group in expected.items():
        assert (await house.raised(rule, **group))["group"] == group
    await opened_by_alerts(house)


async def opened_by_alerts(house):
    """What an agent does is one incident, whichever of its alerts was first; it goes on."""
    about = {"agent": standins.AGENT}

    async def there():
        some = (await house.ask("vic", "GET", "/incidents"))["incidents"]
        return [one for one in some if about.items() <= one.items()]

    await until_async(there)
    (one,) = await there()
    loud = {
        each["id"]: (each["opened_at"], each["playbook"] or "hostile-agent")
        for each in (await house.ask("vic", "GET", "/alerts?level=high"))["alerts"]
        if standins.AGENT in " ".join(each["group"].values())
    }
    opened, playbook = loud[one["source_id"]]
    assert (one["source"], one["phase"], one["playbook"]) == ("alert", "open", playbook)
    assert -1.0 < one["opened_at"] - opened < 2.0
    async with standins.mcp_client(house.desk.stage, "crm", house.desk.token) as client:
        who = {"customer_id": standins.SUBJECT["customer_id"]}
        assert not (await client.call_tool("get_customer", who)).is_error  # nothing is contained


async def test_rules_are_read_while_it_runs_and_what_nobody_takes_on_goes_further_until_it_ends(
    house,
):
    stage = house.desk.stage
    file = stage.config.parent / "watch" / "more.yaml"
    file.write_text(URGENT, encoding="utf-8")
    changed = await house.raised("rules-changed")
    assert changed["level"] == "medium"
    async with standins.mcp_client(stage, "crm", house.desk.token) as client:
        await client.call_tool("get_customer", {"customer_id": standins.SUBJECT["customer_id"]})
    one = await house.raised("urgent")
    await until(lambda: house.boss.events)
    ((key, state),) = house.boss.alerts.items()
    assert state == "triggered"
    summary = house.boss.events[0]["payload"]["summary"]
    assert summary == "Nobody took it on: Critical: Somebody looks at a customer"
    assert (await house.alerts("urgent"))[0]["escalated"] == 1
    await until(lambda: house.says(one["id"]).startswith("Nobody took it on: "))
    file.write_text(URGENT.replace("critical", "urgent"), encoding="utf-8")
    await house.raised("rules-refused")
    await stage.register(PrincipalKind.AGENT, "spare-y")
    for verb in ("suspend", "resume"):
        await house.ask("ada", "POST", f"/principals/agent/spare-y/{verb}")
    await until(lambda: key not in house.boss.alerts)
    (over,) = await house.alerts("urgent")
    assert (over["state"], over["by"]) == ("resolved", "")
    assert [one["event_action"] for one in house.boss.events] == ["trigger", "resolve"]
    (cut,) = (
        each
        for each in await house.alerts("cut-off", state="resolved")
        if each["group"] == {"name": "agent:spare-y"}
    )
    assert cut["by"] == ""
    await until(
        lambda: [each["type"] for each in house.hooked(cut["id"])][-1:] == ["alert.resolved"]
    )
    file.write_text(URGENT.replace("critical", "low"), encoding="utf-8")
    mended = await house.raised("rules-refused", gateway="demo.portcullis.example/gate")
    await until_async(lambda: house.alerts("rules-refused", state="resolved"))
    recorded = [
        (event.method, event.verdict, event.parameters.get("channels"))
        for event in stage.events()
        if event.method in {"alert.escalated", "alert.rules"}
    ]
    assert recorded.count(("alert.escalated", "allow", ["boss"])) == 1
    assert recorded.count(("alert.rules", "deny", None)) == 1
    wanted = {one["id"], cut["id"], mended["id"]}
    await until(lambda: wanted <= {*_ended(stage.events())})


def _ended(events):
    return (event.parameters["alert"] for event in events if event.method == "alert.ended")


async def until_async(found):
    """Wait until there is something."""
    end = time.monotonic() + 10
    while not await found():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
