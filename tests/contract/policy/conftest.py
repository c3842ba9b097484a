"""Every policy decision point passes this suite; a new adapter is one more parameter."""

import pytest

from policies import SUPPORT, pdp_of


@pytest.fixture(params=[pdp_of], ids=["regorus"])
def make_pdp(request):
    return request.param


@pytest.fixture
def pdp(make_pdp):
    return make_pdp(SUPPORT)
