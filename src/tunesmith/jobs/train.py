# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The job of `tunesmith train`: checks a run, puts it together, trains or evaluates, saves, and reports."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from tunesmith.checks.context import Parts
from tunesmith.checks.preflight import run_preflight
from tunesmith.config.run import RunConfig
from tunesmith.core.files import write_text_atomic
from tunesmith.core.progress import format_seconds, say
from tunesmith.core.report import emit_warning
from tunesmith.core.types import Completion
from tunesmith.data.mismatched import rows_for
from tunesmith.jobs.assembly import (
    BuiltModel,
    add_callbacks,
    build_model,
    build_objective,
    build_trainer,
    look_at_optimizer,
    plan_rules,
    refuse_unknown_metric,
    run_arguments,
    side_bytes,
)
from tunesmith.jobs.automatic import choose_format, choose_numbers
from tunesmith.jobs.batch_search import settle_batch
from tunesmith.jobs.compiling import settle_compiling
from tunesmith.jobs.fingerprints import run_fingerprints
from tunesmith.jobs.forecast import Forecast, Saving, counted, make_forecast, refuse_short_disk
from tunesmith.jobs.predict import predict
from tunesmith.jobs.reference import named_reference
from tunesmith.jobs.results import (
    publish_model,
    train_metrics,
    training_result,
    write_metrics,
    write_plots,
    write_reference,
)
from tunesmith.jobs.resume import compare_with_checkpoint, warn_of_machine
from tunesmith.jobs.samples import Answerer, Prompt, compare, degeneration, pick_prompts, to_lines
from tunesmith.jobs.start_adapters import keep_adapters, with_kept_adapters
from tunesmith.objectives.base import objectives
from tunesmith.templates.tokenizer import padding_id
from tunesmith.training.arguments import training_device
from tunesmith.training.checkpoints import CONFIG_FILE, clear_leftovers, read_manifest
from tunesmith.training.interrupt import InterruptFlag
from tunesmith.training.lock import hold_lock
from tunesmith.training.output_folder import Begin, decide_begin
from tunesmith.training.precision import mixed_precision
from tunesmith.training.record import RunRecord, installed_versions
from tunesmith.training.trainer import TRAINER_STATE, TunesmithTrainer


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that has passed its checks: its parts, how it begins, and the record that its checkpoints carry."""

    config: RunConfig
    parts: Parts
    begin: Begin
    record: RunRecord

    @property
    def folder(self) -> Path:
        """Output folder."""
        return self.begin.folder


def run(config: RunConfig) -> dict[str, Any]:
    """Train as configured (or only evaluate), and give what came of it."""
    prepared = prepare_run(config)
    config = prepared.config  # with kept adapters and chosen numbers
    set_seed(config.run.seed)
    choices = compare_with_checkpoint(prepared.begin, prepared.record)
    built = build_model(config, prepared.parts, saved_choices=choices)
    config, batch = settle_batch(config, prepared.parts, built, saved_choices=choices)
    built = replace(built, choices={**built.choices, **batch})
    prepared = replace(prepared, config=config)
    if not config.run.do_train:
        prepared = with_choices(prepared, built)
        return {**evaluate_only(prepared, built), **predict_if_asked(prepared, built)}
    forecast = announce(prepared, built)
    built = settle_compiling(config, built, forecast, saved_choices=choices)
    prepared = with_choices(prepared, built)
    warn_of_machine(prepared.begin, prepared.record)
    prepared.begin.apply(say)
    with hold_lock(prepared.folder):
        clear_leftovers(prepared.folder)
        write_text_atomic(prepared.folder / CONFIG_FILE, prepared.record.config_text)
        keep_start(prepared)
        return {**train(prepared, built, forecast), **predict_if_asked(prepared, built)}


def prepare_run(asked: RunConfig) -> Prepared:
    """Ask all preflight rules and decide how the run begins; nothing is written yet."""
    config = with_kept_adapters(asked)
    folder = Path(config.run.output_dir or "").expanduser()
    begins: list[Begin] = []

    def look_at_folder(config: RunConfig) -> None:
        run = config.run
        begins.append(decide_begin(folder, resume=run.resume_from_checkpoint, overwrite=run.overwrite_output_dir))

    guards = [look_at_folder, look_at_optimizer] if config.run.do_train else []
    report = run_preflight(config, guards=guards)
    report.raise_if_refused()
    for problem in report.warnings:
        emit_warning(problem)
    checkpoint = begins[0].checkpoint if begins else None
    numbers = choose_format(choose_numbers(config, report.parts, checkpoint), report.parts, checkpoint)
    chosen = {key: value for key, value in numbers.flat.items() if value != config.flat[key]}
    config, asked = config.with_choices(chosen), asked.with_choices(chosen)
    adapters = [Path(adapter) for adapter in config.model.adapter_name_or_path]
    assert report.parts.folder is not None
    reference = named_reference(config, report.parts.folder)
    record = RunRecord(
        config=dict(asked.flat),
        config_text=asked.to_yaml(),
        fingerprints=run_fingerprints(report.parts, adapters, reference=reference),
        choices={},
        versions=installed_versions(),
    )
    begin = begins[0] if begins else Begin(folder=folder)
    return Prepared(config=config, parts=report.parts, begin=begin, record=record)


def keep_start(prepared: Prepared) -> None:
    """Keep the adapters that a run with a reference starts from, so that a resume finds them unchanged."""
    adapters = [Path(adapter) for adapter in prepared.config.model.adapter_name_or_path]
    if adapters and build_objective(prepared.config).needs_reference:
        keep_adapters(adapters, prepared.folder)


def with_choices(prepared: Prepared, built: BuiltModel) -> Prepared:
    """Add what was decided for the user to the record, and to the saved configuration as comments."""
    lines = [f"# decided for this run: {name}: {value}" for name, value in built.choices.items()]
    text = prepared.record.config_text + "\n".join(lines) + "\n"
    return replace(prepared, record=replace(prepared.record, choices=built.choices, config_text=text))


def announce(prepared: Prepared, built: BuiltModel) -> Forecast:
    """Tell what the run will do, before it does anything; refuse a disk that is too small for it."""
    data = prepared.parts.data
    assert data is not None and data.train is not None
    say(data.ledger.table())
    refuse_unknown_metric(prepared.config, data.evals)
    args = run_arguments(prepared.config, has_evaluation=bool(data.evals))
    saving = Saving(keep=prepared.config.training.save_total_limit, side_bytes=side_bytes(prepared.parts))
    rows = rows_for(objectives.get(prepared.config.run.stage), data.train)
    rules = plan_rules(prepared.config, args, built.layout)
    forecast = make_forecast(built.model, rows, rules, args, saving=saving)
    forecast = replace(forecast, is_stream=data.stream is not None)
    if prepared.begin.checkpoint is not None:
        forecast = replace(forecast, steps_done=read_manifest(prepared.begin.checkpoint).step)
    for line in forecast.lines():
        say(line)
    refuse_short_disk(forecast, prepared.folder)
    return forecast


def train(prepared: Prepared, built: BuiltModel, forecast: Forecast) -> dict[str, Any]:
    """Train to the end, save, evaluate, compare sample answers, and report."""
    answerer, prompts = sample_prompts(prepared)
    before = answers_before(answerer, prompts, prepared, built)
    flag = InterruptFlag()
    trainer = build_trainer(prepared.config, prepared.parts, built, record=prepared.record)
    add_callbacks(trainer, prepared.config, flag=flag)
    checkpoint = prepared.begin.checkpoint
    if checkpoint is not None:
        say(f"{'Taking the weights of' if forecast.is_finished else 'Continuing from'} {checkpoint}.")
    with flag.listen():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    if trainer.parts.stream is not None:
        trainer.parts.stream.close()
    tell_ending(trainer)
    trainer.check_weights()
    publish_model(trainer, prepared.folder)
    write_reference(trainer, prepared.folder)
    metrics = train_metrics(trainer, prepared.config.training)
    write_metrics(prepared.folder, "train", metrics)
    evaluation = final_evaluation(trainer, prepared)
    if evaluation:
        write_metrics(prepared.folder, "eval", {**evaluation, "epoch": trainer.state.epoch})
    trainer.state.save_to_json(str(prepared.folder / TRAINER_STATE))
    plots = write_plots(trainer, prepared.folder) if prepared.config.run.plot_loss else []
    with as_trained(prepared.config):
        after = answerer.answer(built.model, prompts)
        if before is None:
            with built.tuner.base_view(built.model):
                before = answerer.answer(built.model, prompts)
    samples = compare_samples(answerer, prompts, before, after)
    say(f"{rows_line(prepared)}\n{closing_line(trainer, prepared, steps_before=forecast.steps_done)}")
    return {
        **training_result(trainer, prepared.folder, metrics),
        "eval": evaluation,
        "rows": ledger_of(prepared),
        "forecast": forecast.to_json(),
        "coverage": built.coverage["parameters"],
        "choices": {**built.choices, **trainer.halving.choices()},
        "reference": trainer.comparison.describe(),
        "plots": [str(path) for path in plots],
        "sample_answers": samples,
    }


def evaluate_only(prepared: Prepared, built: BuiltModel) -> dict[str, Any]:
    """Evaluate the model as it is, if asked; only the metrics are written to the output folder."""
    if not prepared.config.run.do_eval:
        return {"output_dir": str(prepared.folder), "rows": ledger_of(prepared)}
    trainer = build_trainer(prepared.config, prepared.parts, built, record=prepared.record)
    metrics = {name: value for name, value in trainer.evaluate().items() if name != "epoch"}
    for name, value in metrics.items():
        say(f"{name} = {value:.4f}")
    write_metrics(prepared.folder, "eval", metrics)
    return {"output_dir": str(prepared.folder), "eval": metrics, "rows": ledger_of(prepared)}


def predict_if_asked(prepared: Prepared, built: BuiltModel) -> dict[str, Any]:
    """Let the model answer the evaluation rows where the user asks for predictions."""
    if not prepared.config.run.do_predict:
        return {}
    with as_trained(prepared.config):
        return {"predict": predict(prepared.config, prepared.parts, built.model)}


def as_trained(config: RunConfig) -> AbstractContextManager[None]:
    """Compute with the number formats of training: float32 weights beside short ones need it."""
    return mixed_precision(config.training, training_device(config.run))


def final_evaluation(trainer: TunesmithTrainer, prepared: Prepared) -> dict[str, float]:
    """Evaluate the result when asked, or when it was evaluated on the way; no step is evaluated twice.

    The weights of a restored checkpoint are measured apart: they are no further point of the curve.
    """
    is_wanted = prepared.config.run.do_eval or prepared.config.training.eval_strategy != "no"
    if not trainer.parts.evals or not is_wanted:
        return {}
    if trainer.restored_step is not None:
        return {**trainer.measure(), "best_step": trainer.restored_step}
    last = [entry for entry in trainer.state.log_history if "eval_loss" in entry][-1:]
    if last and last[0]["step"] == trainer.state.global_step:
        return {name: value for name, value in last[0].items() if name.startswith("eval_")}
    return trainer.evaluate()


def sample_prompts(prepared: Prepared) -> tuple[Answerer, list[Prompt]]:
    """Pick prompts of the evaluation rows, or of the training rows, and prepare to answer them."""
    data, tokenizer, template = prepared.parts.data, prepared.parts.tokenizer, prepared.parts.template
    assert data is not None and tokenizer is not None
    ends = [tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else []
    stops = template.stop_ids() if template is not None else tuple(ends)
    answerer = Answerer(tokenizer=tokenizer, stop_ids=stops, pad_id=padding_id(tokenizer))
    stores = [*data.evals.values(), *([data.train] if data.train is not None else [])]
    writes = build_objective(prepared.config).head == "language"
    return answerer, pick_prompts(stores[0]) if writes else []


def answers_before(
    answerer: Answerer, prompts: Sequence[Prompt], prepared: Prepared, built: BuiltModel
) -> list[Completion] | None:
    """Answer as the model is before training; None where the tuner can still show that model at the end."""
    if built.tuner.keeps_base_cheaply:
        built.tuner.remember_base(built.model)
        return None
    with as_trained(prepared.config):
        return answerer.answer(built.model, prompts)


def compare_samples(
    answerer: Answerer, prompts: Sequence[Prompt], before: Sequence[Completion], after: Sequence[Completion]
) -> list[dict[str, Any]]:
    """Show sample answers of the model before and after training, and warn of degenerate ones."""
    samples = compare(answerer, prompts, before, after)
    if samples:
        say("Sample answers before and after training:")
        for line in to_lines(samples):
            say(line)
    problem = degeneration(samples)
    if problem is not None:
        emit_warning(problem)
    return samples


def tell_ending(trainer: TunesmithTrainer) -> None:
    """Say that a run stopped early, and whose weights are kept where they are not the last step's."""
    state, metric, told = trainer.state, trainer.args.metric_for_best_model, []
    if state.global_step < state.max_steps:
        told.append(f"Stopped early at step {state.global_step} of {state.max_steps}: {metric} got no better.")
    if trainer.restored_step is not None:
        told.append(f"Kept the weights of checkpoint-{trainer.restored_step}: best {metric}, {state.best_metric:.4f}.")
    if told:
        say(" ".join(told))


def rows_line(prepared: Prepared) -> str:
    """Say what became of the rows; those that sampling left out were not dropped."""
    assert prepared.parts.data is not None
    ledger, data = prepared.parts.data.ledger_of_run, prepared.config.data
    rows, left_out = ledger.to_json(), ledger.num_left_out
    reason = "max_samples" if data.max_samples is not None else "num_samples or split"
    sampled = f"{left_out:,} left out by {reason}, " if left_out else ""
    dropped = rows["rows_dropped"] - left_out
    return f"Rows: {rows['rows_in']:,} read, {rows['rows_kept']:,} used, {sampled}{dropped:,} dropped."


def closing_line(trainer: TunesmithTrainer, prepared: Prepared, *, steps_before: int) -> str:
    """Sum the run up, from its first start."""
    totals = trainer.totals()
    speed = f"{totals.rate(totals.rows):.2f} samples/s, {totals.rate(totals.tokens):,.0f} tokens/s"
    return (
        f"{_trained(totals.steps, steps_before)} on {counted(totals.rows, 'sample')} ({totals.tokens:,} tokens) in "
        f"{format_seconds(totals.seconds)}: mean loss {totals.mean_loss:.4f}, {speed}. "
        f"Saved in {prepared.folder}."
    )


def _trained(steps: int, steps_before: int) -> str:
    if not steps_before:
        return f"Trained {counted(steps, 'step')}"
    if steps <= steps_before:
        return f"Trained no further step; before: {counted(steps, 'step')}"
    return f"Trained {counted(steps - steps_before, 'further step')}, in all {counted(steps, 'step')}"


def ledger_of(prepared: Prepared) -> Mapping[str, Any]:
    """Give the ledger of all rows."""
    assert prepared.parts.data is not None
    return prepared.parts.data.ledger_of_run.to_json()
