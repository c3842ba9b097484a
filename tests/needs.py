"""What some tests need from outside Python: `make packages` installs it."""

import os
import shutil
from pathlib import Path

import pytest

NODE = Path(__file__).parent / "node/node_modules"
_GO_MOD = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb")

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and NODE.exists()), reason="needs Node.js: see `make packages`"
)
needs_go = pytest.mark.skipif(
    not (shutil.which("go") and _GO_MOD.exists()), reason="needs Debian's Go: see `make packages`"
)
needs_redis = pytest.mark.skipif(
    not (shutil.which("redis-server") or shutil.which("valkey-server")),
    reason="needs Debian's redis-server: see `make packages`",
)
needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"),
    reason="needs root and iproute2: see `make packages`",
)
needs_netfilter = pytest.mark.skipif(
    not (shutil.which("iptables") and shutil.which("cc")),
    reason="needs Debian's iptables and gcc: see `make packages`",
)
needs_boxes = pytest.mark.skipif(
    not shutil.which("bwrap"), reason="needs Debian's bubblewrap: see `make packages`"
)
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="needs Debian's systemd: see `make packages`"
)
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
needs_softhsm = pytest.mark.skipif(
    not (shutil.which("softhsm2-util") and SOFTHSM.exists()),
    reason="needs Debian's softhsm2: see `make packages`",
)
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs Debian's prometheus: see `make packages`"
)
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="needs Debian's prometheus: see `make packages`"
)
needs_kubectl = pytest.mark.skipif(
    not shutil.which("kubectl"), reason="needs kubectl, 1.27 or newer: see `make packages`"
)
needs_judges = pytest.mark.skipif(
    not (Path(__file__).parents[1] / ".venv-manifests/.done").exists(),
    reason="needs checkov and hadolint: `make .venv-manifests/.done`",
)


def missing(part):
    """Skip a test for want of a part; where CI=true, where all of them are installed, it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(part)
    pytest.skip(part)
