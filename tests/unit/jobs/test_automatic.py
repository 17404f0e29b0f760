# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that users leave to the program: as published, said with their reason, and written into the run's file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tunesmith.checks.context import Parts
from tunesmith.config.load import load_config
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import clear_warnings, collected_warnings
from tunesmith.jobs import automatic

RUN = {"model_name_or_path": "smollm2-135m", "dataset": "rows.jsonl", "output_dir": "out"}
SHAPE: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SIDES = 2 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 96))  # q, o; k, v; gate, up, down


class Rows:
    def __init__(self, tokens: int) -> None:
        self.num_supervised = torch.tensor([tokens])


class Data:
    def __init__(self, tokens: int, stream: object | None = None) -> None:
        self.train, self.stream = Rows(tokens), stream


def decide(
    monkeypatch: pytest.MonkeyPatch, *, tokens: int = 1000, model: nn.Module | None = None, **keys: Any
) -> RunConfig:
    small = model or LlamaForCausalLM(LlamaConfig(**SHAPE))
    monkeypatch.setattr(automatic, "load_skeleton", lambda folder: small)
    data: Any = Data(tokens)
    return automatic.choose_numbers(load_config({**RUN, **keys}, command="train"), Parts(folder=Path("x"), data=data))


@pytest.mark.parametrize(("tokens", "rank"), [(10, 16), (16 * SIDES, 16), (16 * SIDES + 1, 32), (10**9, 256)])
def test_the_rank_holds_what_the_tokens_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tokens: int, rank: int
) -> None:
    config = decide(monkeypatch, tokens=tokens, lora_rank="auto")
    assert config.flat["lora_rank"] == rank and f"lora_rank: {rank}\n" in config.to_yaml()
    told = capsys.readouterr().err
    assert f"{rank * SIDES:,} weights" in told and ("fewer than" in told) == (tokens == 10**9)


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        ({"finetuning_type": "lora"}, 10.0),
        ({"finetuning_type": "full"}, 1.0),
        ({"finetuning_type": "lora", "stage": "dpo"}, 0.25),
    ],
)
def test_the_rate_is_the_published_one(monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], factor: float) -> None:
    config = decide(monkeypatch, learning_rate="auto", **keys)
    assert config.training.learning_rate == pytest.approx(5e-5 * (2000 / 64) ** 0.781 * factor, rel=0.03)
    assert config.flat["lora_alpha"] == (32 if keys["finetuning_type"] == "lora" else None)
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE))
    of_qwen = decide(monkeypatch, model=model, learning_rate="auto", **keys)
    assert of_qwen.training.learning_rate == pytest.approx(5e-5 * (2000 / 64) ** 0.0775 * factor, rel=0.03)


def test_what_the_user_wrote_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    config = decide(monkeypatch, learning_rate="auto", lora_alpha=8, lora_rank=4)
    assert config.flat["lora_alpha"] == 8 and config.flat["lora_rank"] == 4
    assert decide(monkeypatch, learning_rate=3e-4).training.learning_rate == 3e-4


def test_a_family_without_a_fit_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    decide(monkeypatch, learning_rate="auto")
    assert "none is published" not in capsys.readouterr().err
    model = MistralForCausalLM(MistralConfig(**SHAPE))
    config = decide(monkeypatch, model=model, learning_rate="auto")
    assert config.training.learning_rate == pytest.approx(5e-4 * (2000 / 64) ** 0.781, rel=0.03)
    assert "the fit of Llama models, because none is published for mistral" in capsys.readouterr().err


@pytest.mark.parametrize("keys", [{"optim": "sgd"}, {"use_galore": True, "finetuning_type": "full"}, {"stage": "rm"}])
def test_there_is_no_rule_for_other_optimizers(monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]) -> None:
    with pytest.raises(TunesmithError) as caught:
        decide(monkeypatch, learning_rate="auto", **keys)
    assert "no published rule" in caught.value.problems[0].message


def test_a_resumed_run_takes_the_numbers_of_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = {"lora_rank": 64, "learning_rate": 7e-4, "lora_alpha": 32}

    class Manifest:
        record = json.loads(json.dumps({"config": saved}))

    monkeypatch.setattr(automatic, "read_manifest", lambda folder: Manifest)
    config = load_config({**RUN, "lora_rank": "auto", "learning_rate": "auto"}, command="train")
    data: Any = Data(5)
    resumed = automatic.choose_numbers(config, Parts(folder=Path("x"), data=data), Path("checkpoint-5"))
    assert {key: resumed.flat[key] for key in saved} == saved


def test_other_words_are_refused() -> None:
    with pytest.raises(TunesmithError):
        load_config({**RUN, "lora_rank": "best"}, command="train")


@pytest.mark.parametrize(
    ("stored", "unit", "keys", "expected"),
    [
        (torch.bfloat16, "amx_bf16", {}, True),
        (torch.bfloat16, "", {}, False),
        (torch.float32, "amx_bf16", {}, False),
        (torch.bfloat16, "amx_bf16", {"bf16": False}, False),
        (torch.bfloat16, "amx_bf16", {"pure_bf16": True}, None),
        (torch.bfloat16, "amx_bf16", {"fp16": True}, None),
    ],
)
def test_the_format_follows_weights_and_device(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stored: torch.dtype,
    unit: str,
    keys: dict[str, Any],
    expected: bool | None,
) -> None:
    monkeypatch.setattr(automatic, "load_model_config", lambda folder: LlamaConfig(**SHAPE, dtype=stored))
    monkeypatch.setattr(automatic, "fast_bf16", lambda device: unit)
    config = load_config({**RUN, **keys}, command="train")
    chosen = automatic.choose_format(config, Parts(folder=Path("x")))
    assert chosen.training.bf16 is expected
    assert ("bf16: on" in capsys.readouterr().err) == (expected is True)
    clear_warnings()
    automatic.choose_format(load_config({**RUN, "upcast_layernorm": True}, command="train"), Parts(folder=Path("x")))
    is_short = stored == torch.bfloat16 and bool(unit)
    assert [problem.code for problem in collected_warnings()] == ([] if is_short else ["check.aid_idle"])


def test_a_resumed_run_keeps_the_format_of_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    class Manifest:
        record = json.loads(json.dumps({"config": {"bf16": True}}))

    monkeypatch.setattr(automatic, "read_manifest", lambda folder: Manifest)
    config = load_config(RUN, command="train")
    assert automatic.choose_format(config, Parts(folder=Path("x")), Path("checkpoint-5")).training.bf16 is True
