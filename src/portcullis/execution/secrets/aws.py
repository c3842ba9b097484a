"""``aws-sm:NAME#KEY``: AWS Secrets Manager, through the SDK.

``KEY`` is a member of the secret's JSON object; ``#@`` is the whole text. The SDK finds its own
credentials (environment, profile, instance or pod role): none of them is in the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, Final

import msgspec

from portcullis.config.secrets import Aws
from portcullis.core.errors import Problem
from portcullis.core.secret import Secret
from portcullis.execution.secrets.value import secret_of, sendable

WHOLE: Final = "@"
"""In place of a key: the text of a secret that is no JSON object."""
_MISSING: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
_EXTRA: Final = "Install the extra: pip install 'agent-portcullis[aws]'."


class _Held(msgspec.Struct):
    text: Secret
    values: dict[str, Secret]
    fresh_until: float
    used: float


class AwsSecrets:
    """A ``RemoteSource`` over one region. ``now`` is a monotonic clock.

    Raises Problem PC7001 when the SDK is not installed, PC5007 for a secret or key that is not
    there, PC5067 when the service does not answer or refuses us.
    """

    def __init__(self, settings: Aws, *, fresh_seconds: float, now: Callable[[], float]) -> None:
        self._settings = settings
        self._client: tuple[Any, tuple[type[Exception], ...]] | None = None
        self._fresh = fresh_seconds
        self._now = now
        self._lock = RLock()
        self._held: dict[str, _Held] = {}

    def ready(self, reference: str) -> Secret | None:
        """See RemoteSource."""
        name, key = _parts(reference)
        held, now = self._held.get(name), self._now()
        if held is None or now >= held.fresh_until:
            return None
        held.used = now
        return held.text if key == WHOLE else held.values.get(key)

    def resolve(self, reference: str) -> Secret:
        """See RemoteSource. Blocks."""
        name, key = _parts(reference)
        if not name or not key:
            raise Problem("PC5007", "a reference to AWS Secrets Manager is aws-sm:NAME#KEY")
        with self._lock:
            known = self.ready(reference)
            if known is not None:
                return known
            held = self._read(name)
            secret = held.text if key == WHOLE else held.values.get(key)
            if secret is None:
                raise Problem("PC5007", f"aws-sm:{name} has no text called {key}")
            return secret

    def forget(self, reference: str) -> None:
        """See RemoteSource."""
        held = self._held.get(_parts(reference)[0])
        if held is not None:
            held.fresh_until = 0.0

    def leased(self, reference: str) -> bool:
        """Nothing here is."""
        del reference
        return False

    def rotate(self, reference: str) -> None:
        """Have the service rotate a secret, by the function that it has for it. Blocks.

        Problem PC7071 when it does not.
        """
        name = _parts(reference)[0]
        with self._lock:
            client, faults = self._asked()
            try:
                client.rotate_secret(SecretId=name)
            except faults as error:
                raise Problem("PC7071", f"the service does not rotate it: {_code(error)}") from None

    def tend(self) -> None:
        """See RemoteSource."""
        with self._lock:
            now = self._now()
            for name, held in tuple(self._held.items()):
                if now - held.used >= self._fresh:
                    del self._held[name]

    def close(self) -> None:
        """See RemoteSource."""
        with self._lock:
            self._held.clear()
            client, self._client = self._client, None
            if client is not None:
                client[0].close()

    def _asked(self) -> tuple[Any, tuple[type[Exception], ...]]:
        """The SDK's client and its faults, made when it is first asked: it loads slowly."""
        if self._client is None:
            self._client = _client(self._settings)
        return self._client

    def _read(self, name: str) -> _Held:
        client, faults = self._asked()
        try:
            answer = client.get_secret_value(SecretId=name)
        except faults as error:
            said = _code(error)
            if said in _MISSING:
                raise Problem("PC5007", f"there is nothing at aws-sm:{name}") from None
            raise Problem("PC5067", f"AWS Secrets Manager refused aws-sm:{name}: {said}") from None
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise Problem("PC5007", f"aws-sm:{name} is no text")
        now, before = self._now(), self._held.get(name)
        held = _Held(
            secret_of(f"aws-sm:{name}#{WHOLE}", text), _members(name, text), now + self._fresh, now
        )
        if before is not None:  # the same objects while they are unchanged
            held.text = before.text if held.text == before.text else held.text
            for key, value in before.values.items():
                if held.values.get(key) == value:
                    held.values[key] = value
        self._held[name] = held
        return held


def _client(settings: Aws) -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.config import Config  # noqa: PLC0415 - the same
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - the same
    except ImportError:
        raise Problem("PC7001", "secrets.aws needs boto3", hint=_EXTRA) from None
    config = Config(
        connect_timeout=settings.seconds,
        read_timeout=settings.seconds,
        retries={"total_max_attempts": 2},
    )
    client = boto3.client(
        "secretsmanager",
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        config=config,
    )
    return client, (BotoCoreError, ClientError)


def _parts(reference: str) -> tuple[str, str]:
    name, _, key = reference.rpartition("#")
    return name, key


def _members(name: str, text: str) -> dict[str, Secret]:
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return sendable(f"aws-sm:{name}", document) if isinstance(document, dict) else {}


def _code(error: Exception) -> str:
    """What went wrong, in a word that says nothing of the secret."""
    response = getattr(error, "response", None)
    said = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return said if isinstance(said, str) and said.isalnum() else type(error).__name__
