"""If this fails, an agent goes where it may go only on terms, or where a rule of its own denies."""

import pytest

from e2e.egress.asking import cell, connect, first
from e2e.egress.rules import OPEN, PLAIN, TERMED
from e2e.egress.stage import code_in

pytestmark = pytest.mark.anyio


@cell("conditions", "request")
@cell("hand-written", "request")
async def test_a_host_is_reached_only_on_the_terms_of_its_rule(stage):
    def asked(path):
        host = f"{PLAIN}:{stage.plain}"
        return first(stage, f"GET http://{host}{path} HTTP/1.1\r\nhost: {host}\r\n\r\n", TERMED)

    assert await connect(stage, f"{OPEN}:{stage.tls}") == ""
    assert await connect(stage, f"{OPEN}:{stage.tls}", TERMED) == "PC3016"
    assert (await asked("/public")).startswith("HTTP/1.1 200")
    assert code_in(await asked("/private/x")) == "PC3019"
    event = await stage.recorded("PC3016", method="CONNECT", principal=TERMED)
    assert ".environments @ " in event.rule
    await stage.recorded("PC3019", principal=TERMED, check="authorize")
