"""Every source of secrets behind one face: ``put`` sets a value where the source looks."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

import bao
from objectstores import s3_server
from portcullis.config.secrets import Aws, OpenBao
from portcullis.execution.secrets import EnvSecrets, FileSecrets, Secrets, local_secrets
from portcullis.execution.secrets.aws import AwsSecrets
from portcullis.execution.secrets.file import purpose
from portcullis.execution.secrets.openbao import OpenBaoSecrets
from portcullis.execution.secrets.openbao_http import OpenBaoHttp
from sealers import sealer_at


@dataclass(frozen=True)
class Place:
    """A source, a reference of its that is there, one that is not, and how its value is set."""

    source: Secrets
    reference: str
    missing: str
    put: Callable[[str], Any]


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    with s3_server() as server:  # it serves every service of the kind
        yield server.url


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=aws_url)
    yield client
    client.close()


@pytest.fixture
def server() -> Iterator[bao.Bao]:
    with bao.serving() as made:
        yield made


@pytest.fixture
def vault(server: bao.Bao) -> Callable[..., OpenBaoSecrets]:
    """OpenBao's source with a login by token, or ``auth``; ``now`` is its clock."""

    def made(
        auth: dict[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
        environ: dict[str, str] | None = None,
        fresh: float = 300.0,
        overlap: float = 60.0,
    ) -> OpenBaoSecrets:
        settings = OpenBao.model_validate(
            {"url": server.url, "auth": auth or {"kind": "token", "token": "env:BAO"}}
        )
        local = local_secrets({"BAO": server.root} | (environ or {}))
        http = OpenBaoHttp(settings, local, now=now)
        return OpenBaoSecrets(http, fresh_seconds=fresh, overlap_seconds=overlap, now=now)

    return made


@pytest.fixture(params=["env", "file", "sealed", "kv", "kv-1", "aws"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, server: bao.Bao, vault: Any
) -> Iterator[Place]:
    kind = request.param
    closed: list[Any] = []
    if kind == "env":
        environ: dict[str, str] = {}
        source: Any = EnvSecrets(environ)
        made = Place(
            Secrets({"env": source}),
            "env:KEY",
            "env:NONE",
            lambda value: environ.__setitem__("KEY", value),
        )
    elif kind in {"file", "sealed"}:
        path, seals = tmp_path / "key", sealer_at(tmp_path)

        def write(value: str) -> None:
            content = value.encode()
            if kind == "sealed":
                content = seals.seal(content, purpose(str(path)))
            new = tmp_path / "new"
            new.touch(mode=0o600)
            new.write_bytes(content)
            new.replace(path)

        source = FileSecrets(seals)
        made = Place(Secrets({"file": source}), f"file:{path}", f"file:{path}x", write)
    elif kind == "aws":
        client = request.getfixturevalue("aws")
        url = request.getfixturevalue("aws_url")
        name = f"app/{secrets.token_hex(4)}"
        client.create_secret(Name=name, SecretString="{}")
        source = AwsSecrets(
            Aws(region="eu-west-1", endpoint=url), fresh_seconds=300, now=time.monotonic
        )
        closed.append(source)
        made = Place(
            Secrets({"aws-sm": source}),
            f"aws-sm:{name}#key",
            f"aws-sm:{name}/x#key",
            lambda value: client.put_secret_value(
                SecretId=name, SecretString=f'{{"key": "{value}", "number": 1}}'
            ),
        )
    else:
        source = vault()
        closed.append(source)
        mount = "kv" if kind == "kv" else "old"

        def store(value: str) -> None:
            if kind == "kv":
                server.put("app/crm", key=value)
            else:
                server.old["app/crm"] = {"key": value, "number": 1}

        made = Place(
            Secrets({"openbao": source}),
            f"openbao:{mount}/app/crm#key",
            f"openbao:{mount}/app/none#key",
            store,
        )
    assert os.environ.get("KEY") is None
    yield made
    for one in closed:
        one.close()
