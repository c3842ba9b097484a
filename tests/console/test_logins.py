"""Getting in: with a password, with a link, and not by somebody else's doing."""

import secrets
import time
from functools import partial
from urllib.parse import urlencode

import pytest

import standins
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import CONSOLE

pytestmark = pytest.mark.anyio


async def test_a_password_and_a_code_let_in_and_lead_back(house):
    known = await house.enrol(await house.new("lea", "approver"))
    person = house.nobody()
    done = person.into(await person.send("/login", known.fields(next="/account?x=1")))
    assert (done.status, done.place) == (303, "/account?x=1")
    assert (await person.get("/account")).status == 200
    event = await standins.eventually(
        house.desk.stage, lambda e: e.method == "login" and e.principal == "lea"
    )
    assert (event.verdict, event.parameters["by"]) == ("allow", "password")
    wrong = await house.nobody().send("/login", known.fields() | {"password": "wrong"})
    assert (wrong.status, wrong.code, wrong.cookie) == (401, "PC2070", "")


async def test_failures_at_the_console_lock_the_api_too(house):
    name = await house.new(f"gus-{secrets.token_hex(4)}", "approver")
    fields = {"name": name, "password": "guess", "code": "123456"}
    for _ in range(4):
        assert (await house.nobody().send("/login", fields)).code == "PC2070"
    locked = await house.nobody().send("/login", fields)
    assert (locked.status, locked.code) == (429, "PC2071")
    assert int(locked.headers["retry-after"]) >= 1
    assert (await house.api("POST", "/api/v1/login", fields)).code == "PC2071"


async def test_the_cookie_is_for_this_site_alone_and_no_script(house):
    done = await house.nobody().send("/login/link", {"once": house.link()})
    said = {part.strip().lower() for part in done.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= said
    assert not any(part.startswith(("domain", "secure")) for part in said)
    age = next(int(part[8:]) for part in said if part.startswith("max-age="))
    assert 0 < age <= 3600


async def test_a_login_that_somebody_put_into_the_browser_is_not_the_one_that_comes_out(house):
    person = house.person("vic")
    planted = person.token
    person.into(await person.send("/login/link", {"once": house.link()}))
    assert person.token != planted
    assert "<h1>local-tester</h1>" in (await person.get("/account")).text
    known = partial(house.services.authority.verify, audience=CONSOLE)
    assert known(person.token).jti != known(planted).jti


async def test_a_link_is_good_once(house):
    link = house.link()
    first = await house.nobody().send("/login/link", {"once": link, "next": "/account"})
    assert (first.status, first.place) == (303, "/account")
    again = await house.nobody().send("/login/link", {"once": link})
    assert (again.status, again.code, again.cookie) == (401, "PC2087", "")
    event = await standins.eventually(house.desk.stage, lambda e: e.code == "PC2087")
    assert event.method == "login"


async def test_what_is_in_a_link_is_good_for_nothing_else(house):
    link = house.link()
    person = house.nobody()
    person.token = link
    bearer = {"authorization": f"Bearer {link}"}
    for _ in range(2):  # before it is used, and afterwards
        assert (await person.get("/account")).code == "PC2032"
        assert (await house.api("GET", "/api/v1/approvals", **bearer)).code == "PC2032"
        await house.nobody().send("/login/link", {"once": link})


async def test_a_login_in_its_last_minute_is_no_link_to_the_next(house):
    mint = house.services.authority.mint
    last = mint(PrincipalKind.OPERATOR, "local-tester", ttl=50, roles=("admin",), audience=CONSOLE)
    assert (await house.nobody().send("/login/link", {"once": last.token})).code == "PC2087"


async def test_no_other_token_is_a_link(house):
    stage, mint = house.desk.stage, house.services.authority.mint
    for token in (
        "",
        "nonsense",
        house.link(ttl=3600),
        house.link(name="ada"),
        house.person("ada").token,
        mint(PrincipalKind.OPERATOR, "local-tester", ttl=60, roles=("admin",)).token,
        mint(PrincipalKind.AGENT, standins.AGENT, ttl=60).token,
        await stage.register(PrincipalKind.APPLICATION, f"shop-{secrets.token_hex(4)}"),
    ):
        assert (await house.nobody().send("/login/link", {"once": token})).code == "PC2087"


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/%0d%0aset-cookie:a=b\r\n",
        "javascript:alert(1)",
        "/login?next=/login",
        "/api/v1/version",
        "/ /evil.example",
        "\t//evil.example",
        "/" + "a" * 600,
    ],
)
async def test_nobody_is_led_elsewhere_after_logging_in(house, place):
    done = await house.nobody().send("/login/link", {"once": house.link(), "next": place})
    assert done.place == "/"
    known = await house.person("bea").get("/login?" + urlencode({"next": place}))
    assert known.place == "/"


async def test_who_is_logged_in_may_log_in_again(house):
    person = house.person("bea")
    assert (await person.get("/login")).status == 303
    assert (await person.get("/login?again=1&next=%2Faccount")).status == 200


async def test_a_refusal_takes_its_time(house):
    began = time.monotonic()
    await house.nobody().send("/login", {"name": "nobody", "password": "x", "code": "123456"})
    assert time.monotonic() - began >= 0.25


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "A" * 64},
        {"name": "passkey:ada"},
        {"name": "a\x00"},
        {"password": "x" * 1025},
        {"password": ""},
        {"code": "12345"},
        {"code": "1" * 5000},
    ],
)
async def test_what_can_be_nobodys_login_is_refused_like_a_wrong_one(house, fields):
    usual = {"name": "nobody", "password": "x", "code": "123456"}
    refused = await house.nobody().send("/login", usual | fields)
    assert (refused.status, refused.code, refused.cookie) == (401, "PC2070", "")
    assert 'id="password"' in refused.text
