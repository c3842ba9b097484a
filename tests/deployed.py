"""Where the manifests are, and those that are printed and not kept."""

from pathlib import Path

from portcullis.core.sandbox import Network, Profile
from portcullis.execution.sandbox import manifest

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SETS = {
    "base": DEPLOY / "kubernetes/base",
    "split": DEPLOY / "kubernetes/overlays/split",
    "boxes": DEPLOY / "kubernetes/overlays/boxes",
    "fleet": DEPLOY / "kubernetes/overlays/fleet",
    "agent": DEPLOY / "kubernetes/overlays/agent",
}
IMAGE = "registry.example.org/tools@sha256:" + "0" * 64


def printed():
    """What `portcullis sandbox manifest` prints, of each kind."""
    place = manifest.Place(image=IMAGE)
    listed = manifest.Place(image=IMAGE, seccomp="portcullis/strict.json", owner="tool-listening")
    gate = Profile(name="net", network=Network.GATE, seconds=30)
    attached = manifest.pod("attached", Profile(), place)
    listening = manifest.pod("listening", gate, listed, command=("tool",), port=8080)
    return [
        attached,
        manifest.policy("attached", Profile(), place),
        listening,
        manifest.policy("listening", gate, listed, port=8080),
        manifest.service(listening, 8080),
    ]
