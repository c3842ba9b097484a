"""If these fail, a client is not told how to get in."""

import pytest

from portcullis.wire.challenge import challenge

WHERE = 'resource_metadata="https://gate.test/.well-known/oauth-protected-resource/mcp/orders"'


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("PC2001", f"Bearer {WHERE}"),
        ("PC2020", f"Bearer {WHERE}"),
        ("PC2003", f'Bearer error="invalid_token", {WHERE}'),
        ("PC2040", f'Bearer error="invalid_token", {WHERE}'),
        ("PC2046", f'DPoP error="invalid_dpop_proof", algs="ES256 EdDSA", {WHERE}'),
    ],
)
def test_the_reason_and_the_way_are_told(code, expected):
    assert challenge(code, "https://gate.test", "/mcp/orders") == expected


def test_where_there_is_no_metadata_none_is_named():
    assert challenge("PC2001", "") == "Bearer"
    assert challenge("PC2002", "") == 'Bearer error="invalid_token"'
