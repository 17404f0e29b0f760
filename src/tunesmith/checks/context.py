# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What rules look at: configuration, model folder, tokenizer, template, prepared rows; each loaded once, when needed.

A part that cannot be loaded leaves its problems here, and the rules that need it are not asked. Weights are never read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from tunesmith.checks.judged_rows import JudgedRows
from tunesmith.checks.schedule import Schedule, is_packing, plan_schedule
from tunesmith.checks.skeleton import build_skeleton
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, Where
from tunesmith.core.types import Conversation, Message, Rendered, RowKind
from tunesmith.data.examples import read_examples
from tunesmith.data.joined import JoinedTexts
from tunesmith.data.ledger import Ledger
from tunesmith.data.pipeline import PreparedData, Split, prepare
from tunesmith.data.stages import kind_of_stage
from tunesmith.data.store import TokenRows
from tunesmith.models.folder import check_folder
from tunesmith.models.load import default_device, load_model_config, resolve_model
from tunesmith.models.quantized_loading import look_at_quantization
from tunesmith.models.variants import with_changes
from tunesmith.objectives.base import objectives
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.run_template import load_run_template, load_served_template
from tunesmith.templates.tokenizer import load_tokenizer

# What a rule may need. training: the job trains or evaluates; skeleton: the model with its tuner, without weights;
# probe: a rendered question and answer; data: all rows, tokenised; targets: rows of a kind with trained tokens;
# schedule: a run that trains; steps: with steps.
Need = Literal[
    "training", "model", "skeleton", "tokenizer", "template", "probe", "data", "targets", "schedule", "steps"
]

# Kinds of rows without trained tokens: their losses judge completions, classes, distances.
_WITHOUT_TARGETS: frozenset[RowKind] = frozenset({"prompt", "labelled", "contrast"})

_QUESTION = Message(role="user", content="Which river?")
PROBE = Conversation(messages=(_QUESTION, Message(role="assistant", content="The Danube.")))
_PROBE_WITHOUT_ANSWER = Conversation(messages=(_QUESTION, Message(role="assistant", content="")))

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Parts of a run that exist already; the context loads the others."""

    folder: Path | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    template: ChatTemplate | None = None
    data: PreparedData | None = None


def num_used(ledger: Ledger, split: Split) -> int:
    """Count the rows of a split that are used, whole or cut."""
    return ledger.count("kept", "cut", "split", split=split)


class _Unavailable(Exception):
    """A part cannot be had because one that it needs cannot; the reason is reported there."""


class _Attempt(Generic[Part]):
    """A part that is loaded at most once; a failure is reported once."""

    def __init__(self, load: Callable[[], Part], problems: list[Problem], given: Part | None = None) -> None:
        self._load = load
        self._problems = problems
        self._part = given
        self._is_tried = given is not None

    def part(self) -> Part | None:
        if not self._is_tried:
            self._is_tried = True
            try:
                self._part = self._load()
            except TunesmithError as error:
                self._problems.extend(error.problems)
            except _Unavailable:
                pass
        return self._part

    def needed(self) -> Part:
        part = self.part()
        if part is None:
            raise _Unavailable
        return part


class CheckContext:
    """One run as the rules see it. `problems` are those of loading; ask `has` before reading a part."""

    def __init__(self, config: RunConfig, parts: Parts | None = None) -> None:
        given = parts or Parts()
        self.config = config
        self.problems: list[Problem] = []
        self.is_template_sound = True
        self._folder = _Attempt(self._find_folder, self.problems, given.folder)
        self._model = _Attempt(self._read_model, self.problems)
        self._skeleton = _Attempt(self._build_skeleton, self.problems)
        self._tokenizer = _Attempt(self._load_tokenizer, self.problems, given.tokenizer)
        self._template = _Attempt(self._load_template, self.problems, given.template)
        self._probe = _Attempt(self._render_probe, self.problems)
        self._data = _Attempt(self._prepare_data, self.problems, given.data)
        self._attempts: dict[Need, _Attempt[Any]] = {
            "model": self._model,
            "skeleton": self._skeleton,
            "tokenizer": self._tokenizer,
            "template": self._template,
            "probe": self._probe,
            "data": self._data,
        }

    def has(self, need: Need) -> bool:
        """Say whether a part can be had, loading it if it was not."""
        if need == "training":
            return self.config.job == "train"
        if need == "targets":
            return self.row_kind not in _WITHOUT_TARGETS
        if need in ("schedule", "steps"):
            schedule = self.schedule if self.has("data") else None
            return schedule is not None and (need == "schedule" or schedule.units > 0)
        return self._attempts[need].part() is not None

    @property
    def folder(self) -> Path:
        """Local folder of the model."""
        return self._folder.needed()

    @property
    def model_config(self) -> PreTrainedConfig:
        """Configuration of the model."""
        return self._model.needed()

    @property
    def skeleton(self) -> nn.Module:
        """Model with its tuner, on the meta device."""
        return self._skeleton.needed()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of the model folder."""
        return self._tokenizer.needed()

    @property
    def template(self) -> ChatTemplate:
        """Chat template of the run."""
        return self._template.needed()

    @property
    def probe(self) -> Rendered:
        """Rendering of a question and its answer."""
        return self._probe.needed()

    @property
    def data(self) -> PreparedData:
        """All rows, tokenised."""
        return self._data.needed()

    @property
    def train(self) -> TokenRows | None:
        """Training rows, or None in a run that only evaluates."""
        return self.data.train

    def stores(self) -> list[tuple[str, TokenRows]]:
        """Give all rows: those of training, then each evaluation set, with a name for messages."""
        train = [("the training data", self.train)] if self.train is not None else []
        return [*train, *((f"evaluation set {name}", store) for name, store in self.data.evals.items())]

    @cached_property
    def judged(self) -> JudgedRows | None:
        """The training records to be judged, or None when there are none."""
        return None if self.train is None else self.judge_rows(self.train)

    def judge_rows(self, rows: TokenRows) -> JudgedRows | None:
        """Give some rows as records to be judged; joined texts are judged one by one."""
        own = rows.texts if isinstance(rows, JoinedTexts) else rows
        if not len(own) or not own.traits:
            return None
        return JudgedRows(own, kind=self.row_kind, decode=self._decode, folder=self.data.folder)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    @cached_property
    def empty_answer(self) -> tuple[int, ...]:
        """Trained tokens of an answer without content, as the template ends a conversation with it."""
        try:
            rendered = self.template.render(_PROBE_WITHOUT_ANSWER)
        except TunesmithError:
            return ()
        return tuple(rendered.input_ids[rendered.weights != 0].tolist())

    @property
    def is_packing(self) -> bool:
        """Say whether several rows share one sequence."""
        return is_packing(self.config)

    @cached_property
    def row_kind(self) -> RowKind:
        """Kind of rows that the stage trains on."""
        stage = self.config.run.stage
        return objectives.get(stage).row_kind if stage in objectives.names() else kind_of_stage(stage)

    @cached_property
    def schedule(self) -> Schedule | None:
        """Optimizer steps of the run, or None when it does not train."""
        if self.train is None or not self.config.run.do_train:
            return None
        return plan_schedule(self.config, self.train, num_rows=num_used(self.data.ledger, "train"))

    @property
    def parts(self) -> Parts:
        """Everything that was loaded, for the job that goes on."""
        return Parts(
            folder=self._folder.part(),
            tokenizer=self._tokenizer.part(),
            template=self._template.part(),
            data=self._data.part(),
        )

    def at(self, *keys: str) -> Where:
        """Name the place of the first of some keys that the user set, or the last key without a place."""
        for key in keys:
            origin = self.config.origin(key)
            if origin is not None:
                return Where(file=origin.file, line=origin.line, key=key)
        return Where(key=keys[-1])

    def _find_folder(self) -> Path:
        model = self.config.model
        if model.model_name_or_path is None:
            raise _Unavailable
        cache = Path(model.cache_dir) if model.cache_dir is not None else None
        folder = resolve_model(model.model_name_or_path, cache, revision=model.model_revision)
        return with_changes(self.config, folder)

    def _read_model(self) -> PreTrainedConfig:
        folder = self._folder.needed()
        check_folder(folder)
        look_at_quantization(self.config, folder, default_device())
        return load_model_config(folder)

    def _build_skeleton(self) -> nn.Module:
        self._model.needed()
        return build_skeleton(self.config, self._folder.needed())

    def _load_tokenizer(self) -> PreTrainedTokenizerBase:
        self._model.needed()
        return load_tokenizer(self._folder.needed())

    def _load_template(self) -> ChatTemplate:
        if self.config.job == "train" and self.row_kind == "text":
            raise _Unavailable
        adapters = [Path(name) for name in self.config.model.adapter_name_or_path]
        folders = [self._folder.needed(), *adapters]
        if self.config.job == "chat":
            return load_served_template(self.config, self._tokenizer.needed(), folders)
        return load_run_template(self.config, self._tokenizer.needed(), folders)

    def _render_probe(self) -> Rendered:
        template = self._template.needed()
        if not self.is_template_sound:
            raise _Unavailable
        return template.render(PROBE)

    def _prepare_data(self) -> PreparedData:
        if self.config.job != "train":
            raise _Unavailable
        tokenizer, template = self._tokenizer.part(), self._template.part()
        can_render = self.row_kind == "text" or (self._probe.part() is not None and self.is_template_sound)
        if tokenizer is None or not can_render:
            self._read_only()
            raise _Unavailable
        return prepare(self.config, tokenizer=tokenizer, template=template, row_kind=self.row_kind)

    def _read_only(self) -> None:
        """Read the rows that cannot be tokenised, so that their faults are told together with the others."""
        for part in ("train", "eval"):
            found = read_examples(self.config, kind=self.row_kind, part=part)
            self.problems.extend(item for item in found if isinstance(item, Problem))
