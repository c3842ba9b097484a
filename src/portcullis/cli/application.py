"""``portcullis application``: register the applications that open sessions."""

from portcullis.cli import connect
from portcullis.cli.nouns import workload
from portcullis.core.principal import PrincipalKind

app = workload(PrincipalKind.APPLICATION)
connect.add_to(app, PrincipalKind.APPLICATION)
