"""If this fails, a supervisor stays that keeps no tenant running, and nobody starts another."""

import asyncio

import pytest

from portcullis.bootstrap import tenants_running
from portcullis.bootstrap.tenants_running import Bounds
from portcullis.cli import tenant as command
from portcullis.config.tenants import Tenant


@pytest.mark.anyio
async def test_a_supervisor_ends_with_what_keeps_them_running(tmp_path, monkeypatch):
    async def fails(_self, _name):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(tenants_running.TenantsRunning, "_begin", fails)
    with pytest.raises(ExceptionGroup, match="unhandled"):
        async with asyncio.timeout(60):
            await command._run([Tenant("acme", tmp_path)], Bounds(2**30, 1024))
