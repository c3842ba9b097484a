"""If these fail, the end of a long private key goes where its beginning may not."""

import base64
import random
from dataclasses import replace

import pytest

from firewalls import Detector, Wall, chat, said, streamed
from portcullis.checks.inspect import Inspect
from portcullis.checks.rules import RuleBook
from portcullis.core.inspection import Category
from portcullis.inspection import packs
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.patterns import Patterns

pytestmark = pytest.mark.anyio
HEAD, END = "-----BEGIN RSA PRIVATE KEY-----\n", "-----END RSA PRIVATE KEY-----"


@pytest.fixture(scope="module")
def patterns():
    (secrets,) = (pack for pack in packs.builtin() if pack.name == "secrets")
    return Patterns([r for r in secrets.rules if r.entity == "PRIVATE_KEY"], accelerated=False)


@pytest.fixture
def wall(patterns):
    wall = Wall(from_model={"secret": "mask"})
    inspector = Inspector(patterns, Detector(), wall.canaries)
    book = RuleBook(wall.pdp, {"PRIVATE_KEY": {Category.SECRET}})
    means = replace(wall.means, patterns=patterns, inspector=inspector, book=book)
    wall.check = Inspect(means)
    return wall


def body(size):
    data = base64.b64encode(b"\x30\x82" + random.Random(size).randbytes(size * 3 // 4)).decode()
    return "\n".join(data[at : at + 64] for at in range(0, size, 64)) + "\n"


async def answered(wall, text):
    verdict = await wall.result(chat(), said(text))
    return verdict.payload["choices"][0]["message"]["content"]


@pytest.mark.parametrize("size", [1700, 6400, 6500, 6600, 7000, 12_800, 100_000])
async def test_a_private_key_of_any_length_is_masked_to_its_end(wall, size):
    text = f"so: {HEAD}{body(size)}{END} - and more."
    assert await answered(wall, text) == "so: [PRIVATE_KEY] - and more."
    assert await answered(wall, text.partition(END)[0]) == "so: [PRIVATE_KEY]"


@pytest.mark.parametrize("size", [1700, 6400, 7000, 12_800])
@pytest.mark.parametrize("piece", [61, 20_000])
async def test_a_stream_ends_rather_than_to_give_the_rest_of_a_long_key(wall, size, piece):
    text = f"so: {HEAD}{body(size)}{END} - and more."
    out, denied = streamed(
        wall.stream(), [text[at : at + piece] for at in range(0, len(text), piece)]
    )
    if size < 6600:
        assert (out, denied) == ("so: [PRIVATE_KEY] - and more.", None)
    else:
        assert denied.code == "PC3021"
        assert out in {"", "so: ", "so: [PRIVATE_KEY]"}
