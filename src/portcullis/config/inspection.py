"""What inspection reads besides what it ships: rule packs, dictionaries, models, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from portcullis.config.common import Name, Section

Entity = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,62}$")]


class Onnx(Section):
    """A sequence classifier in ONNX and its ``tokenizer.json``, scored beside the linear model.

    ``attack`` is the index of the class whose probability is the score; a text is cut into
    windows of ``window`` tokens. Needs the extra ``onnx``.
    """

    model: Path
    tokenizer: Path
    attack: int = Field(default=1, ge=0)
    window: int = Field(default=512, ge=16, le=8192)


class Extraction(Section):
    """Bounds on taking the text out of a document; each runs in a process of its own."""

    seconds: float = Field(default=5, gt=0, le=60)
    memory_bytes: int = Field(default=512 * 2**20, ge=64 * 2**20)
    document_bytes: int = Field(default=8 * 2**20, ge=1024)
    text_bytes: int = Field(default=2**20, ge=1024)
    processes: int = Field(default=2, ge=1, le=32)


class Inspection(Section):
    """``packs`` are further rule packs, ``without`` the ids of rules that are switched off.

    ``dictionaries`` maps an entity to a file with one phrase a line (your customers' names).
    ``honey`` names the records in which you plant canaries (`portcullis canary mint NAME`).
    """

    packs: tuple[Path, ...] = ()
    without: tuple[str, ...] = ()
    dictionaries: dict[Entity, Path] = Field(default_factory=dict)
    honey: tuple[Name, ...] = ()
    onnx: Onnx | None = None
    extraction: Extraction = Extraction()
