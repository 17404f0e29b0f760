# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith chat` with a base model, a full checkpoint and an adapter, with lines piped in."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.jobs.inference import load_sampling, load_served
from tunesmith.models.load import load_model
from tunesmith.models.tuners.lora import LoraParams, LoraTuner
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer

KEYS = ("do_sample=false", "max_new_tokens=8", "infer_dtype=float32")


def plain_answer(folder: Path, question: str, model: Any = None) -> str:
    """Answer with transformers alone."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder) if model is None else model
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    config = GenerationConfig(do_sample=False, max_new_tokens=8, eos_token_id=2, pad_token_id=2)
    answer = model.eval().generate(ids, generation_config=config)[0][ids.shape[1] :]
    return str(tokenizer.decode(answer, skip_special_tokens=True))


@pytest.fixture
def adapter(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    """Save a LoRA adapter with values that matter, and the template it was trained with."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    tuner = LoraTuner(LoraParams.model_validate({"lora_rank": 4}))
    model = tuner.attach(load_model(tiny_llama_folder, dtype=torch.float32))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    tuner.save(model, folder)
    load_template(load_tokenizer(tiny_llama_folder)).save(folder)
    return folder


@pytest.mark.slow
def test_chat_answers_like_transformers(tiny_llama_folder: Path, tunesmith_command: Callable[..., Any]) -> None:
    done = tunesmith_command(
        "chat", f"model_name_or_path={tiny_llama_folder}", *KEYS, stdin="What is 2+2?\nclear\nWho?\\\nYou?\nexit\n"
    )
    assert done.returncode == 0, done.stderr
    expected = [plain_answer(tiny_llama_folder, question) for question in ("What is 2+2?", "Who?\nYou?")]
    assert done.stdout == "".join(f"{answer}\n" for answer in expected)
    assert "forgotten" in done.stderr


def test_an_adapter_answers_with_its_weights_and_template(
    tiny_llama_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    keys = {
        "model_name_or_path": str(tiny_llama_folder),
        "adapter_name_or_path": str(adapter),
        "infer_dtype": "float32",
        "do_sample": False,
        "max_new_tokens": 8,
        "default_system": "Be brief.",
    }
    config = load_config(keys, command="chat")
    served = load_served(config)
    assert served.policy.default_system == "Be brief."
    assert load_sampling(config, served.template).do_sample is False
    tuner = LoraTuner(LoraParams.model_validate({}))
    merged = tuner.merge(tuner.load(load_model(tiny_llama_folder, dtype=torch.float32), adapter, is_trainable=False))
    question = "What is 2+2?"
    messages = [{"role": "user", "content": question}]
    tokenizer: Any = served.tokenizer
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    sampling = load_sampling(config, served.template)
    (answer,) = served.engine.generate([ids], sampling)
    text = tokenizer.decode(answer.token_ids, skip_special_tokens=True)
    assert text == plain_answer(tiny_llama_folder, question, merged)
    assert text != plain_answer(tiny_llama_folder, question)
    assert collected_warnings() == ()

    own = (adapter / "chat_template.jinja").read_text(encoding="utf-8")
    changed = own.replace("<|im_start|>user", "<|im_start|>human").replace("'<|im_start|>' +", "'<|im_start|>-' +")
    assert changed != own
    (adapter / "chat_template.jinja").write_text(changed, encoding="utf-8")
    for wished in (keys, {**keys, "template": "chatml"}):
        with pytest.raises(TunesmithError) as caught:
            load_served(load_config(wished, command="chat"))
        assert caught.value.problems[0].code == "template.frozen_differs"
    wanted = {**keys, "allow_other_template": True}
    assert load_served(load_config(wanted, command="chat")).template.source == changed
    named = load_config({**wanted, "template": "chatml"}, command="chat")
    assert load_served(named).template.name == "chatml"
    assert {problem.code for problem in collected_warnings()} == {"template.frozen_differs"}


def test_without_max_new_tokens_the_prompt_counts(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_llama_folder, folder)
    keys = {"model_name_or_path": str(folder), "max_new_tokens": -1, "max_length": 50}
    config = load_config(keys, command="chat")
    template = load_template(load_tokenizer(folder))
    assert load_sampling(config, template, num_prompt=20).max_new_tokens == 30
    assert load_sampling(config, template, seed=3).seed == config.run.seed + 3
    assert load_sampling(config, template).do_sample
