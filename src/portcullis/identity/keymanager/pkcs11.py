"""Key-encryption keys in a PKCS #11 token (an HSM), which they never leave: AES-256-GCM there.

``python-pkcs11`` comes with the extra ``pkcs11`` and is imported when it is used.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

from portcullis.core.errors import Problem
from portcullis.identity.keymanager.ring import MOVED

_NONCE: Final = 12
_NUMBER: Final = 4
_TAG_BITS: Final = 128
_KEY_BITS: Final = 256
_LIBRARY: Final = Lock()
"""python-pkcs11 tells a module that one thread uses it (C_Initialize without arguments): so it must
be, however many threads and key managers there are in this process."""


class Pkcs11KeyManager:
    """A ``KeyManager`` over AES keys called ``label``, ``label-2``, ...: the highest is in use.

    Makes the first when there is none and ``create`` is set, else Problem PC7010. Problem PC7010
    for a wrong PIN too, which is tried once; PC7005 when the library, the module or the token is
    missing or fails.
    """

    def __init__(self, module: Path, token: str, pin: str, label: str, *, create: bool) -> None:
        try:
            import pkcs11  # noqa: PLC0415 - an extra that only those with a token install
        except ImportError:
            hint = "Run `pip install 'agent-portcullis[pkcs11]'`."
            raise Problem("PC7005", "python-pkcs11 is not installed", hint=hint) from None
        self._api: Any = pkcs11
        self._label = label
        try:
            with self._using():
                found = self._api.lib(str(module)).get_token(token_label=token)
                self._session = self._opened(found, pin)
                self._place = f"pkcs11:{found.serial.decode('ascii', 'replace')}:{quote(label)}"
                self._newest = max(self._numbers(), default=0)
                if not self._newest:
                    self._begin(create=create)
        except self._api.exceptions.PinIncorrect:
            raise Problem("PC7010", f"the token {token} refuses the PIN") from None

    @property
    def version(self) -> str:
        """The token's serial number, the label and the number of the key in use."""
        return f"{self._place}:{self._newest}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a data key in the token: the key's number, a nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE)
        with self._using():
            newest = next(self._keys(self._newest), None)
            if newest is None:
                raise Problem("PC7005", "the key in use has left the token")
            sealed: bytes = newest.encrypt(key, **self._gcm(nonce, context))
        return self._newest.to_bytes(_NUMBER) + nonce + sealed

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key, or raise Problem PC7010."""
        number = int.from_bytes(wrapped[:_NUMBER])
        nonce, sealed = wrapped[_NUMBER : _NUMBER + _NONCE], wrapped[_NUMBER + _NONCE :]
        raised = self._api.exceptions
        refusals = (
            raised.EncryptedDataInvalid,
            raised.EncryptedDataLenRange,
            raised.FunctionFailed,
            raised.GeneralError,  # SoftHSM's answer to a wrong tag
        )
        with self._using():
            # two processes that began at once may each have made a first key
            for key in self._keys(number):
                with contextlib.suppress(*refusals):
                    opened: bytes = key.decrypt(sealed, **self._gcm(nonce, context))
                    return opened
        raise Problem("PC7010", f"a data key was not wrapped under the keys {self._label}")

    def rotate(self) -> str:
        """Make a new key in the token; return its version."""
        with self._using():
            newest = max(self._numbers(), default=0) + 1
            self._generate(newest)
            self._newest = newest
        return self.version

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        """Use the library alone; its faults become Problems PC7005."""
        with _LIBRARY:
            try:
                yield
            except self._api.exceptions.PinIncorrect:
                raise
            except self._api.exceptions.PKCS11Error as error:
                detail = f"PKCS #11: {type(error).__name__} {error}".rstrip()
                raise Problem("PC7005", detail) from None

    def _begin(self, *, create: bool) -> None:
        if not create:
            detail = f"no key {self._label} in the token, and something is sealed under one"
            raise Problem("PC7010", detail, hint=MOVED)
        self._generate(1)
        self._newest = 1

    def _opened(self, token: Any, pin: str) -> Any:
        try:
            return token.open(rw=True, user_pin=pin)
        except self._api.exceptions.UserAlreadyLoggedIn:  # a login counts for the whole process
            return token.open(rw=True)

    def _generate(self, number: int) -> None:
        flags, attribute = self._api.MechanismFlag, self._api.Attribute
        self._session.generate_key(
            self._api.KeyType.AES,
            _KEY_BITS,
            label=self._name(number),
            store=True,
            capabilities=flags.ENCRYPT | flags.DECRYPT,
            template={
                attribute.PRIVATE: True,
                attribute.SENSITIVE: True,
                attribute.EXTRACTABLE: False,
            },
        )

    def _name(self, number: int) -> str:
        return self._label if number == 1 else f"{self._label}-{number}"

    def _numbers(self) -> Iterator[int]:
        """The numbers of all keys under our label."""
        for key in self._search():
            found = re.fullmatch(
                re.escape(self._label) + r"(?:-([2-9]|[1-9][0-9]{1,8}))?", key.label
            )
            if found:
                yield int(found[1] or 1)

    def _keys(self, number: int) -> Iterator[Any]:
        yield from self._search({self._api.Attribute.LABEL: self._name(number)})

    def _search(self, attributes: dict[Any, Any] | None = None) -> Iterator[Any]:
        api = self._api
        wanted = {
            api.Attribute.CLASS: api.ObjectClass.SECRET_KEY,
            api.Attribute.KEY_TYPE: api.KeyType.AES,
        }
        # taken as a whole: a search that is still open blocks every other use of the session
        yield from tuple(self._session.get_objects(wanted | (attributes or {})))

    def _gcm(self, nonce: bytes, context: bytes) -> dict[str, object]:
        parameters = self._api.GCMParams(nonce, context, _TAG_BITS)
        return {"mechanism": self._api.Mechanism.AES_GCM, "mechanism_param": parameters}
