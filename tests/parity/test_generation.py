# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The real 135M model says the same, token for token, in `tunesmith chat`, the engine and plain transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tunesmith.config.load import load_config
from tunesmith.core.types import Conversation, Message, Sampling
from tunesmith.engines.torch import TorchEngine
from tunesmith.jobs.conversation import Speaker
from tunesmith.jobs.inference import load_sampling, load_served
from tunesmith.models.load import load_model
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer, padding_id

QUESTIONS = ("What is the capital of France?", "Hi", "Write the numbers 10 to 15, and nothing else, please.")
NUM_TOKENS = 12


@pytest.mark.slow
def test_greedy_answers_equal_plain_transformers(demo_model: Path) -> None:
    tokenizer = load_tokenizer(demo_model)
    template = load_template(tokenizer)
    prompts = [
        template.render(
            Conversation(messages=(Message(role="user", content=question),)), add_generation_prompt=True
        ).input_ids.tolist()
        for question in QUESTIONS
    ]
    engine = TorchEngine(load_model(demo_model, dtype=torch.float32), padding_id(tokenizer))
    sampling = Sampling(max_new_tokens=NUM_TOKENS, stop_ids=template.stop_ids())
    answers = engine.generate(prompts, sampling)
    assert list(engine.stream(prompts[0], sampling)) == list(answers[0].token_ids)

    plain_tokenizer: Any = AutoTokenizer.from_pretrained(demo_model)
    plain_model: Any = AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32)
    config = GenerationConfig(
        do_sample=False, max_new_tokens=NUM_TOKENS, eos_token_id=list(template.stop_ids()), pad_token_id=2
    )
    for question, answer in zip(QUESTIONS, answers, strict=True):
        messages = [{"role": "user", "content": question}]
        ids = plain_tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")[
            "input_ids"
        ]
        expected = plain_model.generate(ids, generation_config=config)[0, ids.shape[1] :].tolist()
        assert list(answer.token_ids) == expected, question
    assert chatted(demo_model) == [
        plain_tokenizer.decode(answer.token_ids, skip_special_tokens=True).strip() for answer in answers
    ]


def chatted(folder: Path) -> list[str]:
    """Ask by what `tunesmith chat` is made of, from its configuration to the lines on the screen."""
    keys = {"model_name_or_path": str(folder), "infer_dtype": "float32", "do_sample": False}
    config = load_config({**keys, "max_new_tokens": NUM_TOKENS}, command="chat")
    served = load_served(config)
    speaker = Speaker(
        engine=served.engine,
        tokenizer=served.tokenizer,
        template=served.template,
        policy=served.policy,
        sampling_for=lambda num_prompt, number: load_sampling(
            config, served.template, num_prompt=num_prompt, seed=number
        ),
    )
    answers = []
    for question in QUESTIONS:
        speaker.history.clear()
        answers.append("".join(speaker.answer(question)).strip())
    return answers
