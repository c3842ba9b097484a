"""S3 object lock: a PUT that is retained from its first moment, and a HEAD that says until when.

``obstore`` cannot send these headers, so the two requests are signed here (AWS Signature Version
4, in one chunk). Everything else goes through ``obstore``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from portcullis.audit.web import Answer, Web
from portcullis.core.errors import Problem
from portcullis.core.record_ports import ObjectStore, Retention, StoredObject

_MODES: Final[Mapping[str, Literal["governance", "compliance"]]] = {
    "GOVERNANCE": "governance",
    "COMPLIANCE": "compliance",
}
_MODE: Final = "x-amz-object-lock-mode"
_UNTIL: Final = "x-amz-object-lock-retain-until-date"
_ANSWER: Final = 2**16


class S3Address(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a bucket and the keys to it. Without ``endpoint`` it is AWS' of the region.

    ``session_token`` belongs to keys that are temporary.
    """

    endpoint: str
    region: str
    bucket: str
    prefix: str
    access_key: str
    secret_key: str
    session_token: str = ""

    def url(self, path: str) -> str:
        """The address of an object, in path style."""
        base = self.endpoint.rstrip("/") or f"https://s3.{self.region}.amazonaws.com"
        key = "/".join(filter(None, (self.bucket, self.prefix, path)))
        return f"{base}/{quote(key, safe='/-_.~')}"


class LockingS3:
    """The ``ObjectStore`` port over an S3 bucket, with retention."""

    def __init__(self, plain: ObjectStore, address: S3Address) -> None:
        self._plain = plain
        self._address = address
        self._web = Web("PC6021")
        self._locks = False
        """Whether an object was seen to be locked: some stores ignore what they do not know."""
        self.get = plain.get
        self.delete = plain.delete

    def put(
        self,
        path: str,
        data: bytes,
        *,
        replace: bool = False,
        retention: Retention | None = None,
    ) -> bool:
        """Write an object; see the port."""
        if retention is None:
            return self._plain.put(path, data, replace=replace)
        until = datetime.fromtimestamp(retention.until, UTC)
        headers = {
            "content-md5": base64.b64encode(
                hashlib.md5(data, usedforsecurity=False).digest()
            ).decode(),
            _MODE: retention.mode.upper(),
            _UNTIL: f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }
        if not replace:
            headers["if-none-match"] = "*"
        answer = self._ask("PUT", path, headers, data)
        if answer.status not in {HTTPStatus.OK, HTTPStatus.PRECONDITION_FAILED}:
            raise Problem("PC6021", f"{path}: the store answered {answer.status}")
        if not self._locks:
            found = self.head(path)
            if found is None or found.retention is None:
                raise Problem("PC6021", f"{path}: the store shows no retention of it")
            self._locks = True
        return answer.status == HTTPStatus.OK

    def head(self, path: str) -> StoredObject | None:
        """Look at an object; see the port. The lock is seen with s3:GetObjectRetention only."""
        answer = self._ask("HEAD", path, {}, b"")
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise Problem("PC6021", f"{path}: the store answered {answer.status}")
        try:
            return _stored(answer.headers)
        except (KeyError, ValueError):
            raise Problem("PC6021", f"{path}: the store's answer is not S3's") from None

    def list(self, prefix: str) -> Iterator[str]:
        """The paths below a folder; see the port."""
        return self._plain.list(prefix)

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        url = self._address.url(path)
        signed = sign(self._address, method, url, headers, body, datetime.now(UTC))
        return self._web.ask(method, url, headers=signed, body=body, limit=_ANSWER)


def sign(
    address: S3Address,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> dict[str, str]:
    """The headers with those of AWS Signature Version 4; ``url`` has no query."""
    parts = urlsplit(url)
    day, moment = f"{now:%Y%m%d}", f"{now:%Y%m%dT%H%M%SZ}"
    digest = hashlib.sha256(body).hexdigest()
    sent = {**headers, "x-amz-content-sha256": digest, "x-amz-date": moment}
    if address.session_token:
        sent["x-amz-security-token"] = address.session_token
    lines = sorted({**sent, "host": parts.netloc}.items())
    names = ";".join(name for name, _ in lines)
    canonical = "\n".join(
        (method, parts.path, "", *(f"{name}:{value}" for name, value in lines), "", names, digest)
    )
    scope = f"{day}/{address.region}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}"
    key = f"AWS4{address.secret_key}".encode()
    for part in (day, address.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.digest(key, text.encode(), hashlib.sha256).hex()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={address.access_key}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    )
    return sent


def _stored(headers: Mapping[str, str]) -> StoredObject:
    retention = None
    mode = _MODES.get(headers.get(_MODE, ""))
    if mode is not None:
        retention = Retention(mode, datetime.fromisoformat(headers[_UNTIL]).timestamp())
    modified = parsedate_to_datetime(headers["last-modified"]).timestamp()
    return StoredObject(int(headers["content-length"]), modified, retention)
