"""Options by which a workload comes to its identity, for the commands that take them all.

    @identified
    def connect(name: Name, *, listen: ..., way: Way) -> None: ...

``connect`` then has the options of ``Way`` beside its own, and gets their values as one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from portcullis.cli.addresses import Addresses, addresses
from portcullis.cli.options import DEFAULT_CONFIG, load

USUAL = Addresses("https://127.0.0.1:7302", "http://127.0.0.1:7300")
"""Where a gate is of which this machine has no configuration."""
_GIVEN = "way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What was said; each field is an option of its own."""

    gate: Annotated[
        str | None, typer.Option(help="The gate's mutual TLS listener; default: --config's.")
    ] = None
    enrol: Annotated[
        str | None,
        typer.Option(
            help="Where to enrol: the gate on this machine, or bootstrap; default: --config's."
        ),
    ] = None
    join_token: Annotated[
        str | None, typer.Option(help="A one-time join token, as env:NAME or file:PATH.")
    ] = None
    kubernetes_token: Annotated[
        str | None, typer.Option(help="A projected service-account token, as file:PATH.")
    ] = None
    cluster: Annotated[str, typer.Option(help="The cluster of --kubernetes-token.")] = ""
    socket: Annotated[Path | None, typer.Option(help="The SPIFFE Workload API's socket.")] = None
    spiffe_id: Annotated[
        str | None, typer.Option(help="Which of the identities at --socket; default: by its name.")
    ] = None
    ca: Annotated[
        Path | None, typer.Option(help="The trust domain's authorities (for --enrol).")
    ] = None
    save: Annotated[
        Path | None, typer.Option(help="Keep SVID and key in this directory (0600).")
    ] = None
    scope: Annotated[
        list[str] | None, typer.Option(help="Narrow the token, such as tool:orders.*")
    ] = None

    def where(self, config: Path) -> Addresses:
        """What is given, else what the configuration says that is here, else the usual."""
        known = USUAL
        unsaid = self.gate is None or self.enrol is None
        if unsaid and (config != DEFAULT_CONFIG or config.exists()):
            known = addresses(load(config))
        return Addresses(self.gate or known.gate, self.enrol or known.enrol)

    @property
    def own(self) -> bool:
        """Whether it says where the identity comes from."""
        return any((self.join_token, self.kubernetes_token, self.socket, self.save))


def identified(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``Way``, whose values it takes as ``way``."""
    own = inspect.signature(command, eval_str=True)
    hints = get_type_hints(Way, include_extras=True)
    added = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=one.default,
            annotation=hints[one.name],
        )
        for one in fields(Way)
    ]
    kept = [one for one in own.parameters.values() if one.name != _GIVEN]

    @functools.wraps(command)
    def wrapped(*words: Any, **given: Any) -> None:
        said = {one.name: given.pop(one.name, one.default) for one in added}
        command(*words, **given, **{_GIVEN: Way(**said)})

    signature = own.replace(parameters=[*kept, *added])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]  # as inspect reads it
    wrapped.__annotations__ = {
        name: one.annotation for name, one in signature.parameters.items()
    } | {"return": None}
    return wrapped
