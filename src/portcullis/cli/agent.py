"""``portcullis agent``: register agents and mint their tokens."""

from portcullis.cli import connect
from portcullis.cli.nouns import workload
from portcullis.core.principal import PrincipalKind

app = workload(PrincipalKind.AGENT)
connect.add_to(app, PrincipalKind.AGENT)
