"""If these fail, the fleet of deploy/compose does not come up, or its parts miss each other.

There is no container engine here. What stands in the files is held against itself, and the
services' own commands run in bubblewrap, with their own configurations, over real servers.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml

from deployed import DEPLOY
from effort import by_night
from needs import needs_redis
from objectstores import s3_server
from portcullis.cli import command
from portcullis.config import load
from ports import free_port
from postgres_servers import needs_postgresql, postgres_server
from redis_servers import redis_server

FOLDER = DEPLOY / "compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = [name for name, one in SERVICES.items() if one["image"].startswith("${PORTCULLIS_IMAGE")]
KNOWN = {
    *("image", "command", "user", "read_only", "cap_drop", "security_opt", "restart", "init"),
    *("stop_grace_period", "ulimits", "tmpfs", "depends_on", "volumes", "networks"),
    *("network_mode", "healthcheck", "ports", "environment", "entrypoint", "cap_add"),
}
"""The keys of the Compose specification that are used: a misspelt one would be refused."""
READY = "raise SystemExit(c.getresponse().status != 200)"


def mounts(service):
    return {one["target"]: one["source"] for one in SERVICES[service]["volumes"]}


def configured(service):
    return load(FOLDER / mounts(service)["/etc/portcullis/portcullis.yaml"])


def made(folder):
    """The secrets, as `prepare` makes them."""
    done = subprocess.run(
        [FOLDER / "prepare", folder], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stderr
    for path in (folder, *folder.iterdir()):  # as root it gives them to the images' user
        os.chown(path, os.getuid(), os.getgid())
    return folder


def test_every_name_in_the_file_is_the_name_of_something(tmp_path):
    secrets = made(tmp_path / "secrets")
    again = subprocess.run(
        [FOLDER / "prepare", secrets], capture_output=True, check=False, timeout=20
    )
    assert again.returncode != 0, "it would replace the key that opens everything"
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets.iterdir())
    for name, one in SERVICES.items():
        assert one.keys() <= KNOWN, name
        assert set(one["depends_on"]) <= SERVICES.keys() if "depends_on" in one else True
        assert ("network_mode" in one) != ("networks" in one)
        assert set(one.get("networks", ())) <= COMPOSE["networks"].keys()
        assert one["security_opt"] == ["no-new-privileges:true"]
        for mount in one["volumes"]:
            if mount["type"] == "volume":
                assert mount["source"] in COMPOSE["volumes"]
            elif mount["source"].startswith("./secrets"):
                assert (tmp_path / mount["source"]).exists(), mount["source"]
            else:
                assert (FOLDER / mount["source"]).exists(), mount["source"]
    named = set(re.findall(r"\$\{(\w+)(?::[-?][^}]+)?\}", (FOLDER / "compose.yaml").read_text()))
    assert named == {
        "PORTCULLIS_IMAGE",
        "HAPROXY_IMAGE",
        "POSTGRES_IMAGE",
        "VALKEY_IMAGE",
        "S3_IMAGE",
    }


def test_every_process_of_ours_is_a_command_and_stops_when_it_has_drained():
    assert OURS == ["control", "gateway-1", "gateway-2"]
    folders = [mounts(name)["/var/lib/portcullis"] for name in OURS]
    assert len(set(folders)) == len(OURS), "each has a state folder of its own"
    for name in OURS:
        one, config = SERVICES[name], configured(name)
        verb, *words = one["command"]
        taken = command(verb).make_context(verb, list(words)).params
        assert (verb == "gateway") is config.apart
        if verb == "gateway":
            assert taken["name"] == name
            assert taken["listen"] == [f"relay={name}:7304"] or taken["listen"] == (
                f"relay={name}:7304",
            )
        limits = config.limits
        grace = float(one["stop_grace_period"].removesuffix("s"))
        assert grace >= limits.drain_notice_seconds + limits.drain_seconds + 30
        assert (one["read_only"], one["cap_drop"], one["init"]) == (True, ["ALL"], False)
        asked = one["healthcheck"]["test"][-1]
        port = int(re.search(r"127\.0\.0\.1', (\d+)", asked)[1])
        assert port == int((config.listen.gate if config.apart else config.listen.control)[-4:])
        assert asked.endswith(READY)


def test_what_listens_is_where_the_others_look_for_it(tmp_path):
    secrets = made(tmp_path / "secrets")
    balancer = (FOLDER / "config/haproxy.cfg").read_text()
    binds = set(re.findall(r"bind :(\d+)", balancer))
    published = {one.partition(":")[0] for one in SERVICES["balancer"]["ports"]}
    assert binds == published == {"7302", "7303"}
    servers = dict(re.findall(r"^ +server \S+ (\S+):(\d+)", balancer, re.MULTILINE))
    assert servers == {"gateway-1": "7302", "gateway-2": "7302", "control": "7303"}
    for name, port in servers.items():
        listen = configured(name).listen
        assert (listen.mtls if configured(name).apart else listen.bootstrap) == f"0.0.0.0:{port}"
        assert set(SERVICES[name]["networks"]) & set(SERVICES["balancer"]["networks"])
    (replica,) = configured("control").audit.replicate
    assert replica.endpoint == "http://s3:9000"
    assert "-s3.port=9000" in SERVICES["s3"]["command"]
    socket = re.search(r"unixsocket (\S+)", (FOLDER / "config/valkey.conf").read_text())[1]
    assert (secrets / "valkey.url").read_text() == f"unix://{socket}"
    (place,) = [one.partition("=")[2] for one in SERVICES["postgres"]["command"]
                if one.startswith("unix_socket_directories=")]  # fmt: skip
    assert (secrets / "store.url").read_text().endswith(f"?host={place}")
    for name in OURS:
        assert mounts(name)[place] == mounts("postgres")[place] == "postgres-socket"
        assert mounts(name)["/run/valkey"] == mounts("valkey")["/run/valkey"]
        one, other = configured(name), configured("control")
        for section in ("trust_domain", "keys", "store", "feed", "counters", "shared", "audit"):
            assert getattr(one, section) == getattr(other, section), section


def test_the_server_that_is_not_root_is_given_its_volumes_before_it_starts():
    """An engine makes a volume root's, or whoever's the image has the folder: not this user's."""
    given, server = SERVICES["volumes"], SERVICES["valkey"]
    assert server["depends_on"] == {"volumes": {"condition": "service_completed_successfully"}}
    assert (given["user"], given["cap_add"], given["restart"]) == ("0:0", ["CHOWN"], "no")
    owned = [one for one in server["volumes"] if one["type"] == "volume"]
    assert given["volumes"] == owned
    assert all(one["volume"] == {"nocopy": True} for one in owned)
    folders = [one["target"] for one in owned]
    assert given["entrypoint"] == ["chown", server["user"], *folders]


@needs_postgresql
@needs_redis
@by_night("three processes and three servers")
@pytest.mark.timeout(240)
def test_the_services_commands_come_up_together_and_drain(tmp_path):
    """Their configurations with other places: folders, addresses, and no name of the network's."""
    secrets = made(tmp_path / "secrets")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        (secrets / "store.url").write_text(server.url(server.make()))
        valkey = stack.enter_context(redis_server(tmp_path, "--appendonly", "yes"))
        (secrets / "valkey.url").write_text(valkey)
        s3 = stack.enter_context(s3_server())
        s3.bucket("portcullis", lock=False)
        running = {name: stack.enter_context(started(name, tmp_path, s3.url)) for name in OURS}
        until = time.monotonic() + 120
        for name, (process, port) in running.items():
            while not ready(port):
                said = (tmp_path / f"{name}.log").read_text()
                assert process.poll() is None, said
                assert time.monotonic() < until, said
                time.sleep(0.2)
        for name in reversed(OURS):
            running[name][0].terminate()
            assert running[name][0].wait(timeout=90) == 0, (tmp_path / f"{name}.log").read_text()
        shipped = {
            key.removeprefix("logs/")
            for one in s3.client.list_objects_v2(Bucket="portcullis")["Contents"]
            if (key := one["Key"]).endswith("/checkpoint")
        }
        assert shipped == {f"{name}/checkpoint" for name in OURS}


@contextlib.contextmanager
def started(name, folder, s3):
    """A service's process, and the port at which it says whether it is ready."""
    ports = {port: str(free_port()) for port in ("7300", "7301", "7302", "7303")}
    text = (FOLDER / mounts(name)["/etc/portcullis/portcullis.yaml"]).read_text()
    text = text.replace("/var/lib/portcullis", str(folder / name)).replace("http://s3:9000", s3)
    text = text.replace("/etc/portcullis/secrets", str(folder / "secrets"))
    text = text.replace("/etc/portcullis/policy", str(FOLDER / "policy"))
    text = re.sub(r"0\.0\.0\.0:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)
    plain = f"  gate: 127.0.0.1:{ports['7300']}\n  control: 127.0.0.1:{ports['7301']}\n"
    config = folder / f"{name}.yaml"
    config.write_text(text.replace("listen:\n", f"listen:\n{plain}"))
    (folder / name).mkdir(mode=0o700)
    words = [
        one.replace("/etc/portcullis/portcullis.yaml", str(config))
        for one in SERVICES[name]["command"]
    ]
    words = [re.sub(r"^relay=.*", f"relay=127.0.0.1:{free_port()}", one) for one in words]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from portcullis.cli import main; main()", *words],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process, ports["7300" if configured(name).apart else "7301"]
    finally:
        process.kill()
        process.wait(timeout=10)


def ready(port):
    url = f"http://127.0.0.1:{port}/readyz"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return answer.status == 200
    return False
