"""Notices by mail: SMTP (RFC 5321) with STARTTLS (RFC 3207) or TLS from the first byte.

The library's client blocks, so each channel has a thread; a server that drips is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from threading import Lock
from typing import Final

import structlog

from portcullis.core.errors import Problem
from portcullis.core.notice import Message
from portcullis.core.notice_ports import Later, Never
from portcullis.oversight.notice_mail import mail

SECONDS: Final = 30.0
"""The longest that one delivery may take."""
_SILENCE_SECONDS: Final = 10.0
_ABOUT_IT: Final = frozenset({552, 554, 555})
"""Replies after DATA that are about the mail itself (RFC 5321 section 4.2.3)."""


log = structlog.get_logger(__name__)


class MailTeller:
    """Implements ``Teller``. Without ``tls`` nothing is encrypted; it is ``starttls`` or not.

    ``login`` gives user and password, or None. ``domain`` stands in the mails' ids.
    """

    amends = False

    def __init__(
        self,
        server: str,
        *,
        tls: ssl.SSLContext | None,
        starttls: bool,
        login: Callable[[], tuple[str, str] | None],
        sender: str,
        to: Sequence[str],
        domain: str,
        seconds: float = SECONDS,
    ) -> None:
        host, _, port = server.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._tls = tls
        self._starttls = starttls
        self._login = login
        self._sender = sender
        self._to = tuple(to)
        self._domain = domain
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, "notify-mail")

    async def tell(self, message: Message, reference: str) -> str:
        """Send it; ``reference`` is the first one's id, which the others are in reply to."""
        made = mail(message, self._sender, self._to, self._domain)
        delivery = _Delivery()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                await loop.run_in_executor(self._thread, self._send, made, delivery)
        except TimeoutError:
            raise Later("no answer in time", arrived=delivery.begun) from None
        finally:
            delivery.cut()
        return reference or str(made["Message-ID"])

    async def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _send(self, made: EmailMessage, delivery: _Delivery) -> None:
        """Deliver it. Raises Later or Never; their texts are codes and kinds."""
        try:
            login = self._login()
            smtp = self._connected(delivery)
            try:
                if login is not None:
                    smtp.login(*login)
                delivery.begin()
                refused = smtp.send_message(made)
                with contextlib.suppress(smtplib.SMTPException, OSError):  # it has been taken
                    smtp.quit()
            finally:
                smtp.close()
        except Problem as problem:
            raise Later(problem.detail) from None
        except smtplib.SMTPRecipientsRefused as error:
            raise Later(f"every recipient was refused: {_codes(error.recipients)}") from None
        except smtplib.SMTPDataError as error:
            said = f"the mail was refused: {error.smtp_code}"
            raise (Never if error.smtp_code in _ABOUT_IT else Later)(said) from None
        except smtplib.SMTPResponseException as error:
            raise Later(f"the server answered {error.smtp_code}") from None
        except smtplib.SMTPNotSupportedError:
            raise Later("the server does not offer what the configuration asks for") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise Later(_named(error), arrived=delivery.begun) from None
        if refused:
            log.warning("notification_recipients_refused", codes=_codes(refused))

    def _connected(self, delivery: _Delivery) -> smtplib.SMTP:
        """A connection that is encrypted as configured, known to ``delivery``."""
        name = self._sender.rpartition("@")[2]
        if self._tls is not None and not self._starttls:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, name, timeout=_SILENCE_SECONDS, context=self._tls
            )
        else:
            smtp = smtplib.SMTP(self._host, self._port, name, timeout=_SILENCE_SECONDS)
        delivery.socket = smtp.sock
        try:
            if self._tls is not None and self._starttls:
                smtp.starttls(context=self._tls)
                delivery.socket = smtp.sock
        except BaseException:
            smtp.close()
            raise
        return smtp


class _Delivery:
    """One delivery, as the loop and the thread see it. ``begun``: the server may have the mail."""

    def __init__(self) -> None:
        self.begun = False
        self.socket: socket.socket | None = None
        self._lock = Lock()
        self._over = False

    def begin(self) -> None:
        """Say that the mail is sent now. Raises OSError when nobody waits for that any more."""
        with self._lock:
            if self._over:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            self.begun = True

    def cut(self) -> None:
        """End it at once."""
        with self._lock:
            self._over = True
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


def _codes(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(map(str, sorted({code for code, _ in refused.values()})))


def _named(error: Exception) -> str:
    """What kind of failure: the system's words for it, else its type; no address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    said = error.strerror if isinstance(error, OSError) else None
    return f"not reached: {said}" if said else type(error).__name__
