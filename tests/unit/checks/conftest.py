import pytest

from policies import SUPPORT, pdp_of
from portcullis.catalogue.inventory import LocalInventory
from portcullis.core.call import ToolSpec

ORDER = {
    "type": "object",
    "properties": {"customer_id": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["customer_id"],
}
TOTAL = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}


@pytest.fixture
def pdp():
    return pdp_of(SUPPORT)


@pytest.fixture
def inventory():
    inventory = LocalInventory()
    inventory.learn("orders", [ToolSpec(name="search", input_schema=ORDER, output_schema=TOTAL)])
    inventory.learn(
        "crm",
        [ToolSpec(name=name, input_schema=ORDER) for name in ("delete", "read")],
    )
    inventory.learn("kb", [ToolSpec(name="other", input_schema={})])
    return inventory
