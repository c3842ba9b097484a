import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from portcullis.config.inspection import Onnx
from portcullis.core.errors import Problem
from portcullis.inspection.injection.onnx import OnnxClassifier

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "attack": 4, "calm": 5}


def tokenizer(path: Path) -> Path:
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))  # noqa: S106 - a word
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(path))
    return path


def model(path: Path, *, inputs: tuple[str, ...] = ("input_ids", "attention_mask")) -> Path:
    """Its logits are the sums of a row per token: "attack" is for class 1, "calm" for class 0."""
    table = np.zeros((6, 2), dtype=np.float32)
    table[0] = [0, 50]  # padding that were not masked would be an attack
    table[4], table[5] = [0, 4], [1, 0]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "last"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, str(path))
    return path


def config(folder: Path, **changes: object) -> Onnx:
    given = {
        "model": model(folder / "model.onnx"),
        "tokenizer": tokenizer(folder / "tokenizer.json"),
        "window": 16,
    }
    return Onnx(**(given | changes))


def test_the_classifier_gives_the_probability_of_the_attack(tmp_path: Path) -> None:
    classifier = OnnxClassifier(config(tmp_path))
    assert classifier.score("") == pytest.approx(0.5)
    assert classifier.score("attack") == pytest.approx(1 / (1 + np.exp(-4)))
    assert classifier.score("calm calm") == pytest.approx(1 / (1 + np.exp(2)))
    assert OnnxClassifier(config(tmp_path, attack=0)).score("attack") < 0.1


def test_an_attack_anywhere_in_a_long_text_is_found(tmp_path: Path) -> None:
    classifier = OnnxClassifier(config(tmp_path))
    calm = ["calm"] * 300
    assert classifier.score(" ".join(calm)) < 0.01
    for at in (0, 13, 14, 150, 299):
        text = " ".join([*calm[:at], *["attack"] * 5, *calm[at:]])
        assert classifier.score(text) > 0.9


@pytest.mark.parametrize("what", ["model", "tokenizer"])
def test_a_file_that_is_no_model_is_named_at_the_start(tmp_path: Path, what: str) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"no")
    for path in (broken, tmp_path / "missing"):
        with pytest.raises(Problem, match="PC7015"):
            OnnxClassifier(config(tmp_path, **{what: path}))


def test_a_model_that_wants_other_things_is_refused(tmp_path: Path) -> None:
    other = model(tmp_path / "other.onnx", inputs=("input_ids", "attention_mask", "pixels"))
    with pytest.raises(Problem, match="PC7015"):
        OnnxClassifier(config(tmp_path, model=other))
    with pytest.raises(Problem, match="PC7015"):
        OnnxClassifier(config(tmp_path, attack=2))


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Problem, match="PC7015") as caught:
        OnnxClassifier(config(tmp_path))
    assert "onnx" in caught.value.hint
