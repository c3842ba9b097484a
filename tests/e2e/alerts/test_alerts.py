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


class House:
    """A gate that tells three channels of alerts; ``arrived`` is when the webhook got each."""

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

    def says(self, alert):
        """The one message in the chat about an alert, as it is now."""
        (message,) = self.shown(alert)
        return message["text"]

    def mails(self, alert):
        found = [
            email.message_from_bytes(one.content, policy=email.policy.default)
            for one in self.mail.mails
        ]
        return [one for one in found if alert in one.get_body(("plain",)).get_content()]

    def got(self):
        """Every byte that went to a channel; of mails also what they say when they are decoded."""
        said = [*self.chat.seen, *(body for _, body in self.hook.taken)]
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
            },
            "alerts": {"rules": "watch", "tell": {"chat": "low", "post": "high", "hook": "low"}},
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
    took = []
    for number in range(5):
        name = f"spare-{number}"
        await house.desk.stage.register(PrincipalKind.AGENT, name)
        began = time.time()
        await house.ask("ada", "POST", f"/principals/agent/{name}/suspend")
        alert = (await house.raised("cut-off", name=f"agent:{name}"))["id"]
        await until(lambda alert=alert: alert in house.arrived)
        took.append(house.arrived[alert] - began)
        assert house.hooked(alert)[0]["data"]["group"] == {"name": f"agent:{name}"}
        await until(lambda alert=alert: house.shown(alert) and house.mails(alert))
    assert max(took) < 1.0, took


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
