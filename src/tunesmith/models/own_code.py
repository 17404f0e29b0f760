# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Model classes that come in a model's folder: made known to transformers where the user agreed to their code.

transformers then finds them like its own and needs no remote code; saved models take the code along.
"""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.auto_factory import add_generation_mixin_to_remote_model

from tunesmith.core.errors import refusal
from tunesmith.core.folder_code import KEY, allowed_class, code_of, write_code
from tunesmith.core.progress import say

_AUTO: tuple[Any, ...] = (AutoModelForCausalLM, AutoModelForSequenceClassification)


def own_config_type(folder: Path) -> type[PreTrainedConfig] | None:
    """Give a folder's own class of configuration, and register the models that belong to it; None without consent."""
    models = {auto: allowed_class(folder, auto.__name__) for auto in _AUTO}
    kind = allowed_class(folder, "AutoConfig")
    if kind is None and not any(models.values()):
        return None
    code = code_of(kind) if isinstance(kind, type) else None
    if code is None or not issubclass(kind, PreTrainedConfig):
        raise refusal(
            "model.code_broken",
            f"{folder / 'config.json'} names a model class of its own but no configuration class of its own, so that "
            "every model of that type would be taken for it.",
            "Name a class derived from PreTrainedConfig under auto_map: AutoConfig.",
            key=KEY,
            file=str(folder / "config.json"),
        )
    for auto, model in models.items():
        if model is not None and kind not in auto._model_mapping:
            auto.register(kind, add_generation_mixin_to_remote_model(model), exist_ok=True)
            say(f"{model.__name__} is code of {folder}, allowed by {KEY}: {code.digest}")
    own: type[PreTrainedConfig] = kind
    return own


def write_own_code(model: PreTrainedModel, folder: Path) -> None:
    """Write the files that a model's classes come from beside its weights: it loads from there by the same hash."""
    code = code_of(type(model.config))
    if code is not None:
        write_code(code, folder)
