"""Sans-IO codecs: bytes to values and back, strictly, one reading of everything."""

from portcullis.wire.model_errors import error_body, error_frame
from portcullis.wire.operations import SHAPES, behind

__all__ = ["SHAPES", "behind", "error_body", "error_frame"]
