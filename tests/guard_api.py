"""The guard API of a test's own, on a thread of its own; it does what the test says."""

import asyncio
import contextlib
import json
import threading
import time
from dataclasses import dataclass, field

from aiohttp import web

from portcullis.core.errors import Problem


@dataclass
class GuardApi:
    """``decide`` gets a call's body, ``judge`` a result's; what they raise is answered too."""

    url: str = ""
    asked: list = field(default_factory=list)
    reported: list = field(default_factory=list)
    sessions: list = field(default_factory=list)
    asked_in: list = field(default_factory=list)
    decide: object = lambda body: {"call": "c-1", "arguments": body["arguments"]}
    judge: object = lambda body: {"result": body["result"]}

    async def handle(self, request):
        body = json.loads(await request.read())
        self.sessions.append(tuple(map(request.headers.get, ("authorization", "x-portcullis-key"))))
        known, answer = (
            (self.reported, self.judge)
            if request.path.endswith("/result")
            else (self.asked, self.decide)
        )
        known.append(body)
        if known is self.asked:
            self.asked_in.append(request.headers.get("authorization"))
        try:
            given = answer(body)
            given = await given if asyncio.iscoroutine(given) else given
        except Problem as problem:
            return web.json_response(problem.document(), status=problem.status)
        return given if isinstance(given, web.Response) else web.json_response(given)


def reports(api, count):
    """All reports, once there are as many: those that nobody waits for come later."""
    until = time.monotonic() + 5
    while len(api.reported) < count and time.monotonic() < until:
        time.sleep(0.01)
    assert len(api.reported) == count
    return api.reported


@contextlib.contextmanager
def standing_in():
    """Serve it."""
    api, ready = GuardApi(), threading.Event()
    loops, stop = [], asyncio.Event()

    async def run():
        runner = web.ServerRunner(web.Server(api.handle), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        api.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield api
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
