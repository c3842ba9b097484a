"""``portcullis agent``: register agents and mint their tokens."""

from portcullis.cli import connect, quarantine
from portcullis.cli.nouns import workload
from portcullis.core.principal import PrincipalKind

app = workload(PrincipalKind.AGENT)
connect.add_to(app, PrincipalKind.AGENT)
quarantine.add_to(app, "agent")
