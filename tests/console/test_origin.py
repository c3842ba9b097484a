"""A console behind a proxy that terminates TLS, where a passkey is asked for."""

import pytest

import standins
from authenticators import Authenticator
from console.people import Person, housed
from e2e.approvals.desk import furnished, policy
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import CONSOLE

pytestmark = pytest.mark.anyio

ORIGIN = "https://portcullis.example"
NAME = "__Host-portcullis"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    settings = {"console": {"origin": ORIGIN, "passkeys": "required"}}
    settings["break_glass"] = {"may": ["approver"]}
    folder = tmp_path_factory.mktemp("proxied")
    async with (
        standins.staged(folder, policy=policy(), settings=settings) as stage,
        housed(await furnished(stage)) as made,
    ):
        yield made


class Proxied(Person):
    """Somebody whose browser is at the other side of the proxy."""

    async def ask(self, method, path, data, headers):
        said = {"host": "portcullis.example"} | headers
        if said.get("origin") == self.base:
            said["origin"] = ORIGIN
        if self.token:
            said["cookie"] = f"{NAME}={self.token}"
        return await super().ask(method, path, data, said)


@pytest.fixture
def person(house):
    return Proxied(house.http, house.base)


async def test_the_cookie_is_for_https_and_this_host_alone(house, person):
    done = await person.send("/login/link", {"once": house.link()})
    said = done.headers["set-cookie"]
    assert said.startswith(f"{NAME}=ey")
    parts = {part.strip().lower() for part in said.split(";")[1:]}
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= parts
    assert not any(part.startswith("domain") for part in parts)
    person.into(done)
    assert (await person.get("/account")).status == 200
    plain = Person(house.http, house.base, person.token)  # under the other name it is no login
    assert (await plain.get("/account", cookie=f"{NAME}={person.token}")).status == 303


async def test_a_form_must_come_from_the_name_that_was_asked(house, person):
    refused = await person.send("/login/link", {"once": house.link()}, origin="http://localhost")
    assert refused.code == "PC2081"
    refused = await person.send(
        "/login/link", {"once": house.link()}, origin="http://portcullis.example"
    )
    assert refused.code == "PC2081"


async def test_a_password_alone_reaches_the_account_and_nothing_else(house, person):
    known = await house.enrol(await house.new("una", "admin"))
    done = person.into(await person.send("/login", known.fields(next="/")))
    assert (done.status, done.place) == (303, "/account")
    assert (await person.get("/account")).status == 200
    bearer = {"authorization": f"Bearer {person.token}"}
    assert (await house.api("GET", "/api/v1/version", **bearer)).code == "PC2032"
    renewed = await house.http.post(
        f"{house.desk.stage.gate.gate_url}/v1/token",
        data={
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": person.token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        },
    )
    assert "PC2032" in await renewed.text()
    refused = await house.api("POST", "/api/v1/login", known.fields())
    assert (refused.status, refused.code) == (403, "PC2086")

    phone = Authenticator()
    assert (await person.add(phone, origin=ORIGIN)).status == 200
    shown = await person.show(phone, origin=ORIGIN)
    assert shown.json() == {"next": "/"}
    roles = house.services.authority.verify(person.token, CONSOLE).roles
    assert roles == ("admin",)
    await standins.eventually(
        house.desk.stage,
        lambda e: (
            e.method == "login"
            and e.principal_kind == PrincipalKind.OPERATOR
            and e.parameters.get("by") == "passkey"
        ),
    )


async def test_a_phished_password_adds_no_passkey_beside_ones_own_and_removes_none(house, person):
    name = await house.new("kim", "admin")
    known = await house.enrol(name)
    person.into(await person.send("/login", known.fields()))
    assert (await person.add(Authenticator(), origin=ORIGIN)).status == 200
    mallory = Proxied(house.http, house.base)
    mallory.into(await mallory.send("/login", known.fields()))
    assert (await mallory.add(Authenticator(), origin=ORIGIN)).code == "PC2086"
    kept = house.services.passkeys.of(name)
    refused = await mallory.act("/account/passkeys/remove", passkey=kept[0].id)
    assert refused.code == "PC2086"
    assert house.services.passkeys.of(name) == kept


async def test_where_passkeys_are_required_a_password_breaks_no_glass_and_a_passkey_does(
    house, person
):
    name = await house.new("gil", "approver")
    known, phone = await house.enrol(name), Authenticator()
    person.into(await person.send("/login", known.fields()))
    assert (await person.act("/glass/begin")).code == "PC2086", "this login has no roles"
    assert (await person.add(phone, origin=ORIGIN)).status == 200
    await person.show(phone, origin=ORIGIN)
    page = (await person.get("/glass")).text
    assert ("glass-passkey" in page, "glass-password" in page) == (True, False)
    shown = known.fields()
    wanted = {"reason": "nobody is awake", "minutes": "5"}
    fields = {**wanted, "password": shown["password"], "code": shown["code"]}
    refused = await person.act("/glass/begin", **fields)
    assert (refused.code, refused.cookie) == ("PC2086", "")
    begun = (await person.act("/glass/passkey/begin")).json()
    answer = phone.show(begun["options"], origin=ORIGIN)
    shown = {"ceremony": begun["ceremony"], "credential": answer}
    done = person.into(await person.act("/glass/passkey", **wanted, **shown))
    assert done.json() == {"next": "/"}
    raised = house.services.authority.verify(person.token, CONSOLE)
    assert (raised.roles, bool(raised.glass)) == (("admin", "approver"), True)
