"""If these fail, a tool or an answer is taken for what was agreed on, and is something else."""

import contextlib
import json

import pytest

import needles
from e2e.matrix.cells import LLM, MCP, cells, until

pytestmark = pytest.mark.anyio
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
ORDERS = f"Says a text. {needles.ATTACK}"


@contextlib.asynccontextmanager
async def described(deployment, description):
    """The servers say something else of their tool ``spare`` for as long as the block lasts."""
    file = deployment.folder / "tools.json"
    file.write_text(json.dumps({"spare": {"description": description}}), encoding="utf-8")
    try:
        yield
    finally:
        file.unlink()


@cells("tool-pinning", "request", *MCP)
async def test_a_tool_that_changed_is_not_called_until_it_is_as_it_was(route, deployment, recorded):
    assert (await route.call("spare", lists=True, text="x")).passed
    for description, code in (("Says a text, and more.", "PC3026"), (ORDERS, "PC3027")):
        async with described(deployment, description):
            seen = await route.call("spare", lists=True, text="do it anyway")
            assert seen.code == code
            await recorded(code, check="validate", name="spare")
            assert (await route.call("say", text="x")).passed
    assert "do it anyway" not in json.dumps(route.upstream_saw())
    assert (await route.call("spare", lists=True, text="x")).passed


@cells("tool-pinning", "result", *MCP)
async def test_a_tool_that_changed_is_not_shown(route, deployment, told):
    assert "spare" in await route.listed()
    for description, method in (
        ("Says a text. Twice.", "catalogue.changed"),
        (f"{ORDERS} At once.", "catalogue.suspect"),
    ):
        async with described(deployment, description):
            assert "spare" not in await route.listed()
            noted = [method, "spare"]
            await until(lambda noted=noted: noted in [[e.method, e.name] for e in told()], 5)
    assert "spare" in await route.listed()
    assert needles.files_with(needles.ATTACK, deployment.stage.gate.audit_directory) == []


@pytest.fixture(scope="module")
async def declared(deployment):
    """A token of a session whose answers have to fit ``SCHEMA``."""
    return (await deployment.open(output_schema=SCHEMA))[1]


@cells("output-schema", "result", "llm-json")
async def test_an_answer_that_breaks_its_sessions_schema_is_withheld(
    route, declared, recorded, tmp_path
):
    await answered(route, declared, recorded, tmp_path, pieces=False)


@cells("output-schema", "stream", *LLM)
async def test_an_answer_in_pieces_that_breaks_its_sessions_schema_is_withheld(
    route, declared, recorded, tmp_path
):
    await answered(route, declared, recorded, tmp_path, pieces=True)


async def answered(route, declared, recorded, folder, *, pieces):
    """Have a model answer well and badly, in a session that declared a schema and in another."""
    good = await route.told('{"n": 12}', folder, pieces=pieces, token=declared)
    assert good.passed
    assert json.loads(good.text) == {"n": 12}
    for bad in ("Twelve, I think.", '{"n": "twelve"}', '{"n": 12, "shadow": 1}'):
        assert (await route.told(bad, folder, pieces=pieces)).passed
        seen = await route.told(bad, folder, pieces=pieces, token=declared)
        assert seen.code == "PC3028"
        assert "welve" not in seen.text
        assert "shadow" not in "".join(seen.pieces)
        await recorded("PC3028", check="inspect")
