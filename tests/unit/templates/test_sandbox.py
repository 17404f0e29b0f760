# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A chat template can neither reach out of the sandbox nor take the machine's time and memory."""

from datetime import datetime
from typing import Any

import pytest

from tunesmith.core.errors import ExitCode, TunesmithError
from tunesmith.templates import sandbox
from tunesmith.templates.sandbox import CompiledTemplate


def render(source: str, **variables: Any) -> str:
    return CompiledTemplate(source, datetime(2025, 1, 2, 3, 4, 5)).render(variables)


def code_of(source: str, **variables: Any) -> str:
    with pytest.raises(TunesmithError) as caught:
        render(source, **variables)
    return caught.value.problems[0].code


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__ }}",
        "{% set ns = namespace(__init__=1) %}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ '{0.__class__}'.format(1) }}",
    ],
)
def test_attributes_of_the_interpreter_are_out_of_reach(source: str) -> None:
    try:
        text = render(source, messages=[])
    except TunesmithError as error:
        assert error.problems[0].code in {"template.sandbox_violated", "template.conversation_refused"}
    else:
        assert text == ""


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set x = range(9999) | list %}{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}"
        "{% endfor %}",
        "{% macro m(n) %}{% for i in range(20) %}{{ m(n + 1) if n < 30 else '' }}{% endfor %}{% endmacro %}{{ m(0) }}",
    ],
)
def test_a_template_that_runs_on_is_stopped(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.2)
    assert code_of(source) == "template.limit_exceeded"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**9 }}",
        "{{ 10 ** 100000 }}",
        "{{ 'x'.ljust(10**10) }}",
        "{{ 'x' | center(10**10) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{% set n = namespace(s='xx') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s='xx') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set s = 'x' * 10**7 %}{{ s.replace('x', s) }}",
        "{% set s = 'x' * 10**7 %}{{ s | replace('x', s) }}",
        "{% set s = 'x' * 10**7 %}{% for i in range(99) %}{{ s }}{% endfor %}",
    ],
)
def test_a_template_that_grows_is_stopped(source: str) -> None:
    assert code_of(source) == "template.limit_exceeded"


def test_limits_end_as_security_refusals() -> None:
    with pytest.raises(TunesmithError) as caught:
        render("{{ 'x' * 10**9 }}")
    assert caught.value.exit_code is ExitCode.SECURITY


def test_what_chat_templates_use_is_there() -> None:
    assert render("{{ strftime_now('%d %b %Y') }}") == "02 Jan 2025"
    assert render("{{ {'a': '<ü>'} | tojson }}") == '{"a": "<ü>"}'
    assert render("{{ {'a': [1]} | tojson(indent=1) }}") == '{\n "a": [\n  1\n ]\n}'
    assert render("{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}") == "13"
    assert (
        render("{% for x in items %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}", items=[5])
        == "1/1True "
    )
    assert render("{% for x in missing %}{% endfor %}ok") == "ok"
    assert render("{{ message.missing is defined }}{{ message.items() | list }}", message={"a": 1}) == "False[('a', 1)]"


def test_a_templates_own_refusal_is_quoted() -> None:
    with pytest.raises(TunesmithError) as caught:
        render("{{ raise_exception('no system role') }}")
    assert caught.value.problems[0].code == "template.conversation_refused"
    assert "no system role" in str(caught.value)


def test_syntax_errors_name_the_line() -> None:
    with pytest.raises(TunesmithError) as caught:
        CompiledTemplate("a\n{% if %}", datetime(2025, 1, 1))
    assert caught.value.problems[0].code == "template.syntax_invalid"
    assert "line 2" in str(caught.value)


def test_generation_blocks_leave_marks() -> None:
    text = render("a{% generation %}b{% endgeneration %}c")
    assert text == f"a{sandbox.GENERATION_START}b{sandbox.GENERATION_END}c"
