"""A real S3 server for tests: moto's, as a child process on a free loopback port.

with s3_server() as s3:
    settings = s3.bucket("logs")          # StoreSettings of a new bucket with object lock
    s3.client.head_object(Bucket="logs", Key="...")
"""

from __future__ import annotations

import contextlib
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

    def locked_until(self, bucket: str, key: str) -> tuple[str, datetime]:
        """What S3 says of an object's lock."""
        head = self.client.head_object(Bucket=bucket, Key=key)
        return head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]


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
