# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chat templates as untrusted programs: Jinja in a sandbox, with limits of time and size.

Renders what transformers' `apply_chat_template` renders (same options, filters and globals), except that the clock is
a fixed date given by the caller. Knows text only, no tokens.
"""

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from tunesmith.core.errors import refusal

# Noncharacters of Unicode: never in interchanged text, so they mark places inside renderings. Text that contains one
# is refused before it gets here (messages.py).
GENERATION_START = "\ufdd0"
GENERATION_END = "\ufdd1"

MAX_SECONDS = 10.0
MAX_CHARACTERS = 32_000_000
_CHECK_EVERY = 256
_DICT_ATTRIBUTES = frozenset(dir(dict))
_PLAIN_ATTRIBUTES: dict[type, frozenset[str]] = {
    LoopContext: frozenset({"first", "last", "index", "index0", "previtem", "nextitem", "length"}),
    str: frozenset({"strip", "lstrip", "rstrip", "split", "startswith", "endswith", "upper", "lower", "title"}),
}
_PADDING_METHODS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})


class LimitError(Exception):
    """A template ran longer or grew larger than allowed."""


class CompiledTemplate:
    """One template text, compiled once; `render` is safe to call from several threads."""

    def __init__(self, source: str, date: datetime) -> None:
        self._environment = _Environment(date)
        self._lock = threading.RLock()
        try:
            self._template = self._environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise refusal(
                "template.syntax_invalid",
                f"The chat template is no valid Jinja: line {error.lineno}: {error.message}.",
                "Repair the template, or choose another one with `template:`.",
            ) from error

    def render(self, variables: Mapping[str, Any]) -> str:
        """Render to text; refusals name the template's own words where it raised."""
        try:
            with self._lock:
                self._environment.start_clock()
                return self._collect(variables)
        except (SecurityError, LimitError) as error:
            code = "template.limit_exceeded" if isinstance(error, LimitError) else "template.sandbox_violated"
            raise refusal(
                code,
                f"The chat template was stopped: {error}.",
                "Look at the template: it does what no chat template needs. Choose another one with `template:`.",
            ) from error
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise refusal(
                "template.conversation_refused",
                f"The chat template refuses this conversation: {type(error).__name__}: {error}",
                "Change the conversation to what the template supports (roles, their order, tools), or choose another "
                "template with `template:`.",
            ) from error

    def _collect(self, variables: Mapping[str, Any]) -> str:
        context = self._template.new_context(dict(variables))
        pieces: list[str] = []
        size = 0
        for piece in self._template.root_render_func(context):
            size += len(piece)
            if size > MAX_CHARACTERS:
                raise LimitError(f"its output is longer than {MAX_CHARACTERS} characters")
            pieces.append(piece)
        return "".join(pieces)


class _Environment(ImmutableSandboxedEnvironment):
    """transformers' environment of chat templates, with every loop, call, sum and product under the limits."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, date: datetime) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
        self._expires = 0.0
        self._steps = 0
        self.filters["tojson"] = _tojson
        self.filters["_counted"] = self._counted
        self.filters["_concatenated"] = self._concatenated
        for name in ("center", "replace", "join", "indent", "format"):
            self.filters[name] = _sized(self.filters[name])
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = date.strftime
        self.globals["dict"] = _TemplateDict()
        self.globals["namespace"] = _TemplateNamespace

    def start_clock(self) -> None:
        """Begin the time limit of one rendering."""
        self._expires = time.monotonic() + MAX_SECONDS
        self._steps = 0

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        # The names are the parent's: keyword arguments of templates must not collide with them.
        __self._step()
        _check_method(__obj, args)
        return _checked(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            _check_product(left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int) and abs(right) > 64:
            raise LimitError(f"it computes {left} ** {right}")
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
        return _checked(super().call_binop(context, operator, left, right))

    def getattr(self, obj: Any, attribute: str) -> Any:
        # What templates look up most, without the sandbox's slow way to the same values.
        kind = type(obj)
        if kind is dict and attribute not in _DICT_ATTRIBUTES:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if kind in _PLAIN_ATTRIBUTES and attribute in _PLAIN_ATTRIBUTES[kind]:
            return getattr(obj, attribute)
        if kind is _TemplateNamespace and not attribute.startswith("_"):
            return getattr(obj, attribute, self.undefined(obj=obj, name=attribute))
        return super().getattr(obj, attribute)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Guard().visit(source), *args, **kwargs)

    def _counted(self, items: Any) -> "_Counted":
        return _Counted(items, self._step)

    def _concatenated(self, items: list[Any]) -> str:
        texts = [str(item) for item in items]
        if sum(map(len, texts)) > MAX_CHARACTERS:
            raise LimitError(f"it builds a text of more than {MAX_CHARACTERS} characters")
        return "".join(texts)

    def _step(self) -> None:
        self._steps += 1
        if self._steps % _CHECK_EVERY == 0 and time.monotonic() > self._expires:
            raise LimitError(f"it ran for more than {MAX_SECONDS:g} s")


class _Guard(NodeTransformer):
    """Puts every loop and every `~` of a template's syntax tree under the environment's limits."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_counted", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, "_concatenated", [], [], None, None, lineno=node.lineno)


class _Counted:
    """The items of a loop; each step is counted against the time limit."""

    def __init__(self, items: Any, step: Callable[[], None]) -> None:
        self._items = items
        self._step = step

    def __iter__(self) -> Iterator[Any]:
        step = self._step
        for item in self._items:
            step()
            yield item

    def __len__(self) -> int:
        return len(self._items)


class _Generation(jinja2.ext.Extension):
    """The block `{% generation %}…{% endgeneration %}`: its text is put between two marks."""

    tags = {"generation"}  # noqa: RUF012 (the base declares it so)

    def parse(self, parser: jinja2.parser.Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return f"{GENERATION_START}{caller()}{GENERATION_END}"


class _TemplateDict:
    """`dict` as templates may use it: without the class and its attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _TemplateNamespace(Namespace):
    """`namespace` that refuses names with a leading underscore, as transformers does."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, rest = args[0], args[1:]
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it stores the underscored attribute {name!r} in a namespace")


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _checked(value: Any) -> Any:
    if isinstance(value, (str, list, tuple)) and len(value) > MAX_CHARACTERS:
        raise LimitError(f"it builds a value of {len(value)} elements")
    return value


def _check_product(left: Any, right: Any) -> None:
    for sequence, count in ((left, right), (right, left)):
        size = len(sequence) * count if isinstance(sequence, (str, list, tuple)) and isinstance(count, int) else 0
        if size > MAX_CHARACTERS:
            raise LimitError(f"it builds a value of {size} elements")


def _check_format(pattern: str) -> None:
    if re.search(r"\d{6}|\*", pattern):
        raise LimitError("it formats text to a huge width")


def _check_method(method: Any, args: tuple[Any, ...]) -> None:
    """Refuse string methods whose result would be huge, before they run."""
    owner = getattr(method, "__self__", None)
    if not isinstance(owner, str):
        return
    name = method.__name__
    if name in _PADDING_METHODS and any(isinstance(arg, int) and arg > MAX_CHARACTERS for arg in args):
        raise LimitError(f"it pads a text to {max(arg for arg in args if isinstance(arg, int))} characters")
    if name == "replace" and len(args) > 1:
        _check_replace(owner, str(args[0]), str(args[1]))
    if name == "join" and args:
        _check_join(owner, args[0])


def _check_replace(text: str, old: str, new: str) -> None:
    if text.count(old) * len(new) > MAX_CHARACTERS:
        raise LimitError("it builds a huge text by replacing")


def _check_join(separator: str, items: Any) -> None:
    if isinstance(items, (list, tuple)):
        size = sum(len(item) for item in items if isinstance(item, str)) + len(separator) * len(items)
        if size > MAX_CHARACTERS:
            raise LimitError("it builds a huge text by joining")


def _sized(filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a text filter so that its arguments cannot ask for a huge result."""

    @functools.wraps(filter_)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        values = [*args, *kwargs.values()]
        widths = [value for value in values if isinstance(value, int)]
        texts = [len(value) for value in values if isinstance(value, str)]
        lists = [len(value) for value in values if isinstance(value, (list, tuple))]
        if any(width > MAX_CHARACTERS for width in widths):
            raise LimitError(f"it pads a text to {max(widths)} characters")
        factor = max([*texts, 1]) * max([*lists, *sorted(texts)[:-1], 1])
        if factor > MAX_CHARACTERS * 64:
            raise LimitError("it builds a huge text in a filter")
        return _checked(filter_(*args, **kwargs))

    return guarded
