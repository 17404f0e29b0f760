# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The quickstart: measure a small model on held-out rows, fine-tune it, merge it, verify the merge, measure again.

Every step is the command a user would type; only the measuring is called from Python. Writes
`output/quickstart/report.json` and exits 6 when the tuned model stays below the promised score.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "output" / "quickstart"
EXAMPLES = ROOT / "examples" / "quickstart"
PROMISED_SCORE = 0.90
BASE_CEILING = 0.05


def main() -> int:
    """Run all steps and print the table; the exit code says whether the promise was kept."""
    started = time.monotonic()
    print("tunesmith quickstart: order e-mails to JSON records, SmolLM2-135M, LoRA\n", flush=True)
    before = measure("Before training", EXAMPLES / "predict_base.yaml")
    trained = command("train", EXAMPLES / "lora_sft.yaml")
    exported = command("export", EXAMPLES / "export.yaml")
    after = measure("After training", EXAMPLES / "predict_tuned.yaml")
    report = {
        "rows": after["predict_samples"],
        "exact_match_before": before["predict_exact_match"],
        "exact_match_after": after["predict_exact_match"],
        "train_seconds": trained["seconds"],
        "merge_max_abs_diff": exported["merge_max_abs_diff"],
        "merge_top1_agreement": exported["merge_top1_agreement"],
        "total_seconds": round(time.monotonic() - started, 1),
    }
    (OUTPUT / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report, first_answer(Path(after["predictions"])))
    kept = report["exact_match_before"] < BASE_CEILING and report["exact_match_after"] >= PROMISED_SCORE
    return 0 if kept else 6


def command(verb: str, *words: object) -> dict[str, Any]:
    """Run `tunesmith VERB … --json`, progress on the terminal, and give its JSON result; a failure ends the script."""
    arguments = [sys.executable, "-m", "tunesmith", verb, *map(str, words), "--json"]
    print(f"\n$ tunesmith {verb} {' '.join(display(word) for word in words)}", flush=True)
    finished = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if finished.returncode != 0:
        print(finished.stdout)
        raise SystemExit(finished.returncode)
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def measure(label: str, file: Path) -> dict[str, Any]:
    """Answer the held-out rows greedily and score them by exact match."""
    result: dict[str, Any] = command("train", file)["predict"]
    print(f"{label}: {result['predict_correct']} of {result['predict_samples']} records exact", flush=True)
    return result


def first_answer(predictions: Path) -> dict[str, Any]:
    """Read the first answered row."""
    lines = (ROOT / predictions).read_text(encoding="utf-8").splitlines()
    answer: dict[str, Any] = json.loads(lines[0])
    return answer


def display(word: object) -> str:
    """Show a path as a user in the repository would type it."""
    return str(word.relative_to(ROOT)) if isinstance(word, Path) else str(word)


def show(report: dict[str, Any], example: dict[str, Any]) -> None:
    """Print the small table and one answer of the tuned model."""
    print("\nAn order the model has never seen, and the tuned model's answer:")
    print(f"  {example['prompt']}\n  -> {example['predict']}\n")
    rows = [
        ("held-out rows", str(report["rows"])),
        ("exact match before", f"{report['exact_match_before']:.0%}"),
        ("exact match after", f"{report['exact_match_after']:.0%}"),
        ("training seconds", f"{report['train_seconds']:.0f}"),
        ("merge, largest logit difference (fp32)", f"{report['merge_max_abs_diff']:.1e}"),
        ("merge, top-1 agreement (bf16)", f"{report['merge_top1_agreement']:.2%}"),
        ("seconds in all", f"{report['total_seconds']:.0f}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value:>8}")
    print(f"\nThe same numbers: {display(OUTPUT / 'report.json')}")


if __name__ == "__main__":
    sys.exit(main())
