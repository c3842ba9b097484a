"""A gateway on a host of its own: another folder, the same database, feed, counts and store."""

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from e2e.processes.fleet import PATIENCE, Fleet, until
from portcullis.bootstrap.presence import found_in
from portcullis.cli import command
from portcullis.config import load
from portcullis.config.places import gateway_file
from portcullis.core.errors import Problem


def secret(folder, name, value):
    """A reference to a value in a file that only we may read."""
    place = folder / name
    place.touch(mode=0o600)
    place.write_text(value)
    return f"file:{place}"


def common(folder, *, store, redis, bucket):
    """The sections that all hosts have in common; ``bucket`` is the S3 store's settings."""
    return {
        "store": {"url": secret(folder, "store.url", store)},
        "feed": {"via": "redis", "url": secret(folder, "feed.url", redis)},
        "counters": {"via": "redis", "url": secret(folder, "counters.url", redis)},
        "shared": {"url": secret(folder, "shared.url", redis)},
        "audit": {
            "replicate": [
                {
                    "name": "far",
                    "store": bucket.url,
                    "region": bucket.region,
                    "endpoint": bucket.endpoint,
                    "access_key": secret(folder, "s3.access", bucket.access_key),
                    "secret_key": secret(folder, "s3.secret", bucket.secret_key),
                    "every_seconds": 0.5,
                }
            ]
        },
    }


@dataclass
class Host:
    """One more host, beside that of ``fleet``, whose folder has the control plane."""

    fleet: Fleet
    folder: Path
    name: str

    @classmethod
    def beside(cls, fleet, folder, name, **changes):
        """Prepare it as docs/hosts.md says: configuration, policy, the root key."""
        folder.mkdir()
        text: dict[str, Any] = yaml.safe_load((fleet.folder / "portcullis.yaml").read_text())
        text |= {"control_plane": "elsewhere", "state": "state"} | changes
        (folder / "portcullis.yaml").write_text(yaml.safe_dump(text))
        shutil.copytree(fleet.folder / "policy", folder / "policy")
        keys = folder / "state" / "keys"
        keys.mkdir(mode=0o700, parents=True)
        keys.parent.chmod(0o700)
        shutil.copy(fleet.config.state / "keys" / "master.key", keys)
        return cls(fleet, folder, name)

    @property
    def config(self):
        return load(self.folder / "portcullis.yaml")

    async def start(self, *words):
        """Start its gateway, which need not come to serve."""
        at = ("--config", str(self.folder / "portcullis.yaml"))
        return await self.fleet.start(self.name, "gateway", "--name", self.name, *at, *words)

    async def serves(self, *words):
        """Start it, and wait until it serves; the URL of its plain listener."""
        await self.start(*words)
        place = gateway_file(self.config, self.name)
        await until(lambda: self._ended() or found_in(place), PATIENCE)
        return json.loads(place.read_text())["gate"]

    def _ended(self):
        child = self.fleet.children[self.name]
        assert child.returncode is None, self.said()
        return False

    def said(self):
        """What it said."""
        return self.fleet.said(self.name)

    async def run(self, *words, code=0):
        """A command on this host, to its end: what it printed, or its refusal."""
        name, *rest = words

        def invoke():
            at = [*rest, "--config", str(self.folder / "portcullis.yaml")]
            return CliRunner().invoke(command(name), at)

        done = await asyncio.to_thread(invoke)
        if isinstance(done.exception, Problem):
            assert code, done.exception
            return f"{done.exception.code} {done.exception}"
        assert code is None or done.exit_code == code, (done.output, done.exception)
        return done.stdout
