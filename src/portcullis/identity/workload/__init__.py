"""The SPIFFE Workload API (SPIFFE_Workload_API.md): identities for local processes, unasked.

``serving`` is the way in. A connection comes through ``door`` (who is it?), a call through
``server`` (the security header, bounds, errors) to ``service`` (the five methods), which asks
``identities`` for whom the caller stands and what it gets.
"""

import os

# gRPC would run its own handlers in every fork of ours, for children that only exec
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from portcullis.identity.workload.bounds import Bounds
from portcullis.identity.workload.server import serving

__all__ = ["Bounds", "serving"]
