import asyncio
import base64
import dataclasses
import secrets
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from portcullis.control import login as module
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.store.operators import SqlOperators

OPERATOR = PrincipalKind.OPERATOR
WRONG = secrets.token_hex(12)


class Vic:
    """An operator with a password and an authenticator."""

    def __init__(self, control, world, name="vic"):
        self.control, self.world, self.name = control, world, name
        self.password = secrets.token_hex(12)
        ada = world.bearer("operator", "ada", roles=("admin",))
        path = f"/api/v1/principals/operator/{name}/password"
        answer = control.post(path, json={"password": self.password}, headers=ada)
        assert answer.status_code == 201
        self.uri = answer.json()["otpauth"]
        self.secret = base64.b32decode(parse_qs(urlsplit(self.uri).query)["secret"][0])
        world.clock.time += 0.001

    def code(self, later=0):
        now = self.world.clock.now() + later
        return TOTP(self.secret, 6, SHA1(), 30).generate(now).decode()  # noqa: S303 - RFC 6238

    def login(self, **changes):
        body = {"name": self.name, "password": self.password, "code": self.code()} | changes
        return self.control.post("/api/v1/login", json=body)


@pytest.fixture
def vic(control, world):
    return Vic(control, world)


def refused(answer, code="PC2070"):
    assert answer.json()["code"] == code
    return answer.status_code


def test_an_operator_logs_in_with_password_and_code_and_its_token_works(control, world, vic):
    answer = vic.login()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    principal = world.services.authority.authenticate(Presented(token=body["token"]))
    assert (principal.kind, principal.id, principal.roles) == (OPERATOR, "vic", ("viewer",))
    assert body["expires_at"] == int(world.clock.now()) + 600
    headers = {"authorization": f"Bearer {body['token']}"}
    assert control.get("/api/v1/version", headers=headers).status_code == 200
    event = next(e for e in world.recorder.events if e.method == "login")
    assert (event.type, event.verdict, event.principal) == ("identity", "allow", "vic")
    assert (event.credential, event.parameters["by"]) == (body["credential"], "password")
    assert event.source.startswith("testclient:")


def test_nothing_secret_is_recorded_or_stored_in_clear(control, world, vic):
    vic.login(password=WRONG)
    token = vic.login().json()["token"]
    stored = world.services.operators.get("vic")
    written = repr(world.recorder.events) + repr(stored)
    for secret in (vic.password, WRONG, vic.code(), token, vic.uri):
        assert secret not in written
    assert vic.secret not in stored.totp
    assert base64.b32encode(vic.secret).decode() not in written


def test_whatever_is_wrong_the_answer_is_the_same(control, world, vic):
    world.register("operator", "oli", ["viewer"])
    answers = [
        vic.login(password=WRONG),
        vic.login(code="000000" if vic.code() != "000000" else "000001"),
        vic.login(name="nobody"),
        vic.login(name="oli"),
        vic.login(name="local-root"),
    ]
    assert {refused(answer) for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    denied = [e for e in world.recorder.events if e.method == "login"]
    assert [(e.verdict, e.code, e.principal) for e in denied] == [
        ("deny", "PC2070", "vic"),
        ("deny", "PC2070", "vic"),
        *[("deny", "PC2070", "")] * 3,
    ]


def test_a_code_is_good_once(world, vic):
    assert vic.login().status_code == 201
    refused(vic.login())
    refused(vic.login(code=vic.code(-30)))
    assert vic.login(code=vic.code(30)).status_code == 201


def test_a_code_used_at_once_by_two_lets_one_in(world, vic):
    answers = []
    body = {"name": "vic", "password": vic.password, "code": vic.code()}

    def attempt():
        answers.append(vic.control.post("/api/v1/login", json=body).status_code)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, 401, 401, 401]


def test_a_code_for_a_wrong_password_is_not_used_up(vic):
    refused(vic.login(password=WRONG))
    assert vic.login().status_code == 201


@pytest.mark.parametrize("verb", ["suspend", "revoke"])
def test_who_is_cut_off_does_not_log_in(control, world, vic, verb):
    ada = world.bearer("operator", "ada", roles=("admin",))
    control.post(f"/api/v1/principals/operator/vic/{verb}", headers=ada)
    refused(vic.login())
    kept = world.services.operators.get("vic")
    assert (kept is None) == (verb == "revoke")


def test_failures_lock_a_name_ever_longer_and_a_right_password_does_not_help(world, vic):
    for _ in range(3):
        refused(vic.login(password=WRONG))
    refused(vic.login(password=WRONG))
    for seconds in (1, 2, 4):
        answer = vic.login()
        assert refused(answer, "PC2071") == 429
        assert answer.headers["retry-after"] == str(seconds)
        assert str(seconds) in answer.json()["detail"]
        world.clock.time += seconds
        refused(vic.login(password=WRONG))
    assert world.recorder.last.code == "PC2070"
    world.clock.time += 8
    assert vic.login().status_code == 201
    refused(vic.login(password=WRONG))
    assert vic.login(code=vic.code(30)).status_code == 201


def test_a_name_that_nobody_has_is_locked_just_the_same(vic):
    for _ in range(4):
        refused(vic.login(name="nobody"))
    assert refused(vic.login(name="nobody"), "PC2071") == 429
    assert vic.login().status_code == 201


def test_whoever_guesses_names_on_this_machine_locks_no_operator_out(vic):
    for number in range(30):
        refused(vic.login(name=f"nobody-{number}"))
    assert vic.login().status_code == 201


def test_a_lock_survives_a_restart(world, vic, control):
    for _ in range(4):
        refused(vic.login(password=WRONG))
    logins = world.services.logins("control")

    def login():
        return control.portal.call(
            lambda: logins.password("vic", vic.password, vic.code(), source="127.0.0.1:1")
        )

    with pytest.raises(Problem, match="PC2070"):
        login()
    world.clock.time += 40
    assert login().token


def test_a_new_password_ends_the_old_one_its_codes_and_its_tokens(control, world, vic):
    token = vic.login().json()["token"]
    new = Vic(control, world)
    headers = {"authorization": f"Bearer {token}"}
    assert refused(control.get("/api/v1/version", headers=headers), "PC4001") == 403
    refused(vic.login())
    assert new.login().status_code == 201


@pytest.mark.anyio
@pytest.mark.parametrize("before", ["verified", "minted"])
async def test_who_logs_in_with_the_old_password_while_it_is_replaced_gets_nothing(
    world, vic, monkeypatch, before
):
    logins = world.services.logins("control")
    context = world.context("ada", "admin")
    principals = logins._principals
    real, verify = principals.mint, logins._verify

    def verified(*given):
        found = verify(*given)
        if before == "verified":
            replaced.set()
        return found

    async def mint(*given, **options):
        if before == "minted":
            replaced.set()
        await set_anew
        world.clock.time += 0.002
        return await real(*given, **options)

    replaced = threading.Event()
    monkeypatch.setattr(logins, "_verify", verified)
    monkeypatch.setattr(principals, "mint", mint)

    async def replace():
        await asyncio.to_thread(replaced.wait, 10)
        return await logins.enrol(context, vic.name, secrets.token_hex(12))

    set_anew = asyncio.ensure_future(replace())
    with pytest.raises(Problem, match="PC2070"):
        await logins.password(vic.name, vic.password, vic.code(), source="127.0.0.1:1")


def test_other_roles_end_the_tokens_that_name_the_old_ones(control, world, vic):
    token = vic.login().json()["token"]
    ada = world.bearer("operator", "ada", roles=("admin",))
    path = "/api/v1/principals/operator/vic/roles"
    changed = control.post(path, json={"roles": ["responder", "viewer"]}, headers=ada)
    assert changed.json()["roles"] == ["responder", "viewer"]
    headers = {"authorization": f"Bearer {token}"}
    assert refused(control.get("/api/v1/version", headers=headers), "PC4001") == 403
    world.clock.time += 30
    again = vic.login().json()["token"]
    principal = world.services.authority.authenticate(Presented(token=again))
    assert principal.roles == ("responder", "viewer")


def test_roles_that_cannot_be_recorded_are_not_given(control, world, vic):
    ada = world.bearer("operator", "ada", roles=("admin",))
    world.recorder.full = True
    path = "/api/v1/principals/operator/vic/roles"
    refused(control.post(path, json={"roles": ["admin"]}, headers=ada), "PC6001")
    assert world.services.directory.get(OPERATOR, "vic").roles == ("viewer",)


def test_no_token_leaves_unrecorded(world, vic):
    world.recorder.full = True
    answer = vic.login()
    assert refused(answer, "PC6001") == 503
    assert "token" not in answer.json()


def test_a_stale_feed_lets_nobody_in(world, vic):
    world.services.feed._stale = True
    assert refused(vic.login(), "PC4002") == 503


def test_an_unknown_operator_gets_no_password(control, world):
    ada = world.bearer("operator", "ada", roles=("admin",))
    body = {"password": secrets.token_hex(12)}
    path = "/api/v1/principals/operator/nobody/password"
    refused(control.post(path, json=body, headers=ada), "PC2010")
    assert world.services.operators.get("nobody") is None


def test_a_token_is_no_way_to_log_in(control, world):
    for kind in ("agent", "application", "operator"):
        answer = control.post("/api/v1/login", json={}, headers=world.bearer(kind, "vic"))
        assert refused(answer, "PC1020") == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "vic", "password": "x", "code": "12345"},
        {"name": "vic", "password": "x", "code": 123456},
        {"name": "Vic", "password": "x", "code": "123456"},
        {"name": "vic", "password": "x", "code": "123456", "id_token": "x"},
        {"name": "vic", "password": "x" * 1025, "code": "123456"},
        {"id_token": ""},
        ["vic"],
    ],
)
def test_a_malformed_login_is_refused_and_repeats_nothing(control, world, body):
    answer = control.post("/api/v1/login", json=body)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"PC1020", "PC1021"}
    assert "123456" not in answer.text + repr(world.recorder.last)


@pytest.mark.anyio
async def test_refusals_take_their_time_so_that_their_time_tells_nothing(world):
    class Clock:
        now = staticmethod(world.clock.now)
        monotonic = staticmethod(time.monotonic)

    services = dataclasses.replace(world.services, clock=Clock(), login_grain=0.05)
    logins = services.logins("control")
    for name in ("nobody", "vic"):
        started = time.monotonic()
        with pytest.raises(Problem, match="PC2070"):
            await logins.password(name, WRONG, "000000", source="127.0.0.1:1")
        spent = time.monotonic() - started
        assert spent >= 0.05
        assert spent % 0.05 < 0.04


@pytest.mark.anyio
async def test_only_so_many_passwords_are_verified_and_wait_at_once(world, monkeypatch):
    gate, running, most = threading.Event(), [], []

    def matches(password, phc):
        running.append(password)
        most.append(len(running))
        gate.wait(5)
        running.remove(password)
        return False

    monkeypatch.setattr(module, "matches", matches)
    monkeypatch.setattr(module, "WAITING", 3)
    logins = world.services.logins("control")
    tasks = [
        asyncio.ensure_future(
            logins.password(f"nobody-{number}", "x", "000000", source="127.0.0.1:1")
        )
        for number in range(6)
    ]
    await asyncio.sleep(0.1)
    gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(answer.code for answer in answers) == [*["PC2070"] * 4, *["PC2071"] * 2]
    assert max(most) <= module.AT_ONCE


def test_the_database_of_a_login_is_the_register_of_operators(world, vic):
    assert isinstance(world.services.operators, SqlOperators)
    before = world.services.operators.get("vic")
    vic.login()
    after = world.services.operators.get("vic")
    assert after.counter == int(world.clock.now()) // 30 > before.counter
