# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""An inspection for a terminal of any width, with colours or, without them, with marks around what is trained."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tunesmith.core.errors import Where
from tunesmith.jobs.inspection.facts import FoundProblem, Inspection, Lengths, ShownRow, ShownSegment, TokenRun
from tunesmith.jobs.inspection.visible import LINE_BREAK, shortened, visible

_MAX_RUN = 600
_MAX_SAMPLE = 160
_MAX_ROWS = 10
_STYLES = {"trained": "bold green", "context": "", "cut": "strike red"}
_MARKS = {"trained": ("⟦", "⟧"), "context": ("", ""), "cut": ("[-", "-]")}
_SPECIAL = "cyan"
_PLAIN_CHARACTERS = str.maketrans(
    {"⟦": "[[", "⟧": "]]", "█": "#", "─": "-", "·": ";", "↵": "\\n", "⟨": "<", "⟩": ">", "…": "...", "–": "-"}
)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Where text is shown: its width, whether it has colours, and whether it can write any character."""

    width: int = 80
    has_colours: bool = False
    is_unicode: bool = True


def to_text(found: Inspection, screen: Screen) -> str:
    """Write the inspection as text."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=screen.width,
        force_terminal=screen.has_colours,
        color_system="standard" if screen.has_colours else None,
        no_color=not screen.has_colours,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    console.print(*_parts(found, screen), sep="\n")
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    text = "\n".join(lines)
    return text if screen.is_unicode else text.translate(_PLAIN_CHARACTERS).encode("ascii", "replace").decode("ascii")


def _parts(found: Inspection, screen: Screen) -> Iterator[RenderableType]:
    yield _overview(found)
    if found.lengths is not None:
        yield _section("Lengths in tokens", _histogram(found.lengths, found.cutoff_len, screen.width))
    if found.sources:
        yield _section("Data sets", _sources(found))
    if found.ledger:
        yield _section("Rows that were not simply kept", _ledger(found))
    yield _section("Findings", _findings(found))
    if found.shown or found.not_shown:
        yield _section("Rows as the model sees them", Group(*_rows(found, screen)))


def _section(title: str, content: RenderableType) -> RenderableType:
    return Group(Text(), Text(title, style="bold"), Padding(content, (0, 0, 0, 2)))


def _overview(found: Inspection) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(found):
        grid.add_row(name, value)
    return grid


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    yield "model", f"{found.model}" + (f" · template {found.template}" if found.template else "")
    yield "stage", f"{found.stage} ({found.row_kind} rows) · cutoff_len {found.cutoff_len}"
    formats = ", ".join(f"{found.short(name)}: {kind or 'not recognised'}" for name, kind in found.formats.items())
    yield "format", formats or "-"
    if found.tokens is None or found.supervised_tokens is None or found.rows_in is None or found.rows_kept is None:
        read = "" if found.rows_in is None else f"{found.rows_in:,} read, "
        yield "rows", f"{read}none could be tokenised; the findings say why"
        return
    yield "rows", f"{found.rows_in:,} read, {found.rows_kept:,} used, {found.rows_in - found.rows_kept:,} dropped"
    share = f" ({found.supervised_share:.1%})" if found.supervised_share is not None else ""
    yield "tokens", f"{found.tokens:,}, of which {found.supervised_tokens:,} are trained{share}"
    if found.packing is not None:
        packing = found.packing
        fill = f"{packing.fill:.1%} full" + (", the last one aside" if packing.sequences > 1 else "")
        plural = "" if packing.sequences == 1 else "s"
        yield "packed", f"{packing.sequences:,} sequence{plural} of {packing.capacity:,} tokens, {fill}"


def _histogram(lengths: Lengths, cutoff: int, width: int) -> RenderableType:
    room = max(width - 34, 10)
    most = max(lengths.counts)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    for low, high, count in zip(lengths.edges, lengths.edges[1:], lengths.counts, strict=False):
        bar = "█" * max(round(count / most * room), 1 if count else 0)
        mark = " ─ cutoff_len" if low <= cutoff < high else ""
        span = f"{low:,} – {high - 1:,}" if high - low > 1 else f"{low:,}"
        grid.add_row(span, f"{count:,}", Text(bar, style="blue") + Text(mark, style="dim"))
    figures = (
        f"shortest {lengths.shortest:,} · median {lengths.median:,} · 95 % up to {lengths.percentile_95:,} · "
        f"longest {lengths.longest:,}"
    )
    return Group(grid, Text(figures, style="dim"))


def _sources(found: Inspection) -> RenderableType:
    table = _table("data set", "side", "format")
    for name in ("read", "used", "tokens", "trained"):
        table.add_column(name, justify="right", no_wrap=True)
    for source in found.sources:
        share = f"{source.supervised_tokens / source.tokens:.0%}" if source.tokens else "-"
        counts = (f"{source.rows_in:,}", f"{source.rows_kept:,}", f"{source.tokens:,}", share)
        table.add_row(found.short(source.dataset), source.split, source.format or "-", *counts)
    return table


def _ledger(found: Inspection) -> RenderableType:
    table = _table("outcome", "rows", "why")
    for line in found.ledger:
        rows = f"{'row' if line.count == 1 else 'rows'} {_row_list(line.rows, line.count)} of {found.short(line.file)}"
        outcome = "left out" if line.reason == "not_sampled" else line.outcome
        table.add_row(outcome, f"{line.count:,}", visible(f"{line.reason}: {line.text} ({rows})"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _findings(found: Inspection) -> RenderableType:
    return Group(*(_finding(one, found) for one in found.findings)) if found.findings else Text("none", style="dim")


def _finding(found: FoundProblem, whole: Inspection) -> RenderableType:
    problem = found.problem
    is_refusal = found.severity == "refuse"
    head = Text("error " if is_refusal else "warning ", style="bold red" if is_refusal else "bold yellow")
    head.append(problem.code, style="bold")
    share = f" ({found.share:.1%} of the rows)" if found.share is not None else ""
    place = _place(problem.where, whole)
    parts = [head + Text(share, style="dim"), Text(visible(f"{problem.message} {problem.remedy}"))]
    parts += [Text(place, style="dim")] if place else []
    samples = [
        Text(f"row {one.row}: {shortened(visible(one.text), _MAX_SAMPLE)}", style="dim") for one in found.samples
    ]
    return Group(parts[0], Padding(Group(*parts[1:], *samples), (0, 0, 0, 2)))


def _place(where: Where, found: Inspection) -> str:
    plural = "s" if where.rows and len(where.rows) > 1 else ""
    rows = f"row{plural} {_row_list(where.rows, where.num_rows or len(where.rows))}" if where.rows else ""
    return " of ".join(part for part in (rows, found.short(where.file) if where.file else "") if part)


def _row_list(rows: Sequence[int], count: int) -> str:
    return ", ".join(map(str, rows[:_MAX_ROWS])) + (f", … {count - _MAX_ROWS:,} more" if count > _MAX_ROWS else "")


def _rows(found: Inspection, screen: Screen) -> Iterator[RenderableType]:
    yield _legend(screen)
    for row in found.shown:
        yield _row(row, found.short(row.source.file), screen)
    for name, why in found.not_shown.items():
        yield Text(f"\n{name} is not shown: {visible(why)}", style="dim")


def _legend(screen: Screen) -> Text:
    if not screen.has_colours:
        return Text(f"⟦trained⟧, [-cut away-], not trained without marks; {LINE_BREAK} is a line break", style="dim")
    return Text.assemble(
        ("trained", _STYLES["trained"]), "  not trained  ", ("cut away", _STYLES["cut"]), "  ",
        ("special token", _SPECIAL), f"  {LINE_BREAK} line break",
    )  # fmt: skip


def _row(row: ShownRow, file: str, screen: Screen) -> RenderableType:
    title = Text.assemble(
        "\n", (f"row {row.source.row} of {file}", "bold"),
        (f" · {row.why} · {row.num_tokens:,} tokens, {row.num_supervised:,} trained", "dim"),
    )  # fmt: skip
    if row.label is not None:
        title.append(f" · label {row.label:g}", style="dim")
    if row.outcome != "kept":
        away = f", {row.num_cut:,} tokens cut away" if row.num_cut else ""
        title.append(f" · {row.outcome}: {row.reason}{away}", style="yellow")
    return Group(title, *(_segment(segment, row, screen) for segment in row.segments))


def _segment(segment: ShownSegment, row: ShownRow, screen: Screen) -> RenderableType:
    text = _runs(segment.runs, screen)
    if len(row.segments) == 1:
        return Padding(text, (0, 0, 0, 2))
    parent = f" after {segment.parent}" if segment.parent else ""
    name = f"{segment.name}{parent} · {segment.num_tokens:,} tokens, {segment.num_supervised:,} trained"
    return Padding(Group(Text(name, style="dim italic"), Padding(text, (0, 0, 0, 2))), (0, 0, 0, 2))


def _runs(runs: Iterable[TokenRun], screen: Screen) -> Text:
    shown = Text()
    state = "context"
    for run in runs:
        if run.state != state and not screen.has_colours:
            shown.append(_MARKS[state][1] + _MARKS[run.state][0])
        state = run.state
        style = f"{_STYLES[state]} {_SPECIAL}" if run.is_special else _STYLES[state]
        shown.append(shortened(visible(run.text), _MAX_RUN).replace("\n", f"{LINE_BREAK}\n"), style=style.strip())
    shown.append("" if screen.has_colours else _MARKS[state][1])
    if shown.plain.endswith("\n"):
        shown.right_crop(1)
    return shown
