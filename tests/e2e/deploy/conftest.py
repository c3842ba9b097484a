"""The manifests, rendered once, and the printed ones beside them."""

import subprocess

import pytest
import yaml

from deployed import SETS, printed


@pytest.fixture(scope="session")
def rendered():
    """Every set as `kubectl kustomize` renders it, by name."""
    found = {"printed": printed()}
    for name, folder in SETS.items():
        done = subprocess.run(
            ["kubectl", "kustomize", folder], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found[name] = list(yaml.safe_load_all(done.stdout))
    return found
