"""If these fail, a kill waits for something, does not last, or anybody can give or undo one."""

import base64

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from portcullis.control import kills
from portcullis.core.approval import Approval, State
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.feed import Told
from portcullis.identity.orders import ORDER_FILE, OrderBook, SignedOrder, sign

KILLS = "/api/v1/kills"


@pytest.fixture
def staffed(world, control):
    """The control plane with a responder, and the agents ``shop-1`` and ``shop-2``."""
    world.register("operator", "rex", ["responder"])
    for name in ("shop-1", "shop-2"):
        world.register("agent", name)
    return control


@pytest.fixture
def asked(world):
    """Has an agent wait for an approval; its id."""

    def ask(agent):
        one = Approval(
            id=f"of-{agent}",
            state=State.PENDING,
            binding=agent,
            agent=agent,
            session="s1",
            action="tool",
            server="crm",
            name="send",
            risk=RiskClass.EXTERNAL,
            created_at=world.clock.now(),
            expires_at=world.clock.now() + 600,
        )
        world.services.approval_parts.store.claim(one, b"x", most=9, now=world.clock.now())
        return one.id

    return ask


def ask(client: TestClient, world, who, method, path, **body):
    answer = client.request(
        method, path, json=body or None, headers=world.bearer("operator", who, roles=ROLES[who])
    )
    return answer.status_code, answer.json()


ROLES = {"ada": ("admin",), "vic": ("viewer",), "rex": ("responder",)}


def cut_off(world, name="shop-1", **fields):
    return world.services.feed.reason(world.principal("agent", name, **fields), None)


def test_a_responder_kills_and_only_an_administrator_takes_it_back(world, staffed):
    status, done = ask(
        staffed, world, "rex", "POST", KILLS, scope="agent", value="shop-1", reason="leaked"
    )
    assert (status, done["recorded"], done["durable"], done["faults"]) == (200, True, True, [])
    assert (cut_off(world), cut_off(world, "shop-2")) == ("leaked", None)
    event = world.recorder.last
    assert (event.method, event.name, event.principal) == ("kills.kill", "agent:shop-1", "rex")
    assert event.parameters == {"reason": "leaked"}
    (kill,) = ask(staffed, world, "vic", "GET", KILLS)[1]["kills"]
    assert (kill["value"], kill["by"], kill["durable"]) == ("shop-1", "rex", True)
    again = {"scope": "agent", "value": "shop-1", "reason": "checked"}
    assert ask(staffed, world, "rex", "POST", f"{KILLS}/undo", **again)[0] == 403
    assert ask(staffed, world, "vic", "POST", KILLS, **again)[0] == 403
    assert cut_off(world) == "leaked"
    assert ask(staffed, world, "ada", "POST", f"{KILLS}/undo", **again)[0] == 200
    assert cut_off(world) is None
    assert (world.recorder.last.method, world.recorder.last.principal) == ("kills.undo", "ada")
    status, problem = ask(staffed, world, "ada", "POST", f"{KILLS}/undo", **again)
    assert (status, problem["code"]) == (404, "PC4004")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scope": "agent", "value": "nobody"}, "PC2010"),
        ({"scope": "agent"}, "PC1020"),
        ({"scope": "all", "value": "shop-1"}, "PC1020"),
        ({"scope": "operator", "value": "ada"}, "PC1020"),
        ({"scope": "agent", "value": "a b"}, "PC1020"),
        ({"scope": "agent", "value": "shop-1", "reason": ""}, "PC1020"),
    ],
    ids=["unknown", "nameless", "named all", "operator", "no name", "no reason"],
)
def test_what_is_no_target_kills_nobody(world, staffed, body, code):
    status, problem = ask(staffed, world, "rex", "POST", KILLS, **body)
    assert (status >= 400, problem["code"]) == (True, code)
    assert cut_off(world) is None


def test_a_role_that_nobody_has_is_a_mistake(world, staffed):
    roles = {"shop-1": "clerk"}
    world.services.feed.by_role(roles.get, roles.values)
    assert ask(staffed, world, "rex", "POST", KILLS, scope="role", value="clark")[0] == 404
    assert ask(staffed, world, "rex", "POST", KILLS, scope="role", value="clerk")[0] == 200
    assert (cut_off(world) is None, cut_off(world, "shop-2")) == (False, None)


def test_a_kill_acts_before_the_log_and_the_database_and_without_them(world, staffed, monkeypatch):
    monkeypatch.setattr(kills, "DURABLE_SECONDS", 30)
    world.recorder.watch = lambda event: seen.append((event.method, cut_off(world)))
    seen = []
    ask(staffed, world, "rex", "POST", KILLS, scope="agent", value="shop-1", reason="leaked")
    assert seen == [("kills.kill", "leaked")]
    world.recorder.watch, world.recorder.full = None, True
    with world.services.feed._engine.begin() as connection:
        connection.execute(text("ALTER TABLE cuts RENAME TO hidden"))
    status, done = ask(
        staffed, world, "rex", "POST", KILLS, scope="agent", value="shop-2", reason="leaked too"
    )
    assert (status, done["recorded"], done["durable"]) == (200, False, False)
    assert [fault["code"] for fault in done["faults"]] == ["PC6001", "PC9002"]
    assert all("acts all the same" in fault["detail"] for fault in done["faults"])
    assert cut_off(world, "shop-2") == "leaked too"


def test_taking_back_waits_for_the_log_and_the_database(world, staffed):
    said = {"scope": "agent", "value": "shop-1", "reason": "checked"}
    ask(staffed, world, "rex", "POST", KILLS, **said)
    world.recorder.full = True
    assert ask(staffed, world, "ada", "POST", f"{KILLS}/undo", **said)[1]["code"] == "PC6001"
    world.recorder.full = False
    with world.services.feed._engine.begin() as connection:
        connection.execute(text("ALTER TABLE cuts RENAME TO hidden"))
    assert ask(staffed, world, "ada", "POST", f"{KILLS}/undo", **said)[1]["code"] == "PC9002"
    assert cut_off(world) == "checked"


def test_the_answer_says_which_gateways_acted(world, staffed):
    class Relay:
        def publish(self, standings):
            pass

        async def acknowledged(self, seconds):
            return (
                Told(gateway="gate-1", acknowledged=2.5, runs=3, connections=4, own=1.5),
                Told(gateway="gate-2", acknowledged=None, within=0.7),
            )

    world.services.feed.relay(Relay())
    done = ask(staffed, world, "rex", "POST", KILLS, scope="all")[1]
    one, two = done["gateways"]
    assert (one["acknowledged_ms"], one["runs"], one["connections"]) == (2.5, 3, 4)
    assert (two["gateway"], two["acknowledged_ms"], two["closed_within_s"]) == ("gate-2", None, 0.7)


def encoded(signed):
    return {
        "order": base64.b64encode(signed.order).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
    }


def order(client, signed):
    answer = client.post(f"{KILLS}/order", json=encoded(signed))
    return answer.status_code, answer.json()


def test_a_signed_order_needs_no_login_and_survives_a_restart(world, staffed, tmp_path):
    clock, key = world.clock, world.services.kill_key
    status, done = order(staffed, sign(key, "kill", "fire", "ops", clock))
    assert (status, done["kind"], done["scope"]) == (200, "killed", "all")
    assert cut_off(world) == "fire"
    assert world.recorder.last.principal == "ops"
    assert world.recorder.last.credential == "kill-order"
    assert (tmp_path / ORDER_FILE).stat().st_mode & 0o777 == 0o600
    again = OrderBook(tmp_path, key.public_key(), clock)
    assert again.killed == "fire"
    clock.time += 1
    assert order(staffed, sign(key, "undo", "over", "ops", clock))[1]["kind"] == "undone"
    assert cut_off(world) is None
    assert OrderBook(tmp_path, key.public_key(), clock).killed is None


def test_an_order_acts_while_nothing_can_be_recorded_or_stored_and_nobody_let_in(
    world, staffed, tmp_path
):
    world.recorder.full = True
    world.services.feed.lease(lambda: False)
    with world.services.feed._engine.begin() as connection:
        connection.execute(text("ALTER TABLE cuts RENAME TO hidden"))
    assert ask(staffed, world, "ada", "POST", KILLS, scope="all")[0] == 503
    signed = sign(world.services.kill_key, "kill", "fire", "ops", world.clock)
    status, done = order(staffed, signed)
    assert (status, done["recorded"], done["durable"]) == (200, False, True)
    assert cut_off(world) == "fire"
    assert OrderBook(tmp_path, world.services.kill_key.public_key(), world.clock).killed == "fire"


def test_forged_old_and_used_orders_are_refused(world, staffed):
    clock, key = world.clock, world.services.kill_key
    good = sign(key, "kill", "fire", "ops", clock)
    forged = SignedOrder(good.order, good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    changed = SignedOrder(good.order.replace(b"kill", b"undo"), good.signature)
    clock.time -= 61
    old = sign(key, "kill", "fire", "ops", clock)
    clock.time += 122
    early = sign(key, "kill", "fire", "ops", clock)
    clock.time -= 61
    for bad in (forged, changed, old, early):
        assert order(staffed, bad)[1]["code"] == "PC4003"
        assert cut_off(world) is None
    assert order(staffed, good)[0] == 200
    assert order(staffed, good)[1]["code"] == "PC4003"
    clock.time += 1
    assert order(staffed, sign(key, "undo", "over", "ops", clock))[0] == 200
    assert order(staffed, good)[1]["code"] == "PC4003"
    assert cut_off(world) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"order":"YQ==","signature":"YQ=="}'])
def test_a_file_that_is_no_order_kills(world, tmp_path, content):
    path = tmp_path / ORDER_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    book = OrderBook(tmp_path, world.services.kill_key.public_key(), world.clock)
    assert "cannot be read" in book.killed


def test_an_order_that_others_could_have_written_kills(world, tmp_path):
    key, path = world.services.kill_key, tmp_path / ORDER_FILE
    book = OrderBook(tmp_path, key.public_key(), world.clock)
    book.keep(sign(key, "undo", "over", "ops", world.clock))
    path.chmod(0o644)
    assert OrderBook(tmp_path, key.public_key(), world.clock).killed is not None
    path.chmod(0o600)
    assert OrderBook(tmp_path, key.public_key(), world.clock).killed is None


def test_nobody_waits_for_an_approval_of_an_agent_that_is_killed(world, staffed, asked):
    mine, other = asked("shop-1"), asked("shop-2")
    done = ask(staffed, world, "rex", "POST", KILLS, scope="agent", value="shop-1")[1]
    assert done["cancelled"] == 1
    store = world.services.approval_parts.store
    assert store.get(mine).state is State.CANCELLED
    assert store.get(other).state is State.PENDING
    with pytest.raises(Problem, match="PC4003"):
        OrderBook(
            world.services.orders._path.parent, world.services.kill_key.public_key(), world.clock
        ).keep(SignedOrder(b"{}", b""))


def test_what_could_not_be_cancelled_with_the_kill_is_cancelled_before_it_is_taken_back(
    world, staffed, asked
):
    said = {"scope": "agent", "value": "shop-1", "reason": "leaked"}
    assert ask(staffed, world, "rex", "POST", KILLS, **said)[1]["cancelled"] == 0
    late = asked("shop-1")  # as of a call that was about to be held
    assert ask(staffed, world, "ada", "POST", f"{KILLS}/undo", **said)[0] == 200
    assert cut_off(world) is None
    assert world.services.approval_parts.store.get(late).state is State.CANCELLED
