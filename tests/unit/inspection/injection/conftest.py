from pathlib import Path

import pytest

from portcullis.inspection.injection import Injection


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("databases")


@pytest.fixture(scope="session")
def injection(folder: Path) -> Injection:
    return Injection(folder=folder)


@pytest.fixture(scope="session")
def plain() -> Injection:
    """Without Hyperscan."""
    return Injection(accelerated=False)
