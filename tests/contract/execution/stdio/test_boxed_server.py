"""If these fail, a server that the gate starts reaches more of the machine than its box holds."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

from contract.execution.stdio.talk import ECHO, answer, ask, refused

pytestmark = pytest.mark.anyio

LOOK = """
from pathlib import Path
def reads(place):
    try:
        return Path(place).read_text()
    except OSError as error:
        return type(error).__name__
def writes(place):
    try:
        Path(place).write_text("x")
        return "written"
    except OSError as error:
        return error.strerror
for m in heard():
    if "id" in m:
        say(id=m["id"], result={
            "names": sorted(os.environ), "token": len(os.environ["TOKEN"]), "uid": os.getuid(),
            "home": os.environ["HOME"], "cwd": os.getcwd(),
            "reads": {p: reads(p) for p in m["params"]["reads"]},
            "writes": {p: writes(p) for p in m["params"]["writes"]},
            "links": [l.split(":")[0].strip() for l in reads("/proc/net/dev").splitlines()[2:]],
            "processes": [p for p in os.listdir("/proc") if p.isdigit()]})
"""


async def test_a_server_sees_what_it_is_given_and_nothing_else(open_server, tmp_path):
    for name in ("kept", "shared", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    key = secrets.token_hex(16)
    channel = await open_server(
        LOOK,
        sandbox="strict",
        cwd=tmp_path / "kept",
        mounts=(f"{tmp_path}/shared:rw",),
        env={"TOKEN": "env:SECRET"},
        environ={"SECRET": key, "OTHER": "not for it", "LANG": "C.UTF-8"},
    )
    read = [str(tmp_path / name / "file") for name in ("kept", "shared", "other")]
    places = ["/etc/shadow", *read]
    (said,) = await answer(
        channel, ask(1, reads=places, writes=[*read[:2], "/usr/x", "/scratch/x"])
    )
    found = said["result"]
    assert set(found["names"]) - {"PWD"} == {"HOME", "LANG", "PATH", "TOKEN"}
    assert (found["token"], found["uid"], found["home"]) == (len(key), 65534, "/scratch")
    assert found["cwd"] == str(tmp_path / "kept")
    assert list(found["reads"].values()) == [
        "FileNotFoundError",
        "kept",
        "shared",
        "FileNotFoundError",
    ]
    assert list(found["writes"].values()) == [
        "Read-only file system",
        "written",
        "Read-only file system",
        "written",
    ]
    assert found["links"] == ["lo"]
    assert len(found["processes"]) <= 3
    assert (tmp_path / "shared/file").read_text() == "x"


async def test_closing_ends_what_got_away_from_its_group_too(open_server, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    channel = await open_server(
        f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True:
                    open({str(shared / "beat")!r}, "w").write(str(time.time()))
                    time.sleep(0.01)
            os._exit(0)
        for m in heard():
            say(id=m["id"], result={{}})
        """,
        sandbox="strict",
        mounts=(f"{shared}:rw",),
    )
    await answer(channel, ask(1))
    async with asyncio.timeout(10):
        while not (shared / "beat").exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    began = time.monotonic()
    await channel.close(at_once=True)
    assert time.monotonic() - began < 0.8, "no moment to end by itself"
    last = (shared / "beat").read_text()
    await asyncio.sleep(0.1)
    assert (shared / "beat").read_text() == last
    assert not channel.alive


async def test_a_server_whose_profile_cannot_be_had_does_not_start(open_server):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its code is what counts
        await open_server(ECHO, sandbox="nowhere")
    assert caught.value.code == "PC5040"


async def test_a_server_that_dies_in_its_box_is_told_as_any_other(open_server):
    channel = await open_server("os.kill(os.getpid(), 9)", sandbox="strict")
    assert (await refused(channel, ask(1))).code == "PC5011"
