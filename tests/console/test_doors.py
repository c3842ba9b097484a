"""Who gets to a page of the console, and from where."""

import asyncio
import re
import secrets
import time

import pytest

import standins
from portcullis.control.console.headers import HEADERS
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import CONSOLE

pytestmark = pytest.mark.anyio

ASSET = re.compile(r"/console/assets/[a-z_]+\.[0-9a-f]{16}\.(?:css|js)")


@pytest.fixture
async def pat(house):
    """An operator of this test alone, logged in."""
    return house.person(await house.new(f"pat-{secrets.token_hex(4)}", "approver"))


async def test_no_answer_can_be_framed_scripted_or_kept_by_a_browser(house, pat):
    answers = [
        await house.nobody().get("/login"),
        await house.nobody().get("/account"),
        await pat.get("/account"),
        await pat.get("/account?what=1"),
        await pat.send("/logout", {}),
        await house.nobody().send("/login/link", {"once": "x"}),
        await house.nobody().send("/login/passkey/begin", {}),
        await house.nobody().get("/login", host="evil.example"),
        await house.nobody().get("/account", accept="application/json"),
    ]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (answer.status, name)
    policy = answers[0].headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy


async def test_files_are_kept_for_ever_and_hold_nothing_inline(house):
    page = (await house.nobody().get("/login")).text
    files = ASSET.findall(page)
    assert files
    for place in files:
        answer = await house.nobody().get(place)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        for imported in re.findall(r'from "\./([^"]+)"', answer.text):
            assert (await house.nobody().get(f"/console/assets/{imported}")).status == 200
    assert "style=" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son[a-z]+=", page)
    assert (await house.nobody().get("/console/assets/..%2Fdoor.py")).status in {401, 404}


async def test_the_api_takes_no_cookie_and_a_page_no_token(house, pat):
    cookie = {"cookie": f"portcullis={pat.token}"}
    assert (await house.api("GET", "/api/v1/version", **cookie)).status == 401
    assert (await house.api("GET", "/metrics", **cookie)).status == 401
    assert (await house.api("GET", "/api/v1/version", **house.bearer("ada"))).status == 200
    bearer = {"authorization": f"Bearer {pat.token}"}  # nor what is in the cookie
    assert (await house.api("GET", "/api/v1/version", **bearer)).code == "PC2032"
    bearer = house.bearer("ada")
    shown = await house.nobody().get("/account", **bearer)
    assert (shown.status, shown.place) == (303, "/login?next=%2Faccount")


async def test_a_program_has_no_business_at_the_console(house):
    token = await house.desk.stage.register(PrincipalKind.APPLICATION, "shop")
    program = house.nobody()
    program.token = token
    assert (await program.get("/account")).code == "PC2032"


FORGED = {
    "no origin": {"origin": None},
    "another origin": {"origin": "https://evil.example"},
    "another port": {"origin": "http://localhost:1"},
    "a sandboxed page": {"origin": "null"},
    "a page of another site": {"sec_fetch_site": "cross-site"},
    "another port of this host": {"sec_fetch_site": "same-site"},
    "an address that was typed": {"sec_fetch_site": "none"},
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_form_of_another_page_does_nothing(house, pat, how):
    csrf = await pat.csrf()
    refused = await pat.send("/logout", {"csrf": csrf}, **FORGED[how])
    assert (refused.status, refused.code) == (403, "PC2081")
    assert (await pat.get("/account")).status == 200
    sent = await house.nobody().send("/login/link", {"once": house.link()}, **FORGED[how])
    assert (sent.status, sent.code, sent.cookie) == (403, "PC2081", "")


async def test_a_form_needs_the_token_of_this_very_login(house, pat):
    other = house.person("bea")
    for token in ("", "0" * 64, await other.csrf(), "\u00e9"):
        refused = await pat.send("/logout", {"csrf": token})
        assert refused.code == "PC2081"
    assert (await pat.send("/logout", {}, x_csrf=await other.csrf())).code == "PC2081"
    assert (await pat.send("/logout", {}, x_csrf=await pat.csrf())).status == 303
    assert (await other.get("/account")).status == 200


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost:{port}", True),
        ("127.0.0.1:{port}", True),
        ("portcullis.localhost:{port}", True),
        ("other.localhost:{port}", False),
        ("LOCALHOST:{port}", True),
        ("evil.example", False),
        ("evil.example:{port}", False),
        ("localhost.evil.example:{port}", False),
        ("localhost:1", False),
        ("localhost", False),
        ("portcullis.example", False),
    ],
)
async def test_a_name_that_somebody_pointed_here_shows_nothing(house, host, served):
    port = house.base.rpartition(":")[2]
    answer = await house.nobody().get("/login", host=host.format(port=port))
    assert answer.status == (200 if served else 421)
    assert served or answer.code == "PC2080"


async def test_a_name_that_somebody_pointed_here_takes_no_form(house, pat):
    host = "evil.example:" + house.base.rpartition(":")[2]
    csrf = await pat.csrf()
    refused = await pat.send("/logout", {"csrf": csrf}, host=host, origin=f"http://{host}")
    assert refused.code == "PC2080"


@pytest.mark.parametrize(
    ("data", "headers", "code"),
    [
        ("csrf=a&csrf=b", {}, "PC1020"),
        ("csrf", {}, "PC1020"),
        ("&".join(f"f{n}=1" for n in range(65)), {}, "PC1020"),
        ("name=\xe9", {}, "PC1020"),
        ("{}", {"content_type": "application/json"}, "PC1008"),
        ("a=1", {"content_type": "multipart/form-data; boundary=x"}, "PC1008"),
        ("a=1", {"content_encoding": "gzip"}, "PC1013"),
        ("a=" + "1" * 300_000, {}, "PC1007"),
    ],
)
async def test_a_form_that_is_none_is_not_guessed_at(pat, data, headers, code):
    said = {"content_type": "application/x-www-form-urlencoded", "origin": pat.base} | headers
    assert (await pat.ask("POST", "/logout", data.encode(), said)).code == code


async def test_a_field_that_nobody_knows_is_refused(pat):
    refused = await pat.send("/logout", {"csrf": await pat.csrf(), "all": "yes"})
    assert refused.code == "PC1021"


async def test_a_stream_ends_at_once_with_the_login_that_opened_it(house):
    name = await house.new(f"ned-{secrets.token_hex(4)}", "viewer")
    person = house.person(name)
    headers = {"cookie": f"portcullis={person.token}"}
    async with house.http.get(f"{house.base}/events", headers=headers) as stream:
        assert stream.status == 200
        assert await stream.content.readline()
        assert await house.administer(name, "suspend") == 200
        await asyncio.wait_for(stream.content.read(), 1)
    assert (await person.get("/events")).code == "PC4001"


async def test_no_other_site_follows_what_happens(house, pat):
    refused = await pat.get("/events", sec_fetch_site="same-site")
    assert (refused.status, refused.code) == (403, "PC2081")


@pytest.mark.parametrize("verb", ["suspend", "revoke", "rotate"])
async def test_who_is_cut_off_sees_nothing_from_then_on(house, verb):
    name = await house.new(f"mal-{secrets.token_hex(4)}", "approver")
    person = house.person(name)
    assert (await person.get("/account")).status == 200
    assert await house.administer(name, verb) == 200
    refused = await person.get("/account")
    assert (refused.status, refused.code) == (403, "PC4001")


async def test_other_roles_end_the_login_that_had_the_old_ones(house):
    name = await house.new(f"rob-{secrets.token_hex(4)}", "admin")
    person = house.person(name)
    headers = house.bearer("ada")
    path = f"/api/v1/principals/operator/{name}/roles"
    changed = await house.api("POST", path, {"roles": ["viewer"]}, **headers)
    assert changed.status == 200
    assert (await person.get("/account")).code == "PC4001"


async def test_a_login_that_has_ended_is_forgotten_by_the_browser(house):
    person = house.person("bea", ttl=1)
    await asyncio.sleep(1.1)
    ended = await person.get("/account")
    assert (ended.status, ended.code) == (401, "PC2003")
    assert "max-age=0" in ended.headers["set-cookie"].lower()
    assert 'href="/login?next=' in ended.text


async def test_nobody_is_let_in_by_a_cookie_that_is_nothing_of_ours(house):
    person = house.nobody()
    for token in ("nonsense", "a.b.c", "x" * 5000):
        person.token = token
        assert (await person.get("/account")).status == 401


async def test_two_login_cookies_are_none(house, pat):
    both = f"portcullis={pat.token}; portcullis={house.person('bea').token}"
    refused = await house.nobody().get("/account", cookie=both)
    assert refused.code == "PC2005"


async def test_a_link_from_a_chat_leads_to_the_page_though_the_cookie_is_strict(house, pat):
    first = await house.nobody().get("/account", sec_fetch_site="cross-site")
    assert first.status == 200
    assert 'content="0; url=/login?next=%2Faccount"' in first.text
    neighbour = await pat.get("/account", sec_fetch_site="same-site")  # another port of this host
    assert 'content="0; url=/login?next=%2Faccount"' in neighbour.text
    assert "pat-" not in neighbour.text
    then = await pat.get("/login?next=%2Faccount")  # from our page, so with the cookie
    assert (then.status, then.place) == (303, "/account")


async def test_a_module_gets_problem_documents_and_no_redirect(house, pat):
    refused = await house.nobody().get("/account", accept="application/json")
    assert refused.status == 401
    assert refused.json()["code"] == "PC2001"
    refused = await pat.get("/account?what=1", accept="application/json")
    assert refused.json()["code"] == "PC1021"


async def test_refusals_are_in_the_log_and_say_who_and_where(house, pat):
    await pat.send("/logout", {"csrf": "no"})
    name = house.services.authority.verify(pat.token, CONSOLE).sub.partition(":")[2]
    event = await standins.eventually(
        house.desk.stage, lambda e: e.code == "PC2081" and e.principal == name
    )
    assert (event.route, event.method) == ("console", "POST /logout")


async def test_what_somebody_types_is_text_on_the_page(house):
    evil = "<script>alert(1)</script>\"'\u202e"
    answer = await house.nobody().send("/login", {"name": evil, "password": "x", "code": "123456"})
    assert answer.status == 401
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


async def test_logging_out_ends_the_login_everywhere(house, pat):
    out = await pat.send("/logout", {"csrf": await pat.csrf()})
    assert (out.status, out.place) == (303, "/login")
    assert "max-age=0" in out.headers["set-cookie"].lower()
    assert (await pat.get("/account")).code == "PC4001"


async def test_a_page_says_when_the_login_ends_soon(house):
    soon = (await house.person("bea", ttl=200).get("/account")).text
    late = (await house.person("bea", ttl=2000).get("/account")).text
    assert 'id="login-ends" role="status">' in soon
    assert 'id="login-ends" role="status" hidden>' in late
    assert "/login?again=1&amp;next=%2Faccount" in soon


async def test_a_page_does_not_take_longer_than_the_eye(house, pat):
    await pat.get("/account")
    began = time.monotonic()
    for _ in range(10):
        await pat.get("/account")
    assert (time.monotonic() - began) / 10 < 0.2


async def test_an_address_that_is_no_page_says_so_to_people_only(house, pat):
    html = {"accept": "text/html,application/xhtml+xml"}
    shown = await pat.get("/nothing/here", **html)
    assert (shown.status, shown.code) == (404, "PC1010")
    assert "<!doctype html>" in shown.text
    unknown = await house.nobody().get("/nothing/here", **html)
    assert (unknown.status, unknown.place) == (303, "/login?next=%2Fnothing%2Fhere")
    for path in ("/nothing/here", "/api/v1/nothing"):
        program = await house.nobody().get(path, accept="application/json")
        assert (program.status, program.json()["code"]) == (401, "PC2001")
    assert (await pat.get("/api/v1/nothing", **html)).json()["code"] == "PC2001"


async def test_who_logs_in_again_over_a_form_comes_back_to_its_page(house):
    person = house.nobody()
    ended = await person.send("/logout", {"csrf": "x"}, referer=f"{person.base}/account?x=1")
    assert (ended.status, ended.code) == (401, "PC2001")
    assert 'href="/login?next=%2Faccount%3Fx%3D1"' in ended.text
    elsewhere = await person.send("/logout", {"csrf": "x"}, referer="https://evil.example/live")
    assert 'href="/login?next=%2F"' in elsewhere.text
