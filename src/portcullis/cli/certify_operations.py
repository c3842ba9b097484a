"""What the commands do about access reviews: through a control plane, or themselves."""

from __future__ import annotations

from portcullis.cli.both_ways import Remotely, Run
from portcullis.control.certifying import CONFIRM, REVOKE, Certifying
from portcullis.control.certifying_api import (
    CertificateList,
    CertificateView,
    PolicyReviewView,
    RevokedGrantView,
)
from portcullis.core.call import Context

_REVIEW = "/policy/review"


class RemoteCertifying(Remotely):
    """Asks the control plane."""

    def agents(self) -> PolicyReviewView:
        """The last review, or a new one."""
        return PolicyReviewView.model_validate(self._call("GET", _REVIEW))

    def history(self, agent: str) -> CertificateList:
        """An agent's certificates."""
        return CertificateList.model_validate(self._call("GET", f"{_path(agent)}/certificates"))

    def confirm(self, agent: str, release: int, reason: str) -> CertificateView:
        """Confirm what an agent may."""
        body = {"release": release, "reason": reason}
        return CertificateView.model_validate(self._call("POST", f"{_path(agent)}/confirm", body))

    def revoke(self, agent: str, grant: str, reason: str, *, for_all: bool) -> RevokedGrantView:
        """Say that a grant has to go."""
        body = {"grant": grant, "reason": reason, "for_all": for_all}
        found = self._call("POST", f"{_path(agent)}/revoke-grant", body)
        return RevokedGrantView.model_validate(found)


class DirectCertifying:
    """Does it itself, as ``context`` says who."""

    def __init__(self, certifying: Certifying, context: Context, run: Run) -> None:
        self._certifying = certifying
        self._context = context
        self._run = run

    def agents(self) -> PolicyReviewView:
        """The last review, or a new one."""
        return PolicyReviewView.of(self._run(self._certifying.agents(), "policy.review", ""))

    def history(self, agent: str) -> CertificateList:
        """An agent's certificates."""
        work = CertificateList.to(agent, self._certifying, self._context)
        return self._run(work, "policy.certify.list", agent)

    def confirm(self, agent: str, release: int, reason: str) -> CertificateView:
        """Confirm what an agent may."""
        work = self._certifying.confirm(self._context, agent, release, reason)
        return CertificateView.of(self._run(work, CONFIRM, agent))

    def revoke(self, agent: str, grant: str, reason: str, *, for_all: bool) -> RevokedGrantView:
        """Say that a grant has to go."""
        work = self._certifying.revoke(self._context, agent, grant, reason, everybody=for_all)
        certificate, revoked = self._run(work, REVOKE, agent)
        return RevokedGrantView(certificate=CertificateView.of(certificate), patch=revoked.patch)


def _path(agent: str) -> str:
    return f"/policy/agents/{agent}"
