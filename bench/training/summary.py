# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""From the cells of the training benches to the summary and its table: medians, spreads, ratios. Pure functions."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from training.settings import SETTINGS, Setting, split_system

Run = Mapping[str, Any]
_MEASURES = ("tokens_per_cpu_second", "tokens_per_second", "peak_rss_bytes")
# Systems whose tokens differ by more than this did not train the same rows.
_SAME_TOKENS = 0.01
# Results of ours alone.
_ALONE = ("ceiling", "losses_bf16", "losses_fp32", "profile")


def summarise(results: Mapping[str, Run]) -> dict[str, Any]:
    """Summarise the cells by setting, with the ratios of ours to the best peer."""
    settings = runs_by_setting(results).items()
    found: dict[str, Any] = {"settings": [summarise_setting(name, systems) for name, systems in settings]}
    views = {
        "ceiling": dict,
        "profile": profile_shares,
        "losses_bf16": loss_differences,
        "losses_fp32": loss_differences,
    }
    found |= {name: views[name](results[name]) for name in _ALONE if name in results}
    if "ceiling" in found:
        _add_ceiling(found)
    return found


def runs_by_setting(
    results: Mapping[str, Run], settings: Sequence[Setting] = SETTINGS
) -> dict[str, dict[str, list[Run]]]:
    """Group the cells `setting-system-round` by setting and system, in the order of the settings."""
    grouped: dict[str, dict[str, list[Run]]] = {}
    names = {name: tuple(name.split("-", 1)) for name in results if name not in _ALONE}
    places = [setting.name for setting in settings]
    for name in sorted(names, key=lambda name: (places.index(names[name][0]), name)):
        setting, rest = names[name]
        grouped.setdefault(setting, {}).setdefault(rest.rpartition("-")[0], []).append(results[name])
    return grouped


def summarise_setting(name: str, systems: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Give medians, spreads and the ratios of ours to the best peer, in each measure the best one."""
    medians = {system: _median_of(runs) for system, runs in systems.items()}
    found: dict[str, Any] = {"name": name, "systems": medians}
    ours = next((medians[system] for system in medians if split_system(system) == ["tunesmith"]), None)
    peers = {system: values for system, values in medians.items() if split_system(system)[0] != "tunesmith"}
    tokens = [values["tokens"] for values in medians.values()]
    found["token_difference"] = (max(tokens) - min(tokens)) / max(tokens)
    found["is_same_work"] = found["token_difference"] <= _SAME_TOKENS
    if ours is None or not peers:
        return found
    fastest = max(peers, key=lambda system: float(peers[system]["tokens_per_cpu_second"]))
    leanest = min(peers, key=lambda system: float(peers[system]["peak_rss_bytes"]))
    speed = [run["tokens_per_cpu_second"] for run in systems["tunesmith"]]
    theirs = [run["tokens_per_cpu_second"] for run in systems[fastest]]
    return {
        **found,
        "fastest_peer": fastest,
        "leanest_peer": leanest,
        "speed_ratio": ours["tokens_per_cpu_second"] / peers[fastest]["tokens_per_cpu_second"],
        "wall_speed_ratio": ours["tokens_per_second"] / max(values["tokens_per_second"] for values in peers.values()),
        "rss_ratio": ours["peak_rss_bytes"] / peers[leanest]["peak_rss_bytes"],
        "rss_ratio_to_fastest": ours["peak_rss_bytes"] / peers[fastest]["peak_rss_bytes"],
        "speed_ratio_range": [min(speed) / max(theirs), max(speed) / min(theirs)],
        **_to_defaults(ours, {system: values for system, values in peers.items() if len(split_system(system)) == 1}),
    }


def _to_defaults(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare ours with the fastest peer that was told nothing, in speed and memory."""
    if not peers:
        return {}
    fastest = max(peers, key=lambda system: float(peers[system]["tokens_per_cpu_second"]))
    return {
        "fastest_default": fastest,
        "speed_ratio_to_default": ours["tokens_per_cpu_second"] / peers[fastest]["tokens_per_cpu_second"],
        "rss_ratio_to_default": ours["peak_rss_bytes"] / peers[fastest]["peak_rss_bytes"],
    }


def _median_of(runs: Sequence[Run]) -> dict[str, Any]:
    values: dict[str, Any] = {name: statistics.median(run[name] for run in runs) for name in _MEASURES}
    rates = [run["tokens_per_cpu_second"] for run in runs]
    return {
        **values,
        "runs": len(runs),
        "spread": (max(rates) - min(rates)) / values["tokens_per_cpu_second"],
        "tokens": statistics.median(run["tokens"] for run in runs),
        "compile_seconds_in_timed_steps": max(run.get("compile_seconds", 0.0) for run in runs),
        "warmup_seconds": statistics.median(sum(run["step_seconds"][: -run["steps"]]) for run in runs),
        "steps_peak_rss_bytes": statistics.median(run["steps_peak_rss_bytes"] for run in runs),
        "first_losses": list(runs[0]["losses"][:3]),
    }


def _add_ceiling(found: dict[str, Any]) -> None:
    ceiling = found["ceiling"]["tokens_per_second"]
    for setting in found["settings"]:
        if "full" not in setting["name"]:
            for values in setting["systems"].values():
                values["share_of_ceiling"] = values["tokens_per_second"] / ceiling


def loss_differences(found: Run) -> dict[str, Any]:
    """Give the largest relative difference of ours to the plain loop, and beside it that of the loop to itself."""
    plain = found["losses"]
    differences = {"steps": len(plain), "ours_to_plain": _largest_difference(found["ours"], plain)}
    if "losses_row_by_row" in found:
        differences["plain_to_itself"] = _largest_difference(found["losses_row_by_row"], plain)
    return {**differences, "plain": plain, "ours": found["ours"]}


def _largest_difference(losses: Sequence[float], others: Sequence[float]) -> float:
    return max(abs(one - other) / abs(other) for one, other in zip(losses, others, strict=True))


def profile_shares(profile: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Sort the operators of each system's steps into kinds, and give each kind's share of the time."""
    shares = {}
    for system, operators in profile.items():
        seconds: dict[str, float] = {}
        for name, entry in operators.items():
            seconds[_kind_of(name)] = seconds.get(_kind_of(name), 0.0) + entry["seconds"]
        total = sum(seconds.values())
        longest = sorted(operators, key=lambda name: -operators[name]["seconds"])[:12]
        shares[system] = {
            "seconds": total,
            "shares": {kind: value / total for kind, value in sorted(seconds.items(), key=lambda item: -item[1])},
            "longest": {name: operators[name]["seconds"] / total for name in longest},
        }
    return shares


_KINDS = {
    "matrix products": ("mm", "matmul", "linear", "mkldnn", "baddbmm", "gemm"),
    "attention": ("attention", "sdpa", "flash"),
    "casts and copies": ("copy", "to_copy", "cat", "clone", "contiguous", "index", "gather", "scatter", "fill", "zero"),
    "compiled code": (
        "Torch-Compiled",
        "CompiledFunction",
        "graph_",
        "cpp_fused",
        "Call CompiledFxGraph",
        "CompiledFx",
    ),
    "optimizer": ("adam", "Optimizer", "foreach"),
    "loss": ("log_softmax", "nll_loss", "cross_entropy", "logsumexp"),
}


def _kind_of(operator: str) -> str:
    kinds = (kind for kind, words in _KINDS.items() if any(word in operator for word in words))
    return next(kinds, "element-wise and the rest")


def table(summary: Mapping[str, Any]) -> str:
    """Lay the summary out as text."""
    lines = []
    for setting in summary["settings"]:
        lines.append(f"\n{setting['name']}")
        for system, values in setting["systems"].items():
            share = f"  {values['share_of_ceiling']:.1%} of the ceiling" if "share_of_ceiling" in values else ""
            lines.append(
                f"  {system:36s}{values['tokens_per_cpu_second']:8.1f} tokens/CPU-s{values['tokens_per_second']:9.1f} "
                f"tokens/s{values['peak_rss_bytes'] / 2**30:7.2f} GiB  {values['runs']} runs, spread "
                f"{values['spread']:.0%}{share}"
            )
        is_same = "the same" if setting["is_same_work"] else "NOT THE SAME"
        lines.append(f"  tokens differ by {setting['token_difference']:.2%}: {is_same} work")
        if "speed_ratio" in setting:
            low, high = setting["speed_ratio_range"]
            lines.append(
                f"  ours: {setting['speed_ratio']:.2f} times the speed of {setting['fastest_peer']} ({low:.2f} to "
                f"{high:.2f}), {setting['rss_ratio']:.2f} of the memory of {setting['leanest_peer']}"
            )
    for name in ("ceiling", "losses_bf16", "losses_fp32"):
        if summary.get(name):
            lines.append(f"\n{name}: {summary[name]}")
    return "\n".join(lines)
