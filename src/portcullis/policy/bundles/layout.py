"""What a bundle of ours holds: the compiled policy, for any OPA, and its sources, for a gate.

A gate takes the sources alone: it compiles them itself and holds what comes of it against what the
bundle has. Rego that came of no policy of ours is never loaded.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.release import File, text_digest
from portcullis.policy.bundles.archive import pack, unpack
from portcullis.policy.bundles.signature import DATA, MANIFEST, SIGNATURES, Private, Public
from portcullis.policy.bundles.signature import sign as _sign
from portcullis.policy.bundles.signature import verify as _verify
from portcullis.policy.compiler import Bundle

SOURCES: Final = "portcullis-sources.json"
"""The policy's files; OPA takes no notice of it."""
ROOTS: Final = ("portcullis", "policy")
_REVISION: Final = re.compile(r"([0-9]{1,12})-sha256:[0-9a-f]{64}")


class Manifest(msgspec.Struct, frozen=True):
    """``.manifest``. Its revision is a release's number, which only grows, and a digest."""

    revision: str
    roots: tuple[str, ...] = ROOTS
    rego_version: int = 1


class _Sources(msgspec.Struct):
    files: tuple[File, ...]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was verified: its revision and number, its sources, and all of its files."""

    revision: str
    number: int
    sources: tuple[File, ...]
    files: dict[str, bytes]


_manifest: Final = msgspec.json.Decoder(Manifest).decode
_sources: Final = msgspec.json.Decoder(_Sources).decode


def revision(number: int, files: tuple[File, ...]) -> str:
    """The revision of a release."""
    return f"{number}-{text_digest(files)}"


def number_of(text: str) -> int:
    """The number in a revision. Raises Problem PC7037 for one that is not of this form."""
    found = _REVISION.fullmatch(text)
    if found is None:
        raise Problem("PC7037", "the bundle's revision is not NUMBER-sha256:DIGEST")
    return int(found[1])


def built(bundle: Bundle, files: tuple[File, ...], number: int, key: Private, now: int) -> bytes:
    """The signed archive of a release; ``now`` is in seconds since the epoch."""
    content = compiled(bundle)
    content[SOURCES] = msgspec.json.encode(_Sources(files))
    content[MANIFEST] = msgspec.json.encode(Manifest(revision(number, files)))
    content[SIGNATURES] = _sign(content, key, now)
    return pack(content)


def compiled(bundle: Bundle) -> dict[str, bytes]:
    """The files of a compiled policy, as OPA reads them."""
    found = {path(name): text.encode() for name, text in bundle.modules}
    return found | {DATA: bundle.data.encode()}


def path(name: str) -> str:
    """A module's file: a tool's name is not ours, so no part of it may be a path."""
    folder, slash, rest = name.partition("/")
    return f"{folder}{slash}{quote(rest, safe='')}"


def opened(archive: bytes, key: Public, key_id: str = "") -> Opened:
    """Verify a bundle, and read it. Raises Problem PC7037 for anything that is not one of ours."""
    try:
        return _opened(archive, key, key_id)
    except RecursionError:  # of documents that nest without end, signed or not
        raise Problem("PC7037", "the bundle has a document that nests too deeply") from None


def _opened(archive: bytes, key: Public, key_id: str) -> Opened:
    files = unpack(archive)
    _verify(files, key, key_id)
    if not {MANIFEST, SOURCES, DATA} <= files.keys():
        raise Problem("PC7037", "the bundle was not made of a policy by this program")
    try:
        manifest = _manifest(files[MANIFEST])
        sources = _sources(files[SOURCES]).files
    except msgspec.MsgspecError:
        raise Problem("PC7037", "the bundle's manifest or its sources cannot be read") from None
    if set(manifest.roots) != set(ROOTS) or manifest.rego_version != 1:
        raise Problem("PC7037", "the bundle's manifest has other roots, or another Rego")
    number = number_of(manifest.revision)
    if manifest.revision != revision(number, sources):
        raise Problem("PC7037", "the bundle's revision is not that of its sources")
    return Opened(revision=manifest.revision, number=number, sources=sources, files=files)


def agrees(found: Opened, bundle: Bundle) -> None:
    """Raise Problem PC7037 unless the bundle holds what its sources compile to here."""
    rest = {
        name: body
        for name, body in found.files.items()
        if name not in {MANIFEST, SOURCES, SIGNATURES}
    }
    if rest != compiled(bundle):
        detail = "the bundle holds another policy than its sources, or is of another version"
        raise Problem("PC7037", detail, hint="Build it with the version that runs here.")
