"""Generated requests, good and bad, against both descriptions: none may cause a fault, break the
description, or be denied without a record."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from effort import examples

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
REQUESTS = examples(6)
"""Of each operation and kind."""
LIMITS = settings(
    max_examples=REQUESTS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FORM = "/v1/token"
LOGIN = "/api/v1/login"
ORDER = "/api/v1/kills/order"
"""Its signature lets it in."""
FREE = {"/healthz", "/readyz", FORM, LOGIN, f"{LOGIN}/break-glass", ORDER}
LENIENT = {
    # its own table of bad forms: an empty parameter counts as absent (RFC 6749 section 3.2)
    FORM,
    # the generator breaks one branch of the oneOf and so makes what the other branch accepts
    "/api/v1/principals",
}
TOO_LARGE = 413  # a refusal too, which the generator's own check does not know


def can_be_wrong(operation):
    """Whether there is anything in a request that a schema could forbid."""
    return bool(operation.body or operation.path_parameters or operation.query)


def attack(client, world, headers, mode):
    """Run generated cases against every operation; the number of cases."""
    app = client.app
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    ran = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation):
            continue

        def one(case):
            nonlocal ran
            seen = len(world.recorder.events)
            own = {} if case.operation.path == FORM else headers
            response = case.call(headers=own)
            lenient = response.status_code == TOO_LARGE or case.operation.path in LENIENT
            checks = CHECKS if lenient else [*CHECKS, negative_data_rejection]
            case.validate_response(response, headers=own, checks=checks)
            ran += 1
            if response.status_code >= 400:
                new = world.recorder.events[seen:]
                assert [event.verdict for event in new][-1:] == ["deny"]
                assert new[-1].code == response.json()["code"]

        given(case=operation.as_strategy(generation_mode=mode))(LIMITS(one))()
    return ran


@pytest.mark.nightly
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests_find_no_fault_on_the_gates_api(gate, world, mode):
    headers = world.bearer("application", "web")
    assert attack(gate, world, headers, mode) >= 5 * REQUESTS


@pytest.mark.nightly
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests_find_no_fault_on_the_control_plane(control, world, mode):
    headers = world.bearer("operator", "ada", roles=("admin",))
    assert attack(control, world, headers, mode) >= 20 * REQUESTS


def test_every_route_of_the_description_names_its_credential(gate, control):
    for client in (gate, control):
        for path, item in client.app.openapi()["paths"].items():
            for operation in item.values():
                free = path in FREE or "/.well-known/" in path
                assert operation["security"] == ([] if free else [{"bearer": []}])
                assert "422" not in operation["responses"]
