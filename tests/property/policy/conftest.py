import pytest

from portcullis.policy import slices


@pytest.fixture(autouse=True, scope="module")
def each_role_apart():
    """As a large policy is divided: every role has a document of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "PART", 1)
        yield
