"""The section about boxes: which adapter makes them, and the profiles that hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator

from portcullis.config.boxed import NONE, STRICT
from portcullis.config.cluster import Cluster
from portcullis.config.common import Name, Section
from portcullis.core.sandbox import STRICT as HOLDS
from portcullis.core.sandbox import Hold, Network, Profile

_SIZE: Final = re.compile(r"(\d{1,12})\s*(B|KiB|MiB|GiB)")
_UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_PLAIN: Final = Profile()
"""``strict``, which everything else is measured by."""


def _bytes(value: Any) -> Any:
    """``256MiB`` in bytes; a number is bytes already."""
    if not isinstance(value, str):
        return value
    read = _SIZE.fullmatch(value.strip())
    if read is None:
        msg = "expected a size such as 256MiB (B, KiB, MiB, GiB)"
        raise ValueError(msg)
    return int(read[1]) * _UNITS[read[2]]


Size = Annotated[int, BeforeValidator(_bytes)]


class BoxProfile(Section):
    """How boxes of this profile are held; what is not said is as in ``strict``.

    ``cpu`` is in processors, ``seconds`` bounds a box's life, ``files`` are open descriptors of
    one process. ``demands`` adds holds to what strict demands; ``waives`` takes some away, and the
    box starts without them where the machine does not have them.
    """

    memory: Size = Field(default=_PLAIN.memory, ge=8 * 2**20, le=2**40)
    cpu: float = Field(default=_PLAIN.cpu, ge=0.01, le=1024)
    pids: int = Field(default=_PLAIN.pids, ge=8, le=32768)
    tmp: Size = Field(default=_PLAIN.tmp, ge=2**20, le=2**40)
    scratch: Size = Field(default=_PLAIN.scratch, ge=2**20, le=2**40)
    files: int = Field(default=_PLAIN.files, ge=32, le=65536)
    seconds: float | None = Field(default=None, gt=0, le=86400 * 7)
    network: Literal["none", "gate"] = "none"
    demands: tuple[Hold, ...] = ()
    waives: tuple[Hold, ...] = ()

    def profile(self, name: str) -> Profile:
        """The same as the sandboxes read it."""
        return Profile(
            name=name,
            memory=self.memory,
            cpu=self.cpu,
            pids=self.pids,
            tmp=self.tmp,
            scratch=self.scratch,
            files=self.files,
            seconds=self.seconds,
            network=Network(self.network),
            demands=(HOLDS | frozenset(self.demands)) - frozenset(self.waives),
        )


def lowered(profile: Profile) -> tuple[str, ...]:
    """In what a profile holds less than ``strict``; empty where it holds as much or more."""
    bounds = ("memory", "cpu", "pids", "tmp", "scratch", "files")
    higher = [name for name in bounds if getattr(profile, name) > getattr(_PLAIN, name)]
    network = [] if profile.network is Network.NONE else ["network: gate"]
    return (*higher, *network, *sorted(f"without {one}" for one in HOLDS - profile.demands))


class Sandboxing(Section):
    """``adapter`` makes all boxes of this gate; ``profiles`` are named by servers and tools.

    ``strict`` is always there. A profile of that name may hold tighter, never looser.
    """

    adapter: Literal["bubblewrap", "runc", "crun", "runsc", "wasmtime", "kubernetes"] = "bubblewrap"
    kubernetes: Cluster | None = None
    """For ``adapter: kubernetes``, and for `portcullis sandbox manifest`."""
    profiles: dict[Name, BoxProfile] = Field(default_factory=dict)

    @field_validator("profiles")
    @classmethod
    def _named(cls, profiles: Mapping[str, BoxProfile]) -> Mapping[str, BoxProfile]:
        if NONE in profiles:
            msg = "none is no profile: it stands for no box"
            raise ValueError(msg)
        looser = lowered(profiles[STRICT].profile(STRICT)) if STRICT in profiles else ()
        if looser:
            msg = f"strict cannot hold less ({', '.join(looser)}): give the profile another name"
            raise ValueError(msg)
        return profiles

    def model_post_init(self, context: Any, /) -> None:
        """A cluster has to be named."""
        del context
        if self.adapter == "kubernetes" and self.kubernetes is None:
            msg = "adapter: kubernetes needs the section kubernetes, with an image"
            raise ValueError(msg)

    def named(self) -> dict[str, Profile]:
        """Every profile by its name, ``strict`` among them."""
        return {STRICT: _PLAIN} | {
            name: profile.profile(name) for name, profile in self.profiles.items()
        }
