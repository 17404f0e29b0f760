# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about settings that will have no effect in this run; they look only at keys that the user set."""

from collections.abc import Iterator

from tunesmith.checks.context import CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.schedule import Schedule
from tunesmith.config.sections.training import TrainingSection


@rule("check.evaluation_never", "warn", needs=("training", "steps"))
def evaluation_comes_before_the_end(context: CheckContext) -> Iterator[Finding]:
    """Find evaluations that were asked for and would first come after the last step."""
    training, schedule = context.config.training, _schedule(context)
    if training.eval_on_start or not context.config.is_set("eval_strategy"):
        return
    if training.eval_strategy == "steps" and _first_evaluation(context) > schedule.total_steps:
        yield Finding(
            message=f"The run has {schedule.total_steps} steps, and the first evaluation would come after step "
            f"{_first_evaluation(context)}: nothing is evaluated during training.",
            remedy=f"Lower eval_steps below {schedule.total_steps + 1}, for example to "
            f"{max(schedule.total_steps // 5, 1)}, or write eval_strategy: epoch.",
            where=context.at("eval_steps", "eval_delay", "logging_steps", "eval_strategy"),
        )
    elif training.eval_strategy == "epoch" and training.eval_delay >= _num_epochs(training, schedule):
        yield Finding(
            message=f"The run has {_num_epochs(training, schedule):g} epochs, and eval_delay puts evaluations off "
            f"until epoch {training.eval_delay:g}: nothing is evaluated during training.",
            remedy="Lower eval_delay.",
            where=context.at("eval_delay"),
        )


@rule("check.saving_never", "warn", needs=("training", "steps"))
def saving_comes_before_the_end(context: CheckContext) -> Iterator[Finding]:
    """Find checkpoints that were asked for in steps the run does not have; the default's 500 is boilerplate."""
    config, schedule = context.config, _schedule(context)
    default = TrainingSection.model_fields["save_steps"].default
    if not config.is_set("save_steps") or config.training.save_steps == default or schedule.save_every is None:
        return
    if schedule.save_every > schedule.total_steps:
        yield Finding(
            message=f"The run has {schedule.total_steps} steps and saves every {schedule.save_every}: there is no "
            "checkpoint to go back to before the end.",
            remedy=f"Lower save_steps, for example to {max(schedule.total_steps // 5, 1)}, or write "
            "save_strategy: epoch.",
            where=context.at("save_steps"),
        )


@rule("check.best_checkpoint_unkept", "warn", needs=("training", "steps"))
def best_checkpoint_can_be_kept(context: CheckContext) -> Iterator[Finding]:
    """Find a best checkpoint that is asked for while no evaluation, or only one, comes to choose it."""
    training, schedule = context.config.training, _schedule(context)
    asked = training.load_best_model_at_end or training.save_strategy == "best"
    key = "load_best_model_at_end" if training.load_best_model_at_end else "save_strategy"
    if asked and _num_evaluations(context) == 0:
        yield Finding(
            message=f"{key} asks for the best checkpoint, but none of the {schedule.total_steps} steps is evaluated: "
            "the last weights will be taken.",
            remedy="Lower eval_steps and save_steps, or write eval_strategy: epoch and save_strategy: epoch.",
            where=context.at(key),
        )


@rule("check.early_stopping_never", "warn", needs=("training", "steps"))
def early_stopping_can_happen(context: CheckContext) -> Iterator[Finding]:
    """Find a patience that no run of this length can use up: the first evaluation always counts as progress."""
    patience, count = context.config.training.early_stopping_steps, _num_evaluations(context)
    if patience is not None and 0 < count <= patience:
        yield Finding(
            message=f"early_stopping_steps waits for {patience} evaluations without progress, but the run has {count}.",
            remedy="Lower early_stopping_steps, or evaluate more often.",
            where=context.at("early_stopping_steps"),
        )


@rule("check.warmup_endless", "warn", needs=("training", "steps"))
def warmup_ends(context: CheckContext) -> Iterator[Finding]:
    """Find a warm-up as long as the run, so that the learning rate that was asked for is never reached."""
    warmup, schedule = context.config.training.warmup_steps, _schedule(context)
    if context.config.is_set("warmup_steps") and warmup >= max(schedule.total_steps, 1) and warmup >= 1:
        yield Finding(
            message=f"The run has {schedule.total_steps} steps and warms up for {warmup:g}: the learning rate never "
            "reaches learning_rate.",
            remedy="Lower warmup_steps; a value below 1 is a share of all steps.",
            where=context.at("warmup_steps"),
        )


def _schedule(context: CheckContext) -> Schedule:
    assert context.schedule is not None, "rules that need a schedule are not asked without one"
    return context.schedule


def _num_epochs(training: TrainingSection, schedule: Schedule) -> float:
    return schedule.total_steps / max(schedule.steps_per_epoch, 1)


def _first_evaluation(context: CheckContext) -> int:
    """Step of the first evaluation: a multiple of eval_steps that eval_delay does not put off."""
    schedule = _schedule(context)
    assert schedule.eval_every is not None, "evaluation goes by steps"
    every, delay = max(schedule.eval_every, 1), context.config.training.eval_delay
    return max(-(-int(delay) // every), 1) * every


def _num_evaluations(context: CheckContext) -> int:
    training, schedule = context.config.training, _schedule(context)
    if training.eval_strategy == "epoch":
        return max(round(_num_epochs(training, schedule) - training.eval_delay), 0)
    if schedule.eval_every is None:
        return 0
    first = _first_evaluation(context)
    return 0 if first > schedule.total_steps else (schedule.total_steps - first) // max(schedule.eval_every, 1) + 1
