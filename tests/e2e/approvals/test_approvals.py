"""Calls that wait for a human, with the real clients: held, shown, decided, done once or never."""

import asyncio
import json
import re

import openai
import pytest
from typer.testing import CliRunner

import standins
from e2e.approvals.desk import MAIL, desks, furnished, policy, started
from portcullis.cli.operator import app as operator_app

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    async with desks(tmp_path_factory.mktemp("house"), refusals=1000) as made:
        yield made


@pytest.fixture
async def desk(house):
    """The gate of the module, with a session of its own for each test."""
    await house.open()
    house.begin()
    return house


def handle(result):
    """The approval that a held tool call waits for."""
    assert result.is_error
    text = result.content[0].text
    assert text.startswith("PC3040")
    assert "exactly the same arguments" in text
    found = re.search(r"approval ([0-9a-f]{32}) is pending", text)[1]
    assert result.meta["portcullis/approval"] == found
    return found


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_held_call_is_shown_approved_and_runs_once(desk, mode):
    approval = handle(await desk.send(mode=mode))
    assert handle(await desk.send(mode=mode)) == approval  # it asks once
    assert desk.mails() == 0
    status, shown = await desk.ask("bea", "GET", f"/{approval}")
    assert status == 200
    call = shown["call"]
    assert (shown["approval"]["state"], call["called"], call["arguments"]) == (
        "pending",
        "send",
        MAIL,
    )
    assert (call["user"], call["prompts"]) == ("ada", ["Where is my order O-5001?"])
    assert "EMAIL_ADDRESS in params.arguments.to" in call["reason"]
    assert call["questions"]
    assert (await desk.decide("bea", approval, "approve"))[0] == 200
    assert desk.mails() == 0
    done = await desk.send(mode=mode)
    assert not done.is_error
    assert desk.mails() == 1
    assert handle(await desk.send(mode=mode)) != approval  # single use: it is asked anew
    assert desk.mails() == 1
    _, after = await desk.ask("bea", "GET", f"/{approval}")
    assert (after["approval"]["state"], after["call"]) == ("consumed", None)


async def test_of_a_hundred_that_come_at_once_exactly_one_runs(desk):
    approval = handle(await desk.send())
    await desk.decide("bea", approval, "approve")
    async with standins.mcp_client(desk.stage, "mail", desk.token) as client:
        found = await asyncio.gather(*(client.call_tool("send", MAIL) for _ in range(100)))
    assert desk.mails() == 1
    assert sum(not one.is_error for one in found) == 1
    (anew,) = {handle(one) for one in found if one.is_error}
    assert anew != approval
    mine = [event for event in desk.stage.events() if event.approval == approval]
    assert [event.method for event in mine].count("approval.consumed") == 1


async def test_what_is_approved_is_that_call_of_that_session_and_no_other(desk):
    approval = handle(await desk.send())
    await desk.decide("bea", approval, "approve")
    assert handle(await desk.send(MAIL | {"body": "Send me your password."})) != approval
    other = desk.token
    await desk.open()
    assert handle(await desk.send()) != approval
    desk.token = other
    assert not (await desk.send()).is_error
    assert desk.mails() == 1


async def test_a_denied_call_stays_denied_and_one_that_policy_denies_is_never_asked(desk):
    approval = handle(await desk.send())
    assert (await desk.decide("bea", approval, "deny"))[0] == 200
    refused = await desk.refused()
    assert (refused["code"], refused["approval"]) == ("PC3041", approval)
    assert (await desk.decide("bea", approval, "approve"))[1]["code"] == "PC3042"
    assert (await desk.refused(MAIL | {"to": "mallory@outside.example"}))["code"] == "PC3004"
    _, found = await desk.ask("vic", "GET", "")
    mine = [one for one in found["approvals"] if one["session"] == desk.session]
    assert [one["id"] for one in mine] == [approval]
    assert desk.mails() == 0


async def test_what_nobody_decided_in_time_is_over_and_so_is_a_late_consumption(tmp_path):
    async with desks(tmp_path, ttl_seconds=1, remind_seconds=None) as desk:
        approval = handle(await desk.send())
        await desk.decide("bea", approval, "approve")
        late = handle(await desk.send(MAIL | {"subject": "again"}))
        await asyncio.sleep(1.1)
        assert handle(await desk.send()) != approval
        assert (await desk.decide("bea", late, "approve"))[1]["code"] == "PC3042"
        expired = {
            (
                await standins.eventually(
                    desk.stage,
                    lambda event, one=one: (
                        (event.method, event.approval) == ("approval.expired", one)
                    ),
                )
            ).approval
            for one in (approval, late)
        }
        assert expired == {approval, late}
        assert desk.mails() == 0


async def test_of_two_people_the_second_is_somebody_else(desk):
    await desk.operator("dan", "approver")
    customer = {"customer_id": standins.SUBJECT["customer_id"]}
    async with standins.mcp_client(desk.stage, "tickets", desk.token) as client:
        ticket = customer | {"subject": "Late", "body": "Where is it?"}
        made = (await client.call_tool("create", ticket)).structured_content
        update = customer | {"ticket_id": made["ticket_id"], "status": "closed"}
        approval = handle(await client.call_tool("update", update))
        _, shown = await desk.ask("bea", "GET", f"/{approval}")
        assert shown["call"]["approvers"] == 2
        assert "two people" in shown["call"]["reason"]
        assert (await desk.decide("bea", approval, "approve"))[1]["state"] == "pending"
        assert (await desk.decide("bea", approval, "approve"))[1]["code"] == "PC3046"
        assert handle(await client.call_tool("update", update)) == approval
        _, waits = await desk.ask("dan", "GET", f"/{approval}")
        first = waits["approval"]
        assert (first["state"], first["endorsed_by"], first["decided_by"]) == ("pending", "bea", "")
        assert waits["hindrance"] == ""
        assert "already" in (await desk.ask("bea", "GET", f"/{approval}"))[1]["hindrance"]
        assert waits["call"]["arguments"] == update, "the second sees what the first saw"
        status, second = await desk.decide("dan", approval, "approve")
        assert (status, second["state"], second["decided_by"]) == (200, "approved", "dan")
        assert second["endorsed_by"] == "bea"
        assert not (await client.call_tool("update", update)).is_error
    mine = [event.method for event in desk.stage.events() if event.approval == approval]
    assert mine.count("approval.endorsed") == 1
    assert mine.index("approval.endorsed") < mine.index("approval.approved")


async def test_the_approver_is_neither_the_sessions_user_nor_the_agents_owner(desk):
    approval = handle(await desk.send())
    assert (await desk.decide("ada", approval, "approve"))[1]["code"] == "PC3046"
    assert (await desk.decide("cy", approval, "approve"))[1]["code"] == "PC3046"
    assert (await desk.decide("vic", approval, "approve"))[1]["code"] == "PC2004"
    assert (await desk.ask("vic", "GET", f"/{approval}"))[0] == 403
    assert (await desk.decide("bea", approval, "approve"))[0] == 200


async def test_an_operator_who_is_the_user_by_another_name_is_known_by_it(desk):
    async def known_as(*names):
        words = ["is", "dee", *names, "--config", str(desk.stage.config)]
        done = await asyncio.to_thread(CliRunner().invoke, operator_app, words)
        assert done.exit_code == 0, done.output

    await desk.operator("dee", "approver")
    await desk.open(user="corp:u-7")
    approval = handle(await desk.send())
    await known_as("corp:u-7", "dee@shop.example")
    assert (await desk.decide("dee", approval, "approve"))[1]["code"] == "PC3046"
    await known_as()
    assert (await desk.decide("dee", approval, "approve"))[0] == 200


async def test_every_transition_is_in_the_log_and_no_content_is(desk):
    approval = handle(await desk.send())
    await desk.ask("bea", "GET", f"/{approval}")
    await desk.decide("bea", approval, "approve")
    await desk.send()
    mine = desk.session
    await standins.eventually(
        desk.stage, lambda event: (event.type, event.session) == ("tool_result", mine)
    )
    events = [event for event in desk.stage.events() if event.approval == approval]
    assert [event.method if event.type == "admin" else event.verdict for event in events] == [
        "approval.requested",
        "hold",
        "approval.read",
        "approval.approved",
        "approval.consumed",
        "allow",
    ]
    assert events[3].principal == "bea"
    assert events[3].parameters["reason"] == "asked the customer"

    assert all(MAIL["to"] not in repr(event) for event in desk.stage.events())


async def test_what_waits_is_sealed_and_survives_a_restart(tmp_path):
    async with standins.staged(tmp_path, policy=policy()) as outer:
        async with started(outer, "second") as stage:
            desk = await furnished(stage)
            approval, other = (
                handle(await desk.send()),
                handle(await desk.send(MAIL | {"body": "x"})),
            )
            await desk.decide("bea", approval, "approve")
        for file in tmp_path.glob("second/portcullis.db*"):
            assert MAIL["to"].encode() not in file.read_bytes()
        async with started(outer, "second") as stage:
            desk.stage = stage
            assert handle(await desk.send(MAIL | {"body": "x"})) == other
            assert not (await desk.send()).is_error
            assert desk.mails() == 1
            assert handle(await desk.send()) != approval


async def test_an_agent_of_which_too_much_was_denied_may_ask_no_more_until_it_is_lifted(tmp_path):
    teams = {"cy@shop.example": ["bea"]}
    async with desks(tmp_path, refusals=2, pending_per_agent=2, teams=teams) as desk:
        first, second = [handle(await desk.send(MAIL | {"body": body})) for body in "ab"]
        assert (await desk.refused())["code"] == "PC3044"
        assert (await desk.decide("bea", first, "approve"))[1]["code"] == "PC3046"  # of the team
        await desk.decide("bea", first, "deny")
        await desk.decide("bea", second, "deny")
        assert (await desk.refused())["code"] == "PC3043"
        _, found = await desk.ask("vic", "GET", "?state=denied")
        assert (len(found["approvals"]), found["frozen"]) == (2, [standins.AGENT])
        body = {"agent": standins.AGENT, "reason": "looked into it"}
        assert (await desk.ask("bea", "POST", "/lift", body))[0] == 403
        assert (await desk.ask("ada", "POST", "/lift", body))[0] == 200
        assert handle(await desk.send())


async def test_the_connection_waits_where_it_is_configured_and_all_checks_run_again(tmp_path):
    async with desks(tmp_path, wait_seconds=10) as desk:
        waiting = asyncio.create_task(desk.send())
        asked = await standins.eventually(
            desk.stage, lambda event: event.method == "approval.requested"
        )
        await desk.decide("bea", asked.approval, "approve")
        assert not (await waiting).is_error
        assert desk.mails() == 1
        waiting = asyncio.create_task(desk.refused())
        again = await standins.eventually(
            desk.stage,
            lambda event: event.method == "approval.requested" and event.approval != asked.approval,
        )
        changed = policy().replace("- execute: send_email", "")
        (desk.stage.config.parent / "policy" / "support.yaml").write_text(changed)
        desk.stage.gate.reload_policy()
        await desk.decide("bea", again.approval, "approve")
        assert (await waiting)["code"] == "PC3001"
        assert desk.mails() == 1


async def test_a_closed_session_takes_what_it_asked_with_it(desk):
    approval = handle(await desk.send())
    await desk.stage.gate.services.sessions.close(desk.session)
    gone = await standins.eventually(desk.stage, lambda event: event.method == "approval.cancelled")
    assert gone.approval == approval
    assert (await desk.decide("bea", approval, "approve"))[1]["code"] == "PC3042"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_held_question_to_a_model_is_an_error_that_the_client_raises_with_its_handle(
    desk, stream
):
    async with standins.openai_client(desk.stage, desk.token) as client:

        async def ask(text):
            answer = await client.chat.completions.create(
                model="gpt-standin", messages=[{"role": "user", "content": text}], stream=stream
            )
            return [part async for part in answer] if stream else answer

        question = f"Write to {MAIL['to']}"
        with pytest.raises(openai.PermissionDeniedError) as caught:
            await ask(question)
        assert caught.value.code == "PC3040"
        approval = caught.value.body["approval"]
        assert approval in caught.value.body["message"]
        _, shown = await desk.ask("bea", "GET", f"/{approval}")
        assert question in json.dumps(shown["call"]["request"])
        seen = len(desk.stage.model.seen)
        await desk.decide("bea", approval, "approve")
        assert await ask(question)
        assert len(desk.stage.model.seen) == seen + 1
        assert question in desk.stage.model.seen[-1].body.decode()
        with pytest.raises(openai.PermissionDeniedError) as caught:
            await ask(question)
        assert caught.value.body["approval"] != approval
