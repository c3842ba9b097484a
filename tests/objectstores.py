"""A real S3 server for tests: moto's, as a child process on a free loopback port.

with s3_server() as s3:
    settings = s3.bucket("logs")          # StoreSettings of a new bucket with object lock
    s3.client.head_object(Bucket="logs", Key="...")
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import boto3
import botocore.config
import httpx2
import msgspec

from portcullis.store.objects import StoreSettings


class S3Server:
    """The server, and boto3's client of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.access_key, self.secret_key = secrets.token_hex(8), secrets.token_hex(16)
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=botocore.config.Config(retries={"max_attempts": 0}),
        )

    def bucket(self, name: str, prefix: str = "", *, lock: bool = True) -> StoreSettings:
        """Make a bucket with object lock; how to reach a place in it."""
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        return StoreSettings(
            url=f"s3://{name}/{prefix}",
            region="us-east-1",
            endpoint=self.url,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )

    def guarded(self, settings: StoreSettings) -> tuple[StoreSettings, StoreSettings]:
        """The same place, with lasting and with temporary keys.

        From now on the server asks everybody for keys, and checks their signatures and tokens.
        """
        common: dict[str, Any] = {
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }
        iam, sts = boto3.client("iam", **common), boto3.client("sts", **common)
        policy = {"PolicyName": "all", "PolicyDocument": _policy("s3:*", Resource="*")}
        iam.create_user(UserName="ship")
        iam.put_user_policy(UserName="ship", **policy)
        user = iam.create_access_key(UserName="ship")["AccessKey"]
        trust = _policy("sts:AssumeRole", Principal={"AWS": "*"})
        role = iam.create_role(RoleName="ship", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName="ship", **policy)
        made = sts.assume_role(RoleArn=role, RoleSessionName="gate")["Credentials"]
        httpx2.post(f"{self.url}/moto-api/reset-auth", content=b"0").raise_for_status()
        lasting, temporary = (
            msgspec.structs.replace(
                settings,
                access_key=keys["AccessKeyId"],
                secret_key=keys["SecretAccessKey"],
                session_token=keys.get("SessionToken", ""),
            )
            for keys in (user, made)
        )
        return lasting, temporary

    def locked_until(self, bucket: str, key: str) -> tuple[str, datetime]:
        """What S3 says of an object's lock."""
        head = self.client.head_object(Bucket=bucket, Key=key)
        return head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]


def _policy(action: str, **of: object) -> str:
    statement = {"Effect": "Allow", "Action": action, **of}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run the server until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(2**24)},
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"Running on (http://\S+)", line):
                drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
                break
        else:
            raise AssertionError("moto's server did not start")
        yield S3Server(found[1])
        process.terminate()
        drain.wait(10)
    finally:
        process.kill()
        process.wait(10)
