# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a preflight rule is: a small function over the run's context that yields findings, under one code and severity.

`@rule` registers it; a new file with rules in this package is found without editing a list.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tunesmith.checks.context import CheckContext, Need
from tunesmith.core.errors import Problem, Severity, Where
from tunesmith.core.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule saw; the rule's code and severity make it a problem."""

    message: str
    remedy: str
    where: Where = field(default_factory=Where)


RuleFunction = Callable[[CheckContext], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: what it finds, and which parts of the context must be there before it is asked."""

    code: str
    severity: Severity
    needs: tuple[Need, ...]
    find: RuleFunction

    def apply(self, context: CheckContext) -> list[Problem]:
        """Ask the rule about a run; a rule whose needs cannot be had finds nothing."""
        if not all(context.has(need) for need in self.needs):
            return []
        return [
            Problem(
                code=self.code,
                message=finding.message,
                remedy=finding.remedy,
                where=finding.where,
                severity=self.severity,
            )
            for finding in self.find(context)
        ]


rules: Registry[Rule] = Registry("preflight rule", "tunesmith.checks", code="check.rule_unknown")


def rule(code: str, severity: Severity, *, needs: tuple[Need, ...] = ()) -> Callable[[RuleFunction], RuleFunction]:
    """Register a function as the rule that finds `code`."""

    def store(find: RuleFunction) -> RuleFunction:
        rules.register(code)(Rule(code=code, severity=severity, needs=needs, find=find))
        return find

    return store
