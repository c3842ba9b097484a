"""The port of access reviews."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.certificate import Certificate, Reviewed


class CertificateBook(Protocol):
    """The access reviews of a deployment, the same for all its processes. Every method blocks.

    ``confirmed`` has the last confirmation of each agent, ``history`` an agent's last certificates,
    the newest first. ``review`` is the last review, None when there was none; ``put`` keeps one in
    its place. ``overdue`` notes that it was told that a review of an agent was due at a time, and
    says whether that is new.
    """

    def confirmed(self) -> dict[str, Certificate]: ...
    def history(self, agent: str, limit: int) -> tuple[Certificate, ...]: ...
    def add(self, certificate: Certificate) -> None: ...
    def review(self) -> Reviewed | None: ...
    def put(self, review: Reviewed) -> None: ...
    def overdue(self, agent: str, due: float) -> bool: ...
