"""What ``portcullis doctor`` reads beside the policy, without which a gate does not start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from portcullis.audit.recipients import load_recipients
from portcullis.config import Config
from portcullis.config.incidents import Incidents
from portcullis.oversight.alerts.builtin import rules
from portcullis.oversight.incidents_playbook import named, playbooks


def readings(config: Config) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """What, where it is, and what reads it; that raises Problem for what is wrong."""
    folder = config.alerts.rules
    if folder is not None:
        yield "alert rules", str(folder), partial(rules, folder)
    recipients = config.audit.content.encrypt_to
    if recipients is not None:
        yield "recipients of content", str(recipients), partial(load_recipients, recipients)
    if config.incidents != Incidents():
        found = str(config.incidents.playbooks or config.incidents.playbook)
        yield "playbooks", found, partial(_playbooks, config.incidents)


def _playbooks(settings: Incidents) -> None:
    named(playbooks(settings.playbooks), settings.playbook)
