# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What to run, where its output goes, and who is told about it."""

from typing import ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section

Tracker = Literal["none", "all", "tensorboard", "wandb", "swanlab", "trackio", "mlflow"]


class RunSection(Section):
    """Selection of the parts, output folder, seeds and trackers."""

    section: ClassVar[str] = "run"

    stage: str = Field("sft", description="Training stage: which loss and which kind of rows.")
    finetuning_type: str = Field("lora", description="What is trained: adapters, some layers, or the whole model.")
    plugins: tuple[str, ...] = Field((), description="Python modules imported before the keys are checked.")
    do_train: bool = Field(
        False, description="Train. `tunesmith train` implies it unless only do_eval or do_predict is asked for."
    )
    do_eval: bool = Field(False, description="Evaluate on the evaluation rows after training, or alone.")
    do_predict: bool = Field(False, description="Let the model answer the evaluation rows, and score the answers.")
    predict_with_generate: bool = Field(
        False, description="With do_predict, which always generates: no effect of its own."
    )
    output_dir: str | None = Field(None, description="Folder for weights, checkpoints, logs and reports.")
    overwrite_output_dir: bool = Field(
        False, description="Move an earlier run in output_dir aside to <folder>.old-<n> and start anew."
    )
    resume_from_checkpoint: bool | str | None = Field(
        None,
        description="true: continue from the newest intact checkpoint; false: start anew; a path: that checkpoint.",
    )
    seed: int = Field(42, ge=0, description="Seed of initialisation, data order and sampling.")
    data_seed: int | None = Field(None, ge=0, description="Seed of the data order; unset: seed.")
    full_determinism: bool = Field(False, description="Use only deterministic algorithms, also where they are slower.")
    use_cpu: bool = Field(False, description="Run on the CPU even where an accelerator is present.")
    run_name: str | None = Field(None, description="Name of the run in reports and trackers.")
    report_to: tuple[Tracker, ...] = Field(("none",), description="Trackers that receive the logged values.")
    project: str = Field("huggingface", description="Project name used by trackio.")
    plot_loss: bool = Field(False, description="Save the loss curves as PNG when training ends.")
