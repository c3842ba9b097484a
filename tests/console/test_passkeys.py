"""Passkeys: what one is good for, and every way in which it is not."""

import asyncio
import secrets

import pytest

import standins
from authenticators import Authenticator
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


@pytest.fixture
async def name(house):
    """An operator of this test alone."""
    return await house.new(f"kim-{secrets.token_hex(4)}", "approver")


@pytest.fixture
async def held(house, name):
    """An operator who has just added a passkey, and the passkey."""
    person, phone = house.person(name), Authenticator()
    added = await person.add(phone)
    assert (added.status, added.json()) == (200, {"next": "/account"})
    return person, phone


async def test_a_passkey_logs_in_and_the_log_says_so(house, held, name):
    _, phone = held
    somebody = house.nobody()
    done = await somebody.show(phone)
    assert (done.status, done.json()) == (200, {"next": "/"})
    assert name in (await somebody.get("/account")).text
    for method, verdict in (("passkey.added", "allow"), ("login", "allow")):
        event = await standins.eventually(
            house.desk.stage,
            lambda e, method=method: e.method == method and e.principal == name,
        )
        assert (event.type, event.verdict) == ("identity", verdict)
    assert event.parameters["by"] == "passkey"


async def test_a_passkey_that_was_removed_opens_nothing(house, held, name):
    person, phone = held
    key = house.services.passkeys.of(name)[0]
    page = (await person.get("/account")).text
    assert "Phone" in page
    assert key.id in page
    assert (await person.act("/account/passkeys/remove", passkey=key.id)).status == 303
    refused = await house.nobody().show(phone)
    assert (refused.status, refused.code, refused.cookie) == (401, "PC2083", "")
    await standins.eventually(
        house.desk.stage, lambda e: e.method == "passkey.removed" and e.principal == name
    )


async def test_nobody_removes_the_passkey_of_another(house, held, name):
    key = house.services.passkeys.of(name)[0]
    refused = await house.person("bea").act("/account/passkeys/remove", passkey=key.id)
    assert refused.code == "PC2083"
    assert house.services.passkeys.of(name) == (key,)


async def test_a_copy_of_a_passkey_is_noticed(house, held, name):
    _, phone = held
    phone.counter = 7
    assert (await house.nobody().show(phone)).status == 200
    phone.counter = 7
    refused = await house.nobody().show(phone)
    assert (refused.status, refused.code, refused.cookie) == (401, "PC2084", "")
    event = await standins.eventually(house.desk.stage, lambda e: e.code == "PC2084")
    assert (event.principal, event.verdict) == (name, "deny")


async def test_a_passkey_without_a_counter_is_good_again_and_again(house, name):
    phone = Authenticator(counter=0)
    person = house.person(name)
    assert (await person.add(phone)).status == 200
    for _ in range(2):
        phone.counter = 0
        assert (await house.nobody().show(phone)).status == 200


@pytest.mark.parametrize(
    "how",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost"},
        {"origin": "http://localhost:1"},
        {"verified": False},
        {"framed": True},
        {"rp_id": "evil.example"},
    ],
)
async def test_an_answer_that_was_made_elsewhere_opens_nothing(house, held, how):
    _, phone = held
    assert (await house.nobody().show(phone, **how)).code == "PC2083"


async def test_another_key_under_its_name_opens_nothing(house, held):
    _, phone = held
    forged = Authenticator(id=phone.id, handle=phone.handle, counter=100)
    assert (await house.nobody().show(forged)).code == "PC2083"


async def test_a_passkey_speaks_for_its_owner_alone(house, held):
    _, phone = held
    phone.handle = secrets.token_bytes(32)
    assert (await house.nobody().show(phone)).code == "PC2083"


async def test_a_passkey_that_nobody_added_opens_nothing(house):
    assert (await house.nobody().show(Authenticator(handle=b"x" * 32))).code == "PC2083"


async def test_an_answer_is_good_once(house, held):
    _, phone = held
    somebody = house.nobody()
    begun = (await somebody.send("/login/passkey/begin", {})).json()
    fields = {
        "ceremony": begun["ceremony"],
        "credential": phone.show(begun["options"], somebody.base),
    }
    assert (await somebody.send("/login/passkey", fields)).status == 200
    assert (await somebody.send("/login/passkey", fields)).code == "PC2083"
    other = (await somebody.send("/login/passkey/begin", {})).json()
    stale = fields | {"ceremony": other["ceremony"]}
    assert (await somebody.send("/login/passkey", stale)).code == "PC2083"


@pytest.mark.parametrize(
    "answer", ["", "{}", "[]", "null", '{"id": 1}', '{"id": "\u00e9"}', "[" * 9000, "x" * 20_000]
)
async def test_hostile_bytes_are_refused_like_everything_else(house, answer):
    somebody = house.nobody()
    begun = (await somebody.send("/login/passkey/begin", {})).json()
    fields = {"ceremony": begun["ceremony"], "credential": answer}
    assert (await somebody.send("/login/passkey", fields)).code == "PC2083"


async def test_failures_lock_a_passkey_for_a_while(house, held):
    _, phone = held
    codes = [(await house.nobody().show(phone, verified=False)).code for _ in range(5)]
    assert codes == ["PC2083"] * 4 + ["PC2071"]


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
async def test_who_is_rotated_or_revoked_has_no_passkey_any_more(house, held, name, verb):
    _, phone = held
    assert await house.administer(name, verb) == 200
    assert house.services.passkeys.of(name) == ()
    assert (await house.nobody().show(phone)).code == "PC2083"


async def test_who_is_suspended_does_not_come_in_by_a_passkey(house, held, name):
    _, phone = held
    assert await house.administer(name, "suspend") == 200
    refused = await house.nobody().show(phone)
    assert (refused.code, refused.cookie) == ("PC2083", "")


async def test_a_new_password_takes_the_passkeys_of_the_old_one_away(house, held, name):
    await house.enrol(name)
    assert house.services.passkeys.of(name) == ()


async def test_who_logged_in_long_ago_adds_and_removes_nothing(house, held, name):
    key = house.services.passkeys.of(name)[0]
    tired = house.person(name, ago=301)
    assert (await tired.add(Authenticator())).code == "PC2082"
    assert (await tired.act("/account/passkeys/remove", passkey=key.id)).code == "PC2082"
    assert "again=1" in (await tired.get("/account")).text
    assert house.services.passkeys.of(name) == (key,)


async def test_a_challenge_is_for_the_login_that_asked_for_it(house, name):
    person, other = house.person(name), house.person("bea")
    begun = (await person.act("/account/passkeys/begin")).json()
    answer = Authenticator().make(begun["options"], person.base)
    fields = {"ceremony": begun["ceremony"], "credential": answer, "name": "Phone"}
    assert (await other.act("/account/passkeys", **fields)).code == "PC2083"
    assert house.services.passkeys.of("bea") == ()


@pytest.mark.parametrize("how", [{"origin": "https://evil.example"}, {"verified": False}])
async def test_a_passkey_that_was_made_elsewhere_is_not_kept(house, name, how):
    assert (await house.person(name).add(Authenticator(), **how)).code == "PC2083"
    assert house.services.passkeys.of(name) == ()


@pytest.mark.parametrize("called", ["", "   ", "x" * 64, "a\x00b"])
async def test_a_passkey_has_a_name_that_can_be_read(house, name, called):
    assert (await house.person(name).add(Authenticator(), name=called)).code == "PC1020"


async def test_the_same_passkey_is_not_kept_twice(house, held):
    person, phone = held
    assert (await person.add(phone)).code == "PC2085"


async def test_a_passkey_says_no_name_at_its_authenticator(house, held, name):
    _, phone = held
    assert len(phone.handle) == 32
    assert name.encode() not in phone.handle


async def test_nobody_has_more_passkeys_than_he_could_know(house, name):
    person = house.person(name)
    for number in range(16):
        assert (await person.add(Authenticator(), name=f"Key {number}")).status == 200
    assert (await person.add(Authenticator())).code == "PC2085"


async def test_who_begins_often_and_answers_later_has_no_more_passkeys_than_others(house, name):
    person = house.person(name)
    begun = [(await person.act("/account/passkeys/begin")).json() for _ in range(18)]
    codes = []
    for one in begun:
        answer = Authenticator().make(one["options"], person.base)
        fields = {"ceremony": one["ceremony"], "credential": answer, "name": "Phone"}
        codes.append((await person.act("/account/passkeys", **fields)).code)
    assert codes[16:] == ["PC2085"] * 2
    assert len(house.services.passkeys.of(name)) == 16


async def test_who_holds_the_issuers_key_has_no_passkey(house):
    person = house.nobody()
    person.into(await person.send("/login/link", {"once": house.link()}))
    assert (await person.act("/account/passkeys/begin")).code == "PC2085"
    assert "Passkeys" not in (await person.get("/account")).text


async def test_who_logs_in_at_an_issuer_has_no_passkey_that_would_outlive_it(house):
    person = house.person(await house.new("oidc-0a1b", "admin"))
    assert (await person.act("/account/passkeys/begin")).code == "PC2085"


async def test_an_address_has_no_passkeys(house, name):
    person = house.person(name)
    person.base = person.base.replace("localhost", "127.0.0.1")
    assert (await person.act("/account/passkeys/begin")).code == "PC2085"
    assert "open the console under" in (await person.get("/account")).text


async def test_a_rotation_at_this_moment_wins(house, held, name):
    _, phone = held
    somebody = house.nobody()
    shown, status = await asyncio.gather(somebody.show(phone), house.administer(name, "rotate"))
    assert status == 200
    assert shown.status == 401 or (await somebody.get("/account")).code == "PC4001"


async def test_what_ends_a_login_reaches_the_api_of_passkeys_too(house, held, name):
    person, _ = held
    csrf = await person.csrf()
    await house.administer(name, "suspend")
    refused = await person.send("/account/passkeys/begin", {"csrf": csrf})
    assert (refused.status, refused.code) == (403, "PC4001")
    kind = PrincipalKind.OPERATOR
    assert house.services.directory.get(kind, name).state == "suspended"


async def test_a_flood_of_beginnings_locks_nobody_out(house, held):
    _, phone = held
    somebody = house.nobody()
    begun = (await somebody.send("/login/passkey/begin", {})).json()
    await asyncio.gather(*(somebody.send("/login/passkey/begin", {}) for _ in range(1100)))
    answer = phone.show(begun["options"], origin=somebody.base)
    fields = {"ceremony": begun["ceremony"], "credential": answer}
    assert (await somebody.send("/login/passkey", fields)).status == 200
