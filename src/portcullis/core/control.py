"""The register of controls: what protects whom from what, where it acts, what proves it.

``portcullis/controls.yaml`` is the single source for the README's table, the threat model and the
matrix of routes, controls and phases that the end-to-end tests fill.
"""

from __future__ import annotations

import msgspec

from portcullis.core.call import Phase, Route


class Inapplicable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cells in which a control has nothing to do, and why. Empty ``routes`` means all."""

    reason: str
    phases: tuple[Phase, ...] = tuple(Phase)
    routes: tuple[Route, ...] = tuple(Route)


class Control(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One control. ``stride`` names STRIDE categories; ``frameworks`` maps a framework to ids."""

    id: str
    title: str
    threat: str
    asset: str
    acts: tuple[str, ...]
    stride: tuple[str, ...]
    frameworks: dict[str, tuple[str, ...]]
    inapplicable: tuple[Inapplicable, ...] = ()

    def reason(self, route: Route, phase: Phase) -> str | None:
        """Why a cell is declared inapplicable, or None when a test must fill it."""
        for entry in self.inapplicable:
            if route in entry.routes and phase in entry.phases:
                return entry.reason
        return None


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All controls, in the order of the line."""

    controls: tuple[Control, ...]
    limits: tuple[str, ...]
    """What this version does not protect from, said in the threat model."""

    def cells(self) -> tuple[tuple[str, Route, Phase], ...]:
        """The cells that tests must fill."""
        return tuple(
            (control.id, route, phase)
            for control in self.controls
            for route in Route
            for phase in Phase
            if control.reason(route, phase) is None
        )
