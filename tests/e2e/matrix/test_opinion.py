"""If these fail, what a second PDP does not allow happens all the same."""

import pytest

from doubting import NO, doubting
from e2e.matrix.cells import EVERY, LLM, cells
from e2e.matrix.deployment import deployed

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def doubter():
    with doubting() as made:
        yield made


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory, anyio_backend, doubter):
    opinion = {"opa": f"{doubter.url}/v1/data/other/allow", "seconds": 2}
    folder = tmp_path_factory.mktemp("opinion")
    async with deployed(folder, decisions={"opinions": {"other": opinion}}) as made:
        yield made


@cells("second-opinion", "request", *EVERY)
async def test_what_another_pdp_does_not_allow_reaches_nobody(route, doubter, recorded):
    doubter.again()
    effect = route.good if route.name in LLM else route.effect
    assert (await effect()).passed
    before, asked = len(route.effects()), len(doubter.asked)
    assert asked
    doubter.says(NO)
    assert (await effect()).code == "PC3036"
    event = await recorded("PC3036", check="opinion")
    assert (event.verdict, event.reason) == ("deny", "the PDP other does not allow it")
    assert len(route.effects()) == before
    assert len(doubter.asked) > asked
    doubter.again()
    assert (await effect()).passed
