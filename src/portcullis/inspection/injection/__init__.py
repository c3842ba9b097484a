"""Detecting instructions to a model in text: ``Injection`` scores it."""

from portcullis.inspection.injection.detector import Classifier, Injection, InjectionStream

__all__ = ["Classifier", "Injection", "InjectionStream"]
