# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The one trainer: planned batches, exact normalisation over the optimizer step, streamed evaluation, true totals.

It knows no loss, no template and no file format: those come as an objective, a tuner and a writer of side files.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from tunesmith.core.errors import refusal
from tunesmith.core.types import Batch, Scores
from tunesmith.data.collate import collate
from tunesmith.data.store import TokenRows
from tunesmith.training.batches import (
    Inputs,
    LoaderSettings,
    PlannedBatches,
    build_loader,
    evaluation_rules,
    num_workers,
    plan_in_order,
    to_device,
)
from tunesmith.training.checkpoints import read_manifest
from tunesmith.training.comparison import Comparison
from tunesmith.training.evaluation import EvaluationRules, evaluate_sets, metric_names, shown
from tunesmith.training.guard import Step, diagnose, refuse_non_finite_weights
from tunesmith.training.halving import Halving
from tunesmith.training.hf_compat import HookedTrainer
from tunesmith.training.parts import TrainerParts
from tunesmith.training.random_state import collect_random_states
from tunesmith.training.run_states import RunStates, restore_random
from tunesmith.training.totals import Meter, Totals

TRAINER_STATE = "trainer_state.json"


@dataclass(kw_only=True)
class _StepUnderWay:
    inputs: Sequence[Inputs] = ()
    batches: Sequence[Batch] = ()
    pieces: Sequence[Batch] = ()  # kept, because the reference knows them by their identity
    losses: list[torch.Tensor] = field(default_factory=list)
    has_begun: bool = False


class TunesmithTrainer(HookedTrainer):
    """Trains, evaluates, saves and resumes one model with one objective."""

    loss_is_scaled_for_ga = True

    def __init__(
        self, parts: TrainerParts, args: TrainingArguments, *, callbacks: Sequence[TrainerCallback] = ()
    ) -> None:
        self.parts = parts
        self.meter = Meter()
        self.callback_state: dict[str, Any] = {}
        self.restored_step: int | None = None  # of the best checkpoint, once its weights are back
        self._step = _StepUnderWay()
        self._has_started = False
        self.halving = Halving.of(args, layout=parts.layout, pad_id=parts.pad_id, updates_early=parts.updates_early)
        super().__init__(
            model=parts.model,
            args=args,
            train_dataset=parts.train,
            eval_dataset=dict(parts.evals) or None,
            callbacks=list(callbacks),
        )
        self.remove_callback(PrinterCallback)
        self.comparison = Comparison(
            self.module,
            parts.tuner,
            parts.objective,
            part=parts.reference,
            sum_over_ranks=self.sum_over_ranks,
            trains=parts.trains,
        )
        self._flops_per_token = 6.0 * sum(parameter.numel() for parameter in parts.model.parameters())

    @property
    def module(self) -> nn.Module:
        """The model, as it is trained."""
        assert isinstance(self.model, nn.Module)
        return self.model

    # Data

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Give the planned micro-batches of this rank."""
        if self.parts.stream is not None:
            return self.parts.stream.loader(layout=self.parts.layout, pad_id=self.parts.pad_id)
        assert self.parts.train is not None, "training needs training rows"
        batches = PlannedBatches(self.parts.train, self.parts.plan, rank=self.args.process_index)
        settings = LoaderSettings(
            layout=self.parts.layout,
            pad_id=self.parts.pad_id,
            num_workers=num_workers(self.args.dataloader_num_workers),
            prefetch_factor=self.args.dataloader_prefetch_factor,
            persistent_workers=self.args.dataloader_persistent_workers,
        )
        return build_loader(self.parts.train, batches, settings)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Inputs], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Collect the micro-batches of one optimizer step and count its units over all of them and all ranks."""
        if self.control.should_training_stop:
            return [], 0.0
        inputs = [item for _, item in zip(range(num_batches), epoch_iterator, strict=False)]
        self._step = _StepUnderWay(inputs=inputs, batches=[item["batch"] for item in inputs])
        self.halving.begin_step()
        self.meter.mark()
        (units,) = self.sum_over_ranks([math.fsum(map(self.parts.objective.units, self._step.batches))])
        return inputs, units

    # Steps

    def create_optimizer(self, model: Any = None) -> Any:
        """Build the optimizer that a key of its own chose, or the one that `optim` names."""
        if self.optimizer is None and self.parts.optimizer is not None:
            self.optimizer = self.parts.optimizer.build(model or self.module, self.args)
        return super().create_optimizer(model)

    def training_step(self, model: nn.Module, inputs: Inputs, num_items_in_batch: Any = None) -> torch.Tensor:
        """Compute loss and gradient of a micro-batch, in pieces once memory has run out."""
        compute = partial(super().training_step, model, num_items_in_batch=num_items_in_batch)
        return self.halving.train(compute, inputs, begin_again=self._begin_again, step=self.state.global_step)

    def _begin_again(self) -> None:
        self.comparison.rewind()
        self._step.has_begun = False
        self.module.zero_grad()  # accelerate's optimizer clears nothing between the micro-batches of a step
        self._step.losses.clear()
        self.meter.go_back()

    # Loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Give this micro-batch's share of the mean loss of the optimizer step."""
        batch = to_device(inputs["batch"], self.args.device)
        if not self._step.has_begun:
            self._begin_step()
        share = self._loss_sum(model, batch, counts=True) / (num_items_in_batch or 1.0)
        self._step.losses.append(share.detach())
        # Gradients are averaged over data-parallel ranks, while the units were summed over them.
        loss = share * (self.accelerator.num_processes // self.get_tp_size())
        loss = loss + self.parts.tuner.penalty(self.accelerator.unwrap_model(model)) / len(self._step.pieces)
        loss = loss + self.parts.aids.extra_loss(batch, self._step.pieces)
        return (loss, {}) if return_outputs else loss

    def _begin_step(self) -> None:
        self._step.pieces = list(self.halving.cut(self._step.inputs))
        batches = (to_device(batch, self.args.device) for batch in self._step.pieces)
        self.comparison.begin(batches, num_batches=len(self._step.pieces), is_first=self.state.global_step == 0)
        self._step.has_begun = True

    def _loss_sum(self, model: nn.Module, batch: Batch, *, counts: bool = False) -> torch.Tensor:
        output = self.comparison.loss(model, batch)
        if counts:
            self.meter.add_batch(batch)
            self.meter.window_metrics.add(output.metrics)
        if not output.loss.requires_grad and torch.is_grad_enabled():  # a rank for which no row was left
            return output.loss + 0.0 * next(p for p in model.parameters() if p.requires_grad).sum()
        return output.loss

    def compute_loss_context_manager(self) -> ExitStack:
        """Enter mixed precision where the arguments ask for it."""
        stack = ExitStack()
        stack.enter_context(self.accelerator.autocast())
        stack.enter_context(self.parts.aids.around_loss())
        return stack

    def check_step(self, grad_norm: float | None) -> None:
        """Count the step; stop the run when a loss or the gradient norm is not finite."""
        losses = torch.stack(self._step.losses).cpu().double().tolist()
        is_scaled = self.accelerator.scaler is not None  # then an overflow only skips the step
        norm_is_fine = grad_norm is None or is_scaled or math.isfinite(grad_norm)
        if not (norm_is_fine and all(map(math.isfinite, losses))):
            raise diagnose(self.module, self._step_report(losses), self._loss_again)
        self.meter.add_step(math.fsum(losses))

    def check_weights(self) -> None:
        """Stop the run when a trainable weight is not finite."""
        refuse_non_finite_weights(self.module, self._step_report([]))

    def _step_report(self, losses: list[float]) -> Step:
        return Step(number=self.state.global_step + 1, batches=self._step.batches, losses=losses)

    def _loss_again(self, batch: Batch) -> torch.Tensor:
        with self.compute_loss_context_manager():
            return self._loss_sum(self.module, to_device(batch, self.args.device))

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Estimate the work of a forward and backward pass."""
        return int(self._flops_per_token * inputs["batch"].num_tokens)

    # Evaluation

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Evaluate all evaluation sets, log the metrics and give them."""
        metrics = self.measure(metric_key_prefix)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def measure(self, prefix: str = "eval") -> dict[str, float]:
        """Evaluate all evaluation sets and give the metrics; the curve of the run does not see them."""
        sets = {
            name: shown(self._eval_batches(store), f"evaluating {name}", len(store))
            for name, store in self.parts.evals.items()
        }
        metrics = evaluate_sets(self.module, sets, self._eval_rules, score=self._score, prefix=prefix)
        broken = [name for name, value in metrics.items() if not math.isfinite(value)]
        if broken:
            raise refusal(
                "training.evaluation_not_finite",
                f"After step {self.state.global_step} {', '.join(broken)} of the evaluation is not finite.",
                "Lower learning_rate or look at the numeric format; the last good checkpoint is kept.",
            )
        return metrics

    def eval_metric_names(self) -> set[str]:
        """Name the metrics that evaluation reports."""
        return metric_names(
            self.parts.objective,
            self.parts.evals,
            with_accuracy=self.parts.compute_accuracy,
            reports_each_set=self.parts.reports_each_set,
        )

    @property
    def _eval_rules(self) -> EvaluationRules:
        return EvaluationRules(
            objective=self.parts.objective,
            with_accuracy=self.parts.compute_accuracy,
            sum_over_ranks=self.sum_over_ranks,
            reports_each_set=self.parts.reports_each_set,
            reference=self._reference,
            known=self.parts.known_metrics,
            join=partial(self.comparison.join, keep=False),
        )

    def _eval_batches(self, store: TokenRows) -> Iterator[Batch]:
        batch_rows = self.args.per_device_eval_batch_size
        rules = evaluation_rules(self.parts.plan, batch_rows=batch_rows, world_size=self.args.world_size)
        for rows in plan_in_order(store, rules, rank=self.args.process_index):
            batch = collate([store[row] for row in rows], layout=self.parts.layout, pad_id=self.parts.pad_id)
            yield to_device(batch, self.args.device)

    def _score(self, batch: Batch) -> Scores:
        with self.compute_loss_context_manager():
            return self.comparison.scorer.score(self.module, batch)

    def _reference(self, batch: Batch) -> Scores | None:
        with self.compute_loss_context_manager():
            return self.comparison.reference(batch)

    # Counts and logs

    def sum_over_ranks(self, values: Sequence[float]) -> list[float]:
        """Add each value over all ranks."""
        if self.args.world_size == 1 or not values:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.args.device)
        summed: list[float] = self.accelerator.reduce(tensor, reduction="sum").tolist()
        return summed

    def totals(self) -> Totals:
        """Give what the run has done since its first start."""
        return self.meter.totals(self.sum_over_ranks)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log values; losses and speeds are ours, true over resumes and ranks."""
        if "train_loss" in logs:
            self._log_totals(logs)
        elif "loss" in logs:
            logs |= self.meter.take_window(self.sum_over_ranks)
            logs |= self.parts.objective.derived(logs)
            totals = self.totals()
            logs["total_tokens"] = totals.tokens
            logs["supervised_tokens"] = totals.supervised_tokens
            self._report_tokens(logs, totals)
            if self.parts.updates_early:
                logs.pop("grad_norm", None)  # the gradients are gone before a norm is taken
        super().log(logs)

    def _report_tokens(self, logs: dict[str, float], totals: Totals) -> None:
        if self.parts.reported_tokens != "no":
            seen = totals.positions if self.parts.reported_tokens == "all" else totals.tokens
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen = seen

    def _log_totals(self, logs: dict[str, float]) -> None:
        self.meter.stop()
        totals = self.totals()
        logs["train_loss"] = totals.mean_loss
        logs["train_runtime"] = round(totals.seconds, 4)
        logs["train_samples_per_second"] = round(totals.rate(totals.rows), 3)
        logs["train_steps_per_second"] = round(totals.rate(totals.steps), 3)

    # Checkpoints

    def save_checkpoint(self) -> None:
        """Write the checkpoint of the current step, whole or not at all, and remove what exceeds the limit."""
        self.check_weights()
        step, checkpoints = self.state.global_step, self.parts.checkpoints
        progress = {
            "epoch": self.state.epoch,
            "micro_batch": self._position(),
            "meter": self.meter.to_json(self.sum_over_ranks),
            "callbacks": self.callback_state,
            "halving": self.halving.to_json(),
            **self.comparison.to_json(),
            "has_optimizer": not self.args.save_only_model,
            "stream": None if self.parts.stream is None else self.parts.stream.position(),
        }
        random_states = collect_random_states(self.args.world_size)
        if self.args.should_save:
            best = self.state.best_global_step
            if best is not None and (best == step or checkpoints.path(best).exists()):
                self.state.best_model_checkpoint = str(checkpoints.path(best))
            with checkpoints.write(step, progress) as folder:
                self.write_model(folder)
                self.state.save_to_json(str(folder / TRAINER_STATE))
                if not self.args.save_only_model:
                    self._states().write(folder, random_states)
            checkpoints.rotate(best_step=best)
        self.accelerator.wait_for_everyone()

    def _position(self) -> int:
        """Give the index of the next micro-batch in the epoch's plan."""
        loader: Any = self.callback_handler.train_dataloader
        return round((self.state.epoch or 0.0) % 1 * len(loader))

    def write_model(self, folder: Path) -> None:
        """Write the trained weights with tokenizer and template."""
        self.parts.tuner.save(self.accelerator.unwrap_model(self.module), folder)
        self.parts.write_side_files(folder)

    def _states(self) -> RunStates:
        assert self.optimizer is not None and self.lr_scheduler is not None
        return RunStates(
            optimizer=self.optimizer,
            scheduler=self.lr_scheduler,
            scaler=self.accelerator.scaler,
            tuner=self.parts.tuner,
            model=self.accelerator.unwrap_model(self.module),
        )

    def restore_weights(self, checkpoint: Path) -> None:
        """Load the trained weights and counts of a verified checkpoint."""
        self.parts.tuner.restore(self.accelerator.unwrap_model(self.module), checkpoint)
        progress = read_manifest(checkpoint).progress
        if not progress["has_optimizer"]:
            raise refusal(
                "checkpoint.weights_only",
                f"{checkpoint} holds weights only (save_only_model: true), so training cannot continue from it.",
                "Start anew from these weights with adapter_name_or_path or model_name_or_path, or name another one.",
                file=str(checkpoint),
                key="resume_from_checkpoint",
            )
        self.meter.restore(progress["meter"], is_first_rank=self.args.process_index == 0)
        self.callback_state.update(progress["callbacks"])
        self.halving.restore(progress.get("halving", self.halving.to_json()))  # absent in earlier versions
        self.comparison.restore(progress)
        if self.parts.stream is not None:
            self.parts.stream.restore(progress["stream"])

    def restore_optimizer(self, checkpoint: Path) -> None:
        """Load the states of optimizer, scheduler and gradient scaler."""
        self._states().restore(checkpoint)

    def restore_random(self, checkpoint: Path) -> None:
        """Load this rank's random states, where the checkpoint has them."""
        restore_random(checkpoint, rank=self.args.process_index)

    def restore_best(self) -> None:
        """Load the trained weights of the best checkpoint."""
        best = self.state.best_global_step
        assert best is not None, "there is a best checkpoint when this is called"
        self.parts.tuner.restore(self.accelerator.unwrap_model(self.module), self.parts.checkpoints.path(best))
        self.restored_step = best
