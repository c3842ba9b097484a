"""A sealer for tests of what is sealed: its keys lie in a file beside the thing."""

from pathlib import Path

from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope


def sealer_at(folder: Path) -> Envelope:
    """The same keys each time for one folder, as a restart would find them."""
    return Envelope(FileKeyManager(folder / "master.key", create=True))
