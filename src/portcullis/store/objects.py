"""Object stores through ``obstore``: a local folder, S3-compatible stores, GCS, Azure, memory.

``open_objects`` takes ``file:///folder``, ``s3://bucket/prefix``, ``gs://bucket/prefix`` or
``az://container/prefix``. Without keys in the settings a cloud's credentials are those of the
environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, ...)
or of the machine. Retention is S3's object lock, and needs the keys in the settings; temporary ones
come with their session token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from portcullis.audit.files import sync_directory, write_new
from portcullis.audit.web import Web
from portcullis.core.errors import Problem
from portcullis.core.record_ports import ObjectStore, Retention, StoredObject
from portcullis.store.s3_lock import LockingS3, S3Address

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import ClientConfig, RetryConfig, S3Credential
    from obstore.store import ObjectStore as Backend

_SECONDS: Final = 30
_ANSWER: Final = 2**16
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store is and how to get in. The keys are secrets, resolved."""

    url: str
    region: str = ""
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""


class Objects:
    """The ``ObjectStore`` port over a store of ``obstore``. It keeps no retention."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def put(
        self,
        path: str,
        data: bytes,
        *,
        replace: bool = False,
        retention: Retention | None = None,
    ) -> bool:
        """Write an object; see the port."""
        if retention is not None:
            raise Problem("PC6021", "this store keeps no retention")
        mode: PutMode = "overwrite" if replace else "create"
        with _translated(path):
            try:
                obstore.put(self._backend, path, data, mode=mode, use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def get(self, path: str, limit: int) -> bytes | None:
        """Read an object; see the port."""
        with _translated(path):
            try:
                found = obstore.get(self._backend, path)
                if found.meta["size"] > limit:
                    raise Problem("PC6021", f"{path}: longer than {limit} bytes")
                return bytes(found.bytes())
            except FileNotFoundError:
                return None

    def head(self, path: str) -> StoredObject | None:
        """Look at an object; see the port."""
        with _translated(path):
            try:
                meta = obstore.head(self._backend, path)
            except FileNotFoundError:
                return None
        return StoredObject(meta["size"], meta["last_modified"].timestamp())

    def list(self, prefix: str) -> Iterator[str]:
        """The paths below a folder; see the port."""
        with _translated(prefix):
            for batch in obstore.list(self._backend, prefix):
                yield from (meta["path"] for meta in batch)

    def delete(self, path: str) -> None:
        """Delete an object; see the port."""
        with _translated(path), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._backend, path)


class _S3Objects(Objects):
    """The same over S3, which deletes only where it was told to.

    ``obstore`` would follow a redirect with the same method, to wherever the store says.
    """

    def __init__(self, backend: S3Store) -> None:
        super().__init__(backend)
        self._signer = backend
        self._web = Web("PC6021")

    def delete(self, path: str) -> None:
        """Delete an object; see the port."""
        with _translated(path):
            url = obstore.sign(self._signer, "DELETE", path, timedelta(minutes=1))
        status = self._web.ask("DELETE", url, limit=_ANSWER).status
        if status not in {HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND}:
            raise Problem("PC6021", f"{path}: the store answered {status}")


class FolderObjects(Objects):
    """Objects that are files, and on the disk when ``put`` returns."""

    def __init__(self, directory: Path) -> None:
        super().__init__(LocalStore(directory, mkdir=True))
        self._directory = directory

    def put(
        self,
        path: str,
        data: bytes,
        *,
        replace: bool = False,
        retention: Retention | None = None,
    ) -> bool:
        """Write a file; see the port."""
        if retention is not None:
            raise Problem("PC6021", "a folder keeps no retention")
        place = self._directory / path
        with _translated(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = place.with_name(f"{place.name}#1")  # a name that obstore never lists
            fresh.unlink(missing_ok=True)
            write_new(fresh, data)
            try:
                if replace:
                    fresh.replace(place)
                else:
                    place.hardlink_to(fresh)
            except FileExistsError:
                return False
            finally:
                fresh.unlink(missing_ok=True)
            for folder in place.relative_to(self._directory).parents:
                sync_directory(self._directory / folder)
        return True


def open_objects(settings: StoreSettings) -> ObjectStore:
    """The store at a URL. Nothing is asked of it yet. Raises Problem PC7001 for bad settings."""
    parts = urlsplit(settings.url)
    prefix = unquote(parts.path).strip("/")
    client: ClientConfig = {
        "timeout": timedelta(seconds=_SECONDS),
        "connect_timeout": timedelta(seconds=_SECONDS / 3),
        "user_agent": "portcullis",
    }
    retry: RetryConfig = {"max_retries": 1, "retry_timeout": timedelta(seconds=_SECONDS)}
    common: dict[str, Any] = {
        "prefix": prefix or None,
        "client_options": client,
        "retry_config": retry,
    }
    try:
        match parts.scheme:
            case "file" if not parts.netloc:
                return FolderObjects(Path("/") / prefix)
            case "s3" if parts.netloc:
                return _s3(settings, parts.netloc, prefix, common)
            case "gs" if parts.netloc:
                return Objects(GCSStore(parts.netloc, **common))
            case "az" if parts.netloc:
                return Objects(AzureStore(parts.netloc, **common))
    except (BaseError, OSError, ValueError) as error:
        raise Problem("PC7001", f"the store cannot be opened: {type(error).__name__}") from None
    raise Problem("PC7001", "a store is file:///folder, s3://bucket, gs://bucket or az://container")


def _s3(settings: StoreSettings, bucket: str, prefix: str, common: dict[str, Any]) -> ObjectStore:
    given = {"region": settings.region, "endpoint": settings.endpoint}
    options: Any = {name: value for name, value in given.items() if value}
    if settings.endpoint.startswith("http://"):
        if urlsplit(settings.endpoint).hostname not in _LOOPBACK:
            raise Problem("PC7001", "a store's endpoint is https, but on this machine")
        common["client_options"]["allow_http"] = True
    if not settings.access_key:
        return _S3Objects(S3Store(bucket, config=options, **common))
    keys: S3Credential = {  # as a provider, so that no token of the environment is added to them
        "access_key_id": settings.access_key,
        "secret_access_key": settings.secret_key,
        "token": settings.session_token or None,
        "expires_at": None,
    }
    backend = S3Store(bucket, config=options, credential_provider=lambda: keys, **common)
    plain = _S3Objects(backend)
    address = S3Address(
        endpoint=settings.endpoint,
        region=settings.region or "us-east-1",
        bucket=bucket,
        prefix=prefix,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        session_token=settings.session_token,
    )
    return LockingS3(plain, address)


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Errors of the store as Problem PC6021; their texts may hold addresses and are left out."""
    try:
        yield
    except BaseError as error:
        raise Problem("PC6021", f"{path}: {type(error).__name__}") from None
    except OSError as error:
        raise Problem("PC6021", f"{path}: {error.strerror or type(error).__name__}") from None
