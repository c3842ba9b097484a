"""A sequence classifier in ONNX beside the linear model (such as an export of Prompt Guard 2).

Needs the extra ``onnx``; nothing of it is imported before a model is loaded. The model takes
``input_ids`` and ``attention_mask`` (and ``token_type_ids`` where it asks for them) of shape
(windows, tokens) and returns logits of shape (windows, classes) as its first output. A text is cut
into windows of as many tokens as the configuration says, half of which overlap; the score is the
highest probability (softmax) of the attack class over all windows.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from portcullis.config.inspection import Onnx
from portcullis.core.errors import Problem

_BATCH: Final = 8
_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class OnnxClassifier:
    """Loads the model and its tokenizer at once; Problem PC7015 when they cannot be used."""

    def __init__(self, config: Onnx) -> None:
        self._numpy = _module("numpy")
        self._config = config
        self._tokenizer = self._loaded_tokenizer()
        self._session = self._loaded_session()
        self._inputs = [taken.name for taken in self._session.get_inputs()]
        unknown = set(self._inputs) - _INPUTS
        if unknown or "input_ids" not in self._inputs:
            raise Problem("PC7015", f"the model's inputs are {sorted(self._inputs)}")
        self._room = config.window - len(self._tokenizer.encode("").ids)
        if self._room < 2:  # noqa: PLR2004 - a window and its half
            raise Problem("PC7015", "the window has no room beside the special tokens")
        self.score("")  # a model that cannot run fails now, not in a call

    def score(self, text: str) -> float:
        """The probability, 0 to 1, of the attack class in the most suspicious window."""
        windows = list(self._windows(text))
        batches = (windows[at : at + _BATCH] for at in range(0, len(windows), _BATCH))
        return max(self._highest(batch) for batch in batches)

    def _windows(self, text: str) -> Iterator[Any]:
        """Encodings with the special tokens, each of a window's tokens."""
        whole = self._tokenizer.encode(text, add_special_tokens=False)
        stride = self._room // 2
        for start in range(0, max(1, len(whole.ids) - stride), stride):
            offsets = whole.offsets[start : start + self._room]
            piece = text[offsets[0][0] : offsets[-1][1]] if offsets else ""
            encoding = self._tokenizer.encode(piece)
            encoding.truncate(self._config.window)
            yield encoding

    def _highest(self, batch: Sequence[Any]) -> float:
        longest = max(1, *(len(encoding.ids) for encoding in batch))
        fields = {
            "input_ids": [encoding.ids for encoding in batch],
            "attention_mask": [encoding.attention_mask for encoding in batch],
            "token_type_ids": [encoding.type_ids for encoding in batch],
        }
        numpy = self._numpy
        inputs = {
            name: numpy.array(
                [row + [0] * (longest - len(row)) for row in fields[name]], dtype=numpy.int64
            )
            for name in self._inputs
        }
        logits = numpy.asarray(self._session.run(None, inputs)[0], dtype=numpy.float64)
        if logits.ndim != 2 or logits.shape[1] <= self._config.attack:  # noqa: PLR2004 - (windows, classes)
            raise Problem("PC7015", f"the model's first output has the shape {logits.shape}")
        raised = numpy.exp(logits - logits.max(axis=1, keepdims=True))
        probability = raised[:, self._config.attack] / raised.sum(axis=1)
        if not numpy.isfinite(probability).all():
            raise Problem("PC7015", "the model's output is not a number")
        return float(probability.max())

    def _loaded_tokenizer(self) -> Any:
        tokenizers = _module("tokenizers")
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self._config.tokenizer))
        except Exception as error:  # the library raises nothing narrower
            raise Problem("PC7015", f"tokenizer: {error}") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def _loaded_session(self) -> Any:
        onnxruntime = _module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(
                str(self._config.model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library's errors have no common base
            raise Problem("PC7015", f"model: {error}") from error


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Problem("PC7015", f"{name} is missing", hint="Install the extra `onnx`.") from error
