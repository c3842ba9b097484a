"""A stand-in for development: it speaks the wire formats of model providers, and is no model.

Its answers are computed by fixed rules (``script``) and are the same for the same request.
Every answer says what it is: the ``x-standin`` header, ``system_fingerprint``, ids that begin
with ``standin``, and the words "stand-in" in its texts.
"""

from portcullis.demo.model.app import Seen, StandinModel
from portcullis.demo.model.faults import DIRECTIVES

__all__ = ["DIRECTIVES", "Seen", "StandinModel"]
