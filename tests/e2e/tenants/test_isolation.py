"""If these fail, what one tenant of a provider has is good at another's, or is seen there."""

import asyncio
import contextlib
import os
import resource
import signal
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis as redis_client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import make_url

import commands
import standins
from e2e.processes.fleet import COUNTED, LOOK, runs, until
from e2e.tenants.provider import PARENT, Provider, code
from needs import needs_redis
from portcullis.bootstrap import authority_of, local_operator, signed_order
from portcullis.bootstrap.bundles import signing_key
from portcullis.bootstrap.tenants_database import gone
from portcullis.cli.remote import Remote
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import LINK
from portcullis.policy.bundles.layout import opened
from postgres_servers import needs_postgresql, postgres_server
from redis_servers import redis_server

pytestmark = [pytest.mark.anyio, needs_postgresql, needs_redis]

SERVERS = ("--database-admin", "env:PG_ADMIN", "--redis-admin", "env:REDIS_ADMIN")


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def pair(tmp_path_factory, anyio_backend):
    """Two tenants that run, with the same agents, tools and policy but for one agent each."""
    folder = tmp_path_factory.mktemp("provider")
    with closed_redis(folder) as redis, closed_postgres() as postgres:
        async with standins.tools_alone(folder) as (tools, credential, _):
            provider = Provider(folder / "tenants", postgres, redis)
            found = []
            for name in ("acme", "globex"):
                one = await asyncio.to_thread(provider.create, name, "--ports", PORTS, *SERVERS)
                (one.folder / "environment").write_text(f"TOOLS={credential}\nWHOSE={name}\n")
                (one.folder / "environment").chmod(0o600)
                one.extend(
                    guard={"program": {}},
                    limits={"drain_seconds": 1},
                    tokens={"bearer": "loopback", "ttl_seconds": 3600},
                    mcp={"orders": {"url": tools["orders"], "credential": "env:TOOLS"}},
                )
                found.append(one)
            with passwords(postgres, *found):
                async with provider.running(*found):
                    for one in found:
                        await one.register()
                    yield provider, *found


PORTS = "26000-26999"


@contextlib.contextmanager
def closed_redis(folder):
    """A server that nobody comes to without a password; an administrator's address."""
    with redis_server(folder) as url:
        with redis_client.from_url(url) as first:
            everything = ("~*", "&*", "+@all")
            first.execute_command("ACL", "SETUSER", "admin", "on", ">of-the-admin", *everything)
            first.execute_command("ACL", "SETUSER", "default", "off")
        yield url.replace("unix://", "unix://admin:of-the-admin@")


@contextlib.contextmanager
def closed_postgres():
    """A server of theirs alone: nobody comes to its own databases whom they are not opened to."""
    with postgres_server() as server:
        server.sql("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        yield server


@contextlib.contextmanager
def passwords(server, *tenants):
    """Have the server ask these tenants' roles for their passwords, as one that is not a test's.

    Afterwards they are gone.
    """
    lines = "".join(f"local all portcullis_{one.name} scram-sha-256\n" for one in tenants)
    with let_in(server, lines):
        try:
            yield
        finally:
            for one in tenants:
                server.end_connections(f"portcullis_{one.name}")
                for statement in gone(one.name):
                    server.sql(statement)


@contextlib.contextmanager
def let_in(server, lines):
    """More lines at the head of whom it lets in how."""
    place = server.folder / "data" / "pg_hba.conf"
    before = place.read_text()
    place.write_text(lines + before)
    server.sql("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        place.write_text(before)
        server.sql("SELECT pg_reload_conf()")


async def test_no_credential_of_a_tenants_is_one_at_anothers(pair):
    _, acme, globex = pair
    _, agent = await acme.session(acme.own)
    assert "code" not in await acme.look(agent)
    assert (await globex.look(agent))["code"] == "PC2031"
    assert await globex.session(COUNTED, acme.application) == ("", "PC2031")
    for token, status in ((acme.operator(), (401, "PC2031")), (globex.operator(), (200, ""))):
        assert code(await globex.control("GET", "/api/v1/kills", token)) == status
    join = await acme.asked(
        lambda remote: remote.join(PrincipalKind.AGENT, acme.own, ttl=600).token
    )
    asked = {"csr": request(), "join_token": join}
    assert code(await globex.gate("POST", "/v1/svid", json=asked)) == (403, "PC2061")
    assert (await acme.gate("POST", "/v1/svid", json=asked)).status_code == 201


def request():
    """Somebody's wish for a certificate of his key."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


async def test_no_certificate_of_a_tenants_is_trusted_at_anothers(pair):
    _, acme, globex = pair
    for path in (f"/agent/{acme.own}", "/gateway/gate"):
        context = await asyncio.to_thread(acme.issued, path)
        assert await greeted(acme, context) == "HTTP/1.1"
        with pytest.raises(ssl.SSLCertVerificationError):
            await greeted(globex, context)
        context.verify_mode = ssl.CERT_NONE  # one that does not look whom it speaks to
        assert await greeted(acme, context) == "HTTP/1.1"
        assert await greeted(globex, context) == ""


async def greeted(tenant, context):
    """The first word that a listener for certificates says; "" when it hangs up."""
    where = urlsplit(tenant.running.mtls)
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return (await reader.readline()).decode().partition(" ")[0]
        except OSError:  # the handshake ends only after ours has
            return ""
        finally:
            writer.transport.abort()


async def test_nothing_that_was_begun_at_a_tenants_goes_on_at_anothers(pair):
    _, acme, globex = pair
    (session, own), (_, other) = await acme.session(COUNTED), await globex.session(COUNTED)
    call = (await acme.look(own))["call"]
    path = f"/v1/calls/{call}/result"
    refused = await globex.gate("POST", path, other, json={"result": "x"})
    assert code(refused) == (404, "PC5020")
    assert (await acme.gate("POST", path, own, json={"result": "x"})).status_code == 200
    closed = await globex.gate("DELETE", f"/v1/sessions/{session}", globex.application)
    assert code(closed) == (404, "PC2010")
    conversation = await initialized(acme, own)
    listed = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    for tenant, token, wanted in ((globex, other, (404, "PC1035")), (acme, own, (200, ""))):
        head = MCP | {"mcp-session-id": conversation}
        answer = await tenant.gate("POST", "/mcp/orders", token, json=listed, headers=head)
        assert (answer.status_code, wanted[1] in answer.text) == (wanted[0], True)


MCP = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


async def initialized(tenant, token):
    """The id of a new legacy session of MCP."""
    about = {"name": "t", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    answer = await tenant.gate("POST", "/mcp/orders", token, json=asked, headers=MCP)
    assert answer.status_code == 200, answer.text
    return answer.headers["mcp-session-id"]


async def test_what_people_decide_at_a_tenants_is_not_decided_at_anothers(pair):
    _, acme, globex = pair
    _, token = await acme.session(acme.own)
    schema = {"type": "object", "properties": {"to": {"type": "string"}}}
    tool = {"name": "glance", "description": "Glances.", "inputSchema": schema}
    mail = LOOK | {"tool": tool, "arguments": {"to": "ada@customer.example"}}
    held = (await acme.gate("POST", "/v1/calls", token, json=mail)).json()
    approval, body = held["approval"], {"reason": "it looks good"}
    path = f"/api/v1/approvals/{approval}"
    assert code(await acme.control("GET", path, acme.operator()))[0] == 200
    for where in (path, f"{path}/approve"):
        method = "GET" if where == path else "POST"
        more = {} if where == path else {"json": body}
        assert code(await globex.control(method, where, acme.operator(), **more))[0] == 401
        assert code(await globex.control(method, where, globex.operator(), **more))[0] == 404
    link = authority_of(acme.config).mint(
        PrincipalKind.OPERATOR, local_operator(), ttl=60, roles=("admin",), audience=LINK
    )
    for one, status in ((globex, 401), (acme, 303)):
        origin = {"origin": one.running.control}
        form = {"once": link.token}
        entered = await one.control("POST", "/login/link", data=form, headers=origin)
        assert (entered.status_code, bool(entered.cookies)) == (status, status == 303)
    cookie = {"cookie": f"portcullis={entered.cookies['portcullis']}"}
    inside = await acme.control("GET", f"/approvals/{approval}", headers=cookie)
    outside = await globex.control("GET", f"/approvals/{approval}", headers=cookie)
    assert (inside.status_code, approval in inside.text) == (200, True)
    assert outside.status_code == 401
    for name, known in ((acme.name, True), (globex.name, False), ("portcullis", False)):
        port = urlsplit(acme.running.control).port  # a browser shows a cookie to one name alone
        asked = cookie | {"host": f"{name}.localhost:{port}"}
        answer = await acme.control("GET", f"/approvals/{approval}", headers=asked)
        assert (answer.status_code == 200) is known
    assert "ada@customer.example" not in outside.text


async def test_orders_and_releases_of_a_tenants_are_not_obeyed_at_anothers(pair, tmp_path):
    _, acme, globex = pair
    order = await asyncio.to_thread(signed_order, acme.config, "kill", "fire")
    with pytest.raises(Problem, match="PC4003"):
        await asyncio.to_thread(Remote(globex.running.control, None).order, order)
    archive = tmp_path / "acme.tar.gz"
    done = await asyncio.to_thread(
        *(commands.run, "policy", "release", "bundle", "1", "-o", archive), cwd=acme.folder
    )
    assert done.returncode == 0, done.stderr
    keys = [signing_key(one.config).public_key() for one in (acme, globex)]
    assert opened(archive.read_bytes(), keys[0]).number == 1
    with pytest.raises(Problem, match="PC7037"):
        opened(archive.read_bytes(), keys[1])


async def test_what_a_tenant_uses_up_or_stops_is_left_to_the_other(pair):
    _, acme, globex = pair
    (_, own), (_, other) = await acme.session(COUNTED), await globex.session(COUNTED)
    codes = [(await acme.look(own)).get("code") for _ in range(11)]
    assert codes[-1] == "PC3070"
    assert (await globex.look(other)).get("code") is None
    order = await asyncio.to_thread(signed_order, acme.config, "kill", "fire")
    await asyncio.to_thread(Remote(acme.running.control, None).order, order)
    assert (await acme.look(own))["code"] == "PC4001"
    assert (await globex.look(other)).get("code") is None
    undo = await asyncio.to_thread(signed_order, acme.config, "undo", "over")
    await asyncio.to_thread(Remote(acme.running.control, None).order, undo)


async def test_nothing_of_a_tenants_is_in_what_another_keeps_or_shows(pair):
    provider, acme, globex = pair
    _, token = await acme.session(acme.own)
    assert "code" not in await acme.look(token)
    shown = await globex.control("GET", "/metrics", globex.operator())
    assert shown.status_code == 200
    assert not {acme.name, acme.own} & set(shown.text.replace('"', " ").split())

    def kept(one):
        dump = provider.server.sql(_ALL_ROWS, f"portcullis_{one.name}")
        return f"{one.events()} {dump}"

    await until(lambda: acme.own in kept(acme), 30)
    assert acme.own not in kept(globex)
    assert acme.own not in shown.text


_ALL_ROWS = """
SELECT query_to_xml('SELECT * FROM public.' || quote_ident(tablename), false, false, '')::text
FROM pg_tables WHERE schemaname = 'public'
"""


async def test_servers_that_both_use_let_nobody_at_what_is_the_others(pair):
    provider, acme, globex = pair
    found = await asyncio.to_thread(provider.check)
    assert found == {"ok": True, "tenants": ["acme", "globex"], "findings": []}
    own, other = (make_url(one.secret("database.url")) for one in (acme, globex))
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        entered(other.set(username=own.username, password=own.password))
    with pytest.raises(psycopg.OperationalError, match="password"):
        entered(other.set(password=own.password))
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        entered(own.set(database="template1"))
    with entered(own) as inside, pytest.raises(psycopg.errors.InsufficientPrivilege):
        inside.execute("CREATE ROLE more")
    key = f"portcullis:{{globex.{PARENT}/probe}}:probe"
    with redis_client.from_url(acme.secret("shared.url")) as client:
        assert client.get(key.replace("globex", "acme")) is None
        for word in (("GET", key), ("DEL", key), ("EVAL", "return 1", 1, key), ("SCAN", 0)):
            with pytest.raises(redis_client.exceptions.NoPermissionError):
                client.execute_command(*word)
    with redis_client.from_url(acme.secret("feed.url")) as client:
        assert client.publish(f"portcullis:acme.{PARENT}:feed:probe", b"") == 0
        with pytest.raises(redis_client.exceptions.NoPermissionError):
            client.publish(f"portcullis:globex.{PARENT}:feed:frames", b"stop")


def entered(url):
    return psycopg.connect(url.render_as_string(hide_password=False))


async def test_an_auditor_sees_what_was_opened(pair):
    provider, acme, _ = pair
    provider.server.sql("GRANT CONNECT ON DATABASE portcullis_globex TO portcullis_acme")
    with redis_client.from_url(provider.redis) as admin:
        admin.execute_command("ACL", "SETUSER", "portcullis-acme-shared", "~*", "+scan")
        acme.folder.chmod(0o750)
        try:
            found = (await asyncio.to_thread(provider.check, 1))["findings"]
        finally:
            acme.folder.chmod(0o700)
            provider.server.sql("REVOKE CONNECT ON DATABASE portcullis_globex FROM portcullis_acme")
            rules = "resetkeys", f"~portcullis:{{acme.{PARENT}/*", "-scan"
            admin.execute_command("ACL", "SETUSER", "portcullis-acme-shared", *rules)
    assert {one["code"] for one in found} == {"PC7096"}
    assert all(one["hint"] for one in found)
    about = {(*one["tenants"],): one["found"] for one in found}
    assert "open to others" in found[0]["found"]
    assert len(found) == 4
    assert "GET, DEL, EVAL" in about["acme", "globex"]
    assert any("may connect to the database portcullis_globex" in one["found"] for one in found)
    assert "SCAN" in about["acme",]


async def test_an_auditor_sees_whom_a_server_lets_in_unasked(pair):
    provider, acme, _ = pair
    most = "ALTER ROLE portcullis_acme CONNECTION LIMIT"
    provider.server.sql(f"{most} -1")
    provider.server.sql("GRANT CONNECT ON DATABASE template1 TO portcullis_acme")
    with redis_client.from_url(provider.redis) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "on", "nopass")
        admin.execute_command("ACL", "SETUSER", "portcullis-acme-shared", "nopass")
        try:
            with let_in(provider.server, "local all portcullis_acme trust\n"):
                found = (await asyncio.to_thread(provider.check, 1))["findings"]
        finally:
            secret = make_url(acme.secret("shared.url").replace("unix:", "x:")).password
            again = ("resetpass", f">{secret}")
            admin.execute_command("ACL", "SETUSER", "portcullis-acme-shared", *again)
            admin.execute_command("ACL", "SETUSER", "default", "off")
            provider.server.sql("REVOKE CONNECT ON DATABASE template1 FROM portcullis_acme")
            provider.server.sql(f"{most} 40")
    said = {(*one["tenants"], one["found"].partition(";")[0]) for one in found}
    connections = "the 197 connections of PostgreSQL, of which their roles may have more together"
    assert said == {
        ("acme", "globex", connections),
        ("acme", "the role portcullis_acme may connect to more than its own"),
        ("acme", "PostgreSQL lets the role portcullis_acme in with any password"),
        ("acme", "Redis lets the user portcullis-acme-shared in with any password"),
        ("acme", "Redis lets everybody in as the user default, without a password"),
        ("globex", "Redis lets everybody in as the user default, without a password"),
    }


async def test_one_that_dies_or_stands_still_is_no_others_trouble(pair):
    provider, acme, globex = pair
    pid, other = acme.pid, globex.pid
    variables = (Path(f"/proc/{one}/environ") for one in (pid, other))
    whose = [one.read_bytes().split(b"\0") for one in variables]
    assert [b"WHOSE=acme" in one for one in whose] == [True, False]
    assert not [name for one in whose for name in one if name.startswith(b"OF_THE_PROVIDER")]
    assert resource.prlimit(pid, resource.RLIMIT_DATA) == (2**30, 2**30)
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[1] == 4096
    _, token = await globex.session(COUNTED)
    os.kill(pid, signal.SIGSTOP)
    assert (await globex.look(token)).get("code") is None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: acme.pid not in {0, pid})
    assert globex.pid == other
    assert (await globex.look(token)).get("code") is None
    assert '{"tenant": "acme", ' in provider.log()
    assert "acme: end process" in provider.log()
    pid = acme.pid
    provider.process.kill()  # not even then is one left
    await until(lambda: not runs(pid) and not runs(other))
