# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a sound run into a folder, with one thing changed or another kind of rows, and checks it in this process.

The changes are described in `broken_runs/broken.yaml` and `broken_runs/sound.yaml`.
"""

import csv
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import yaml
from pyarrow import parquet

from tunesmith.config.load import load_config
from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.jobs import check

RUNS = Path(__file__).parent / "broken_runs"
Row = dict[str, Any]
NUM_ROWS = 24
TALE_WORDS = (
    "miller baker horse river flour winter bridge candle garden letter soldier window kitchen thunder velvet orchard "
    "blanket harbour whistle lantern barrel feather pocket shadow market saddle ribbon kettle"
)

SOUND_KEYS: dict[str, Any] = {
    "model_name_or_path": "model",
    "stage": "sft",
    "finetuning_type": "lora",
    "dataset": "rows.jsonl",
    "dataset_dir": ".",
    "cutoff_len": 512,
    "output_dir": "out",
    "per_device_train_batch_size": 4,
    "learning_rate": 1.0e-4,
    "num_train_epochs": 2,
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a check ended."""

    refusals: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    exit_code: int
    report: Mapping[str, Any]


def read_cases(name: str) -> list[dict[str, Any]]:
    """Read the described runs of one file."""
    cases: list[dict[str, Any]] = yaml.safe_load((RUNS / name).read_text(encoding="utf-8"))
    return cases


def write_run(folder: Path, case: Mapping[str, Any], model: Path) -> Path:
    """Write configuration, rows and model folder of a run, changed as described; give the configuration file."""
    _write_model(folder / "model", case, model)
    _write_rows(folder, case)
    for name, text in case.get("files", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    data = {"dataset": f"rows.{case['format']}"} if "format" in case else {}
    keys = {**SOUND_KEYS, **data, **case.get("keys", {})}
    text = yaml.safe_dump({key: value for key, value in keys.items() if value is not None}, sort_keys=False)
    path = folder / "run.yaml"
    path.write_text(case.get("text", text), encoding="utf-8")
    return path


def check_run(path: Path, words: Sequence[str] = ()) -> Verdict:
    """Check a run as the command does, in its folder."""
    warnings: tuple[Problem, ...] = ()
    try:
        config = load_config(path, command="check", overrides=words)
        warnings = config.warnings
        result = check.run(config)
    except TunesmithError as error:
        return Verdict(
            refusals=error.problems,
            warnings=(*warnings, *collected_warnings()),
            exit_code=int(error.exit_code),
            report=error.result,
        )
    return Verdict(refusals=(), warnings=(*warnings, *collected_warnings()), exit_code=0, report=result["report"])


def alpaca(number: int) -> Row:
    """A sum as instruction and output."""
    return {"instruction": f"What is {number} plus {number}?", "input": "", "output": f"It is {number + number}."}


def chat(number: int) -> Row:
    """The same as OpenAI messages."""
    row = alpaca(number)
    messages = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]
    return {"messages": messages}


def masked(number: int) -> Row:
    """A conversation of which nothing is trained."""
    question, answer = chat(number)["messages"]
    return {"messages": [question, {**answer, "loss_weight": 0}]}


def several_turns(number: int) -> Row:
    """A conversation with a system prompt and two answers, as ShareGPT has it."""
    turns = [("system", "You add."), ("human", f"{number}+1?"), ("gpt", f"{number + 1}"), ("human", "And one more?")]
    turns.append(("gpt", f"Then it is {number + 2}."))
    return {"conversations": [{"from": role, "value": value} for role, value in turns]}


def call(number: int) -> Row:
    """A tool call and what came of it, as ShareGPT has it."""
    made = {"name": "add", "arguments": {"a": number, "b": number}}
    turns = [
        ("human", f"Add {number} to itself."),
        ("function_call", json.dumps(made)),
        ("observation", str(2 * number)),
        ("gpt", f"{2 * number}, says the tool."),
    ]
    tools = [{"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}]
    return {"conversations": [{"from": role, "value": value} for role, value in turns], "tools": json.dumps(tools)}


def chinese(number: int) -> Row:
    """A sum in Chinese."""
    return {"instruction": f"{number}加{number}等于多少？", "input": "", "output": f"等于{number + number}。"}


def text(number: int) -> Row:
    """A plain text."""
    return {"text": f"In chapter {number} the fox meets the crow for time number {number}."}


def tale(number: int) -> Row:
    """A question of two dozen words of its own."""
    words = random.Random(number).choices(TALE_WORDS.split(), k=24)
    return {"instruction": f"Go on: {' '.join(words)}.", "input": "", "output": f"Then the {words[3]}."}


def moulded(number: int) -> Row:
    """An answer that differs from the others in its number."""
    return {**alpaca(number), "output": f"I will look into question {number} and come back with an answer."}


def refusal(number: int) -> Row:
    """An answer that declines, in words of its own."""
    return {**alpaca(number), "output": f"I'm sorry, I cannot {_words(2, number)} {_words(3, 5 * number // 4)}."}


def prompt(number: int) -> Row:
    """A conversation without an answer."""
    return {"messages": chat(number)["messages"][:1]}


def long_prompt(number: int) -> Row:
    """A question of six thousand words with one letter as its answer."""
    return {"instruction": _words(6000, number) + f" {number}", "input": "", "output": "y"}


RECORDS: dict[str, Callable[[int], Row]] = {
    "alpaca": alpaca,
    "chinese": chinese,
    "chats": chat,
    "masked": masked,
    "several_turns": several_turns,
    "calls": call,
    "texts": text,
    "prompts": prompt,
    "tales": tale,
    "moulded": moulded,
    "refusals": refusal,
    "long_prompts": long_prompt,
}


def _write_rows(folder: Path, case: Mapping[str, Any]) -> None:
    record = RECORDS[case.get("records", "alpaca")]
    rows = [record(number) for number in range(case.get("number", NUM_ROWS))]
    for index, columns in case.get("rows", {}).items():
        rows[index] = _changed(rows, index, columns)
    if "format" in case:
        WRITERS[case["format"]](folder / f"rows.{case['format']}", rows)
    else:
        _write_lines(folder / "rows.jsonl", rows, case)
    if "eval" in case:
        first, count = (0, 4) if case["eval"] == "training" else (NUM_ROWS, case["eval"])
        held_out = [json.dumps(record(number)) + "\n" for number in range(first, first + count)]
        (folder / "eval.jsonl").write_text("".join(held_out), encoding="utf-8")


def _write_lines(path: Path, rows: list[Row], case: Mapping[str, Any]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    for index, line in case.get("lines", {}).items():
        lines[index] = line
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(case.get("encoding", "utf-8")))


def _write_json(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, rows: list[Row]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[[Path, list[Row]], None]] = {
    "json": _write_json,
    "csv": _write_csv,
    "parquet": _write_parquet,
}


def _changed(rows: list[Row], index: int, columns: Mapping[str, Any]) -> Row:
    if "copy" in columns:
        source: int = columns["copy"]
        return rows[source]
    if "nearly" in columns:
        like = rows[columns["nearly"]]
        return {**like, "instruction": like["instruction"] + " Why?"}
    merged = {**rows[index], **columns}
    row = {name: value for name, value in merged.items() if value is not None}
    return {name: _words(value["words"], index) if _is_words(value) else value for name, value in row.items()}


def _is_words(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"words"}


def _words(count: int, number: int) -> str:
    return " ".join(["river", "stone", "cloud", "field"][(number + place) % 4] for place in range(count))


def _write_model(folder: Path, case: Mapping[str, Any], model: Path) -> None:
    folder.mkdir()
    for source in sorted(model.iterdir()):
        target = folder / case.get("rename", {}).get(source.name, source.name)
        os.link(source, target) if source.suffix == ".safetensors" else shutil.copyfile(source, target)
    if "config" in case:
        _update_json(folder / "config.json", case["config"])
    if "tokenizer" in case:
        _update_json(folder / "tokenizer_config.json", case["tokenizer"])
    if "template" in case:
        shutil.copyfile(RUNS / case["template"], folder / "chat_template.jinja")


def _update_json(path: Path, values: Mapping[str, Any]) -> None:
    content: dict[str, Any] = {**json.loads(path.read_text(encoding="utf-8")), **values}
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")
