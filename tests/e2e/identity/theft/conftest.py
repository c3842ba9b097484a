"""One gate for all cases but those that slow it down, and the table at the end of a run."""

import pytest

from e2e.identity.theft.cases import load
from e2e.identity.theft.deployment import deployed

RESULTS = pytest.StashKey[dict]()


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def town(anyio_backend, tmp_path_factory):
    async with deployed(tmp_path_factory.mktemp("town"), load()) as made:
        yield made


@pytest.fixture
def outcome(request):
    """Where a case writes what it got, whether it held or not."""
    return request.config.stash.setdefault(RESULTS, {})


def pytest_terminal_summary(terminalreporter, config):
    results = config.stash.get(RESULTS, {})
    if not results:
        return
    terminalreporter.section("credential theft")
    for case, got in results.values():
        wanted = f"{case.code} {'|'.join(map(str, case.statuses))}"
        held = "held" if got.get("held") else "NOT HELD"
        said = f"{got.get('code') or '-'} {got.get('status', '-')}"
        recorded = got.get("recorded", "-")
        terminalreporter.line(
            f"{held:8} {case.id:28} {case.surface:15} expect {wanted:32} got {said:28} {recorded}"
            + ("" if got.get("held") else f"  [{got.get('note', '')}]")
        )
    held = sum(bool(got.get("held")) for _, got in results.values())
    terminalreporter.line(f"held/total: {held}/{len(results)}")
