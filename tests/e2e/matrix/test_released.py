"""If these fail, one person alone changes what agents may do."""

import asyncio

import msgspec
import pytest
import yaml

from e2e.matrix.cells import EVERY, cells
from e2e.matrix.deployment import deployed, operator
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.release import File

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("released")
    async with deployed(folder, policy_changes={"approvals": 1}) as made:
        (file,) = load(made.config).policy.glob("*.yaml")
        file.write_text(nothing(file.read_text()))  # which its owner may write, and nobody obeys
        made.stage.gate.reload_policy()
        yield made


def nothing(text):
    """A policy that knows the same agents and grants them nothing."""
    said = yaml.safe_load(text)
    roles = {name: {} for name in said["roles"]}
    return yaml.safe_dump({"version": 1, "agents": said["agents"], "roles": roles})


def by(name):
    asked = operator()
    return msgspec.structs.replace(
        asked, principal=msgspec.structs.replace(asked.principal, id=name)
    )


async def until_it(route, *, passes):
    """Every process follows within a second."""
    async with asyncio.timeout(20):
        while (seen := await route.good()).passed is not passes:
            pass
    return seen


@cells("policy-release", "request", *EVERY)
async def test_a_policy_takes_force_when_somebody_else_has_approved_it(route, deployment):
    releasing = deployment.stage.gate.services.releasing("test")
    await until_it(route, passes=True)  # whatever the folder says
    (file,) = load(deployment.config).policy.glob("*.yaml")
    files = (File(name=f"policy/{file.name}", text=file.read_text()),)
    made = await releasing.propose(by("ann"), files, "nothing at all")
    for code, refused in (
        ("PC7032", releasing.activate(by("ann"), made.number)),
        ("PC7033", releasing.approve(by("local-ann"), made.number, "mine")),
    ):
        with pytest.raises(Problem, match=code):
            await refused
    assert (await route.good()).passed
    await releasing.approve(by("bob"), made.number, "read it")
    active = await releasing.activate(by("ann"), made.number)
    try:
        seen = await until_it(route, passes=False)
        assert seen.code.startswith("PC3")
    finally:
        await releasing.rollback(by("bob"), made.number, "the test is over")
    assert (await until_it(route, passes=True)).passed
    deciders = {event.policy for event in route.events() if event.code == seen.code}
    assert active.digest in deciders
