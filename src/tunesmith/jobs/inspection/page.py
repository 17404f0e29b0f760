# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""An inspection as one HTML page that needs nothing else: no script, no address, light and dark; data is only text."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources

from tunesmith import __version__
from tunesmith.jobs.inspection.facts import FoundProblem, Inspection, Lengths, ShownRow, ShownSegment, TokenRun
from tunesmith.jobs.inspection.plots import length_plot, meter
from tunesmith.jobs.inspection.visible import LINE_BREAK, visible

# Pages with more rows begin with these open and the others closed.
_MOST_OPEN = 12
_MAX_ROWS = 20
_CLASSES = {"trained": "t", "context": "c", "cut": "x"}
_NAMES = {"trained": "trained", "context": "not trained", "cut": "cut away"}


def to_page(found: Inspection) -> str:
    """Write the page."""
    style = resources.files("tunesmith.jobs.inspection").joinpath("page.css").read_text(encoding="utf-8")
    title = f"{', '.join(map(found.short, found.formats)) or found.stage} · {found.stage}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is fetched and nothing runs, whatever the rows hold.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{style}</style></head><body><main>\n"
        + "\n".join(_parts(found))
        + f"\n<footer>tunesmith {__version__} inspect</footer></main></body></html>\n"
    )


def _text(value: object) -> str:
    return escape(visible(str(value)))


def _parts(found: Inspection) -> Iterator[str]:
    yield _head(found)
    yield f'<div class="figures">{"".join(_figures(found))}</div>'
    if found.lengths is not None and found.trained_lengths is not None:
        plots = [
            _plot("all tokens of a row", found.lengths, found.cutoff_len),
            _plot("trained tokens of a row", found.trained_lengths),
        ]
        yield _section("Lengths", f'<div class="plots">{"".join(plots)}</div>')
    yield _section("Findings", "".join(_finding(one, found) for one in found.findings) or '<p class="soft">None.</p>')
    if found.sources:
        yield _section("Data sets", _sources(found))
    if found.ledger:
        yield _section("Rows that were not simply kept", _ledger(found))
    if found.shown or found.not_shown:
        yield _section("Rows as the model sees them", _rows(found))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def _head(found: Inspection) -> str:
    formats = ", ".join(f"{found.short(name)} ({kind or 'not recognised'})" for name, kind in found.formats.items())
    template = f" · template {found.template}" if found.template else ""
    return (
        f"<h1>{_text(formats or 'Inspection')}</h1>"
        f'<p class="soft">{_text(found.model)}{_text(template)} · stage {_text(found.stage)}, '
        f"{_text(found.row_kind)} rows · cutoff_len {found.cutoff_len:,}</p>"
    )


def _figures(found: Inspection) -> Iterator[str]:
    if found.tokens is None or found.supervised_tokens is None or found.rows_in is None or found.rows_kept is None:
        yield _figure("none", f"of {'some' if found.rows_in is None else f'{found.rows_in:,}'} rows could be tokenised")
        return
    yield _figure(f"{found.rows_kept:,}", f"rows used of {found.rows_in:,}", _share(found.rows_kept, found.rows_in))
    yield _figure(f"{found.tokens:,}", "tokens")
    share = found.supervised_share
    yield _figure("–" if share is None else f"{share:.1%}", f"trained: {found.supervised_tokens:,} tokens", share)
    if found.packing is not None:
        packing = found.packing
        aside = "; the last one aside" if packing.sequences > 1 else ""
        text = f"full when packed: {packing.sequences:,} × {packing.capacity:,} tokens{aside}"
        yield _figure(f"{packing.fill:.1%}", text, packing.fill)
    refusals = len(found.refusals)
    refusing = f", {refusals} of them {'refuses' if refusals == 1 else 'refuse'} a run" if refusals else ""
    yield _figure(f"{len(found.findings)}", f"finding{_plural(len(found.findings))}{refusing}")


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _figure(value: str, text: str, share: float | None = None) -> str:
    bar = "" if share is None else meter(share)
    return f'<div class="card"><b>{_text(value)}</b><span>{_text(text)}</span>{bar}</div>'


def _plot(title: str, lengths: Lengths, cutoff: int | None = None) -> str:
    figures = (
        f"shortest {lengths.shortest:,} · median {lengths.median:,} · mean {lengths.mean:,.0f} · "
        f"95 % up to {lengths.percentile_95:,} · longest {lengths.longest:,}"
    )
    return f'<div class="card"><p>{title}</p>{length_plot(lengths, cutoff)}<p class="soft small">{figures}</p></div>'


def _finding(found: FoundProblem, whole: Inspection) -> str:
    problem, where = found.problem, found.problem.where
    count = f'<span class="pill plain">{found.count:,} row{_plural(found.count)}</span>' if found.count else ""
    share = f'<span class="pill plain">{found.share:.1%}</span>' if found.share is not None else ""
    place = f"row{_plural(len(where.rows))} {_row_list(where.rows, where.num_rows or 0)}" if where.rows else ""
    places = " of ".join(part for part in (place, whole.short(where.file) if where.file else "") if part)
    quotes = [quote for quote in found.quotes if quote not in problem.message]
    quoted = [*quotes, *(f"row {one.row}: {one.text}" for one in found.samples)]
    samples = "".join(f'<p class="sample">{_text(text)}</p>' for text in quoted)
    word = "error" if found.severity == "refuse" else "warning"
    return (
        f'<div class="card finding"><p><span class="pill {found.severity}">{word}</span>'
        f"<code>{_text(problem.code)}</code> {count}{share}</p><p>{_text(problem.message)}</p>"
        f"<p>→ {_text(problem.remedy)}</p>"
        + (f'<p class="soft">{_text(places)}</p>' if places else "")
        + f"{samples}</div>"
    )


def _plural(count: int) -> str:
    return "" if count == 1 else "s"


def _row_list(rows: Sequence[int], count: int) -> str:
    more = count - len(rows[:_MAX_ROWS])
    return ", ".join(map(str, rows[:_MAX_ROWS])) + (f", … {more:,} more" if more > 0 else "")


def _sources(found: Inspection) -> str:
    rows = [
        (
            *map(_text, (found.short(source.dataset), source.split, source.format or "–")),
            *(f"{value:,}" for value in (source.rows_in, source.rows_kept, source.rows_dropped, source.tokens)),
            f"{source.supervised_tokens / source.tokens:.1%}" if source.tokens else "–",
        )
        for source in found.sources
    ]
    names = ("data set", "side", "format", "read", "used", "dropped", "tokens", "trained")
    return _table(names, rows, numbers_from=3)


def _ledger(found: Inspection) -> str:
    rows = [
        (
            _text("left out" if line.reason == "not_sampled" else line.outcome),
            _text(f"{line.reason}: {line.text}"),
            _text(f"{_row_list(line.rows, line.count)} of {found.short(line.file)}"),
            f"{line.count:,}",
        )
        for line in found.ledger
    ]
    return _table(("outcome", "why", "rows", "count"), rows, numbers_from=3)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int) -> str:
    """Write a table; cells are HTML already."""

    def line(cells: Sequence[str], tag: str) -> str:
        marked = [
            f"<{tag}{' class=number' if place >= numbers_from else ''}>{cell}</{tag}>"
            for place, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(line(cells, "td") for cells in rows)
    return f'<div class="card scroll"><table>{line(names, "th")}{body}</table></div>'


def _rows(found: Inspection) -> str:
    legend = (
        '<p class="legend"><span class="t">trained</span><span>not trained</span><span class="x">cut away</span>'
        f'<span class="s">special token</span><span class="nl">{LINE_BREAK} line break</span></p>'
    )
    shown = [
        _row(row, found.short(row.source.file), is_open=number < _MOST_OPEN) for number, row in enumerate(found.shown)
    ]
    missing = [f'<p class="soft">{_text(f"{name} is not shown: {why}")}</p>' for name, why in found.not_shown.items()]
    return legend + "".join([*shown, *missing])


def _row(row: ShownRow, file: str, *, is_open: bool) -> str:
    facts = [row.why, f"{row.num_tokens:,} tokens", f"{row.num_supervised:,} trained"]
    facts += [f"label {row.label:g}"] if row.label is not None else []
    outcome = ""
    if row.outcome != "kept":
        away = f", {row.num_cut:,} tokens cut away" if row.num_cut else ""
        outcome = f'<span class="pill warn">{_text(f"{row.outcome}: {row.reason}{away}")}</span>'
    segments = "".join(_segment(segment, is_named=len(row.segments) > 1) for segment in row.segments)
    return (
        f'<details class="card"{" open" if is_open else ""}><summary><b>row {row.source.row}</b>'
        f'<span class="soft">{_text(file)} · {_text(" · ".join(facts))}</span> {outcome}</summary>'
        f"{segments}</details>"
    )


def _segment(segment: ShownSegment, *, is_named: bool) -> str:
    parent = f" after {segment.parent}" if segment.parent else ""
    name = f"{segment.name}{parent} · {segment.num_tokens:,} tokens, {segment.num_supervised:,} trained"
    head = f'<p class="segment">{_text(name)}</p>' if is_named else ""
    return f'{head}<div class="tokens">{"".join(map(_run, segment.runs))}</div>'


def _run(run: TokenRun) -> str:
    kinds = _CLASSES[run.state] + (" s" if run.is_special else "")
    weight = f", loss weight {run.weight:g}" if run.weight not in (0.0, 1.0) else ""
    count = len(run.texts)
    title = f"{_NAMES[run.state]}{weight} · {count} token{_plural(count)}"
    tokens = "".join(f"<b>{_token(text)}</b>" for text in run.texts)
    return f'<span class="{kinds}" title="{title}">{tokens}</span>'


def _token(text: str) -> str:
    return _text(text).replace("\n", f'<span class="nl">{LINE_BREAK}</span>\n')
