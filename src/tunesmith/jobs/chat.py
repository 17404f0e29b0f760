# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith chat`: talk to a base model, a model with adapters, or a full checkpoint, in the terminal."""

import sys
from typing import Any

from tunesmith.config.run import RunConfig
from tunesmith.core.progress import say
from tunesmith.core.report import clear_warnings, collected_warnings
from tunesmith.core.types import Sampling
from tunesmith.jobs.conversation import Speaker, converse
from tunesmith.jobs.inference import load_sampling, load_served


def run(config: RunConfig) -> dict[str, Any]:
    """Chat until the user leaves."""
    served = load_served(config)

    def sampling_for(num_prompt: int, number: int) -> Sampling:
        return load_sampling(config, served.template, num_prompt=num_prompt, seed=number)

    # A conversation may last for hours: what is to be said is said before it, not after.
    for problem in collected_warnings():
        say(f"warning {problem.code}: {problem.message} {problem.remedy}")
    clear_warnings()
    adapters = "".join(f" + {adapter}" for adapter in config.model.adapter_name_or_path)
    say(
        f"{config.model.model_name_or_path}{adapters}, template {served.template.name}.\n"
        'exit leaves, clear forgets the conversation, Ctrl-C stops an answer. A line ending with \\ goes on; """ on a '
        "line of its own begins and ends a longer message."
    )
    speaker = Speaker(
        engine=served.engine,
        tokenizer=served.tokenizer,
        template=served.template,
        policy=served.policy,
        sampling_for=sampling_for,
        skip_special_tokens=config.generation.skip_special_tokens,
    )
    converse(speaker, sys.stdin, sys.stdout)
    served.engine.close()
    return {}
