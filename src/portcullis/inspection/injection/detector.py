"""The detector of instructions in text: rules and a linear model, and a classifier where given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from portcullis.core.inspection import InjectionScore, InjectionVerdict, Source
from portcullis.inspection.injection import fold, intents, linear
from portcullis.inspection.injection.intents import Grammar
from portcullis.inspection.injection.linear import Model
from portcullis.inspection.injection.matcher import matcher
from portcullis.inspection.injection.thresholds import INJECTION, SUSPECT
from portcullis.inspection.injection.windows import GROWING, WHOLE, Scale, Windows


class Classifier(Protocol):
    """Another model: the probability, 0 to 1, that a text is an attack. See ``onnx``."""

    def score(self, text: str) -> float:
        """The probability of the most suspicious part of the text."""
        ...


class Injection:
    """Scores texts. The score depends on text and source alone, and is the same on every machine.

    0.5 is the threshold of SUSPECT, 0.9 that of INJECTION, of the source. Texts are expected to be
    normalised (see ``inspection.normalise``); case and white space are dealt with here. The score
    is that of the first window that is an injection, else of the strongest. Where there is a
    ``classifier``, its probability counts when it is higher.

    ``folder`` keeps compiled databases between starts; ``accelerated`` is for tests.
    """

    def __init__(
        self,
        *,
        model: Model | None = None,
        grammar: Grammar | None = None,
        classifier: Classifier | None = None,
        folder: Path | None = None,
        accelerated: bool | None = None,
    ) -> None:
        self._model = model or linear.builtin()
        grammar = grammar or intents.builtin()
        rules = intents.rules(grammar)
        found = matcher(rules, intents.gate(grammar), folder=folder, accelerated=accelerated)
        self._scale = Scale(self._model, linear.heads(self._model), rules, found)
        self._classifier = classifier

    def score(self, text: str, source: Source) -> InjectionScore:
        """How much the text looks like instructions to a model, and the rules that say so."""
        windows = Windows(self._scale, self._model.thresholds[source], WHOLE)
        windows.feed(fold.fold(text))
        windows.end()
        return self._classified(self._judged(windows, source), text)

    def stream(self, source: Source) -> InjectionStream:
        """Score a text that arrives in pieces."""
        windows = Windows(self._scale, self._model.thresholds[source], GROWING)

        def judge(text: str | None) -> InjectionScore:
            score = self._judged(windows, source)
            return score if text is None else self._classified(score, text)

        return InjectionStream(windows, judge, whole=self._classifier is not None)

    def _judged(self, windows: Windows, source: Source) -> InjectionScore:
        threshold = self._model.thresholds[source]
        return InjectionScore(
            score=threshold.score(windows.total, self._model.floor),
            verdict=threshold.verdict(windows.total),
            reasons=windows.names,
        )

    def _classified(self, score: InjectionScore, text: str) -> InjectionScore:
        if self._classifier is None:
            return score
        probability = self._classifier.score(text)
        if probability <= score.score:
            return score
        return InjectionScore(
            score=probability,
            verdict=verdict(probability),
            reasons=("classifier", *score.reasons),
        )


class InjectionStream:
    """The score of a text that grows. At the end it is what ``score`` says of the whole.

    A classifier reads the text at the end only; for it the text is kept until then.
    """

    def __init__(
        self, windows: Windows, judge: Callable[[str | None], InjectionScore], *, whole: bool
    ) -> None:
        self._windows = windows
        self._judge = judge
        self._texts: list[str] | None = [] if whole else None
        self._last = b" "
        windows.feed(self._last)

    def feed(self, piece: str) -> InjectionScore:
        """Take the next piece. Returns the score of the windows that are complete."""
        if self._texts is not None:
            self._texts.append(piece)
        self._add(fold.piece(piece))
        return self._judge(None)

    def end(self) -> InjectionScore:
        """The score of the whole."""
        self._add(b" ")
        self._windows.end()
        return self._judge(None if self._texts is None else "".join(self._texts))

    def _add(self, piece: bytes) -> None:
        added = fold.join(self._last, piece)
        self._windows.feed(added)
        self._last = (self._last + added)[-2:]


def verdict(score: float) -> InjectionVerdict:
    """What a score means, whatever the source."""
    if score >= INJECTION:
        return InjectionVerdict.INJECTION
    return InjectionVerdict.SUSPECT if score >= SUSPECT else InjectionVerdict.CLEAN
