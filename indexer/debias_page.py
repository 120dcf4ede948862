"""The report of a debiasing as one page of HTML with plots: no script, nothing that is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

WIDTH, ROW, LEFT, BEHIND = 760, 22, 210, 280
COLOURS: Final = {
    "before": "#8a8f98",
    "after": "#1f6feb",
    "predicted": "#d29922",
    "all": "#8a8f98",
    "masked": "#cf222e",
}
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2328}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .75rem;border-bottom:1px solid #d1d9e0;"
    "text-align:left}.no{color:#cf222e}.yes{color:#1a7f37}"
)


def page(document: Mapping[str, Any]) -> str:
    """A page of what :meth:`indexer.debiasing.Debiasing.run` found."""
    parts = [
        f"<h1>Debiasing of adapter {escape(document['adapter_before'][:12])}</h1>",
        _decision(document),
        "<h2>How far from fair</h2>",
        "<p>The lists that are served, fused, on people on whom nothing was chosen; then those of the LLM alone. "
        "Shorter is fairer. Predicted is to first order, of the LLM on the people who were searched on.</p>",
        _gaps(document, "served", predicted=False),
        _gaps(document, "llm", predicted=True),
        "<h2>Accuracy</h2>",
        _accuracy(document),
        "<h2>What went</h2>",
        _masked(document["masked"]),
        "<h2>Path</h2>",
        "<p>What masks of other sizes were predicted to do in the first round: unfairness by how much it was, and how "
        "much less likely the choices become.</p>",
        _path(document["rounds"][0]["path"]),
        "<h2>Rounds</h2>",
        _rounds(document["rounds"]),
        f"<p>{escape(document['gate']['decision'])}.</p><p>{document.get('seconds', 0):.0f} seconds.</p>",
    ]
    head = f'<meta charset="utf-8"><title>Debiasing report</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _decision(document: Mapping[str, Any]) -> str:
    if document["against"]:
        reasons = "".join(f"<li>{escape(each)}</li>" for each in document["against"])
        return f'<p class="no">Nothing is published, because:</p><ul>{reasons}</ul>'
    if document["adapter"] is None:
        return '<p class="yes">Nothing speaks against it. Nothing was published, as was asked.</p>'
    return f'<p class="yes">Published as {escape(document["adapter"])}.</p>'


def _gaps(document: Mapping[str, Any], order: str, *, predicted: bool) -> str:
    rows, found = [], document[order]
    for name, (before, after) in found["gaps"].items():
        change, low, high = found["figures"][name]
        rows.append((f"{name}, before", before, "before", ""))
        rows.append((f"{name}, after", after, "after", f"{change:+.4f} ({low:+.4f} to {high:+.4f})"))
        if predicted:
            rows.append((f"{name}, predicted", max(0.0, before + document["predicted"][name]), "predicted", ""))
    return f"<h3>{'Served' if order == 'served' else 'The LLM alone'}</h3>" + _bars(rows)


def _bars(rows: Sequence[tuple[str, float, str, str]]) -> str:
    """Bars with a name before them, and the value and a remark behind."""
    most = max((value for _, value, _, _ in rows), default=0.0) or 1.0
    room, lines = WIDTH - LEFT - BEHIND, []
    for place, (name, value, kind, remark) in enumerate(rows):
        top, length = place * ROW, room * value / most
        told = f"{value:.4f}, {remark}" if remark else f"{value:.4f}"
        lines.append(
            f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LEFT}" y="{top + 3}" width="{length:.1f}" height="{ROW - 6}" fill="{COLOURS[kind]}"/>'
            f'<text x="{LEFT + length + 6:.1f}" y="{top + 15}">{escape(told)}</text>'
        )
    return _svg(len(rows) * ROW + 4, lines)


def _accuracy(document: Mapping[str, Any]) -> str:
    rows = []
    for order, name in (("served", "served"), ("llm", "the LLM alone")):
        found = document[order]
        low, high = found["loss_interval"]
        before, after = found["ndcg"]
        rows.append((name, f"{before:.4f}", f"{after:.4f}", f"{found['loss']:.2%} ({low:.2%} to {high:.2%})"))
    table = _table(("order", "NDCG@10 before", "after", "loss, 95 % interval"), rows)
    return f"{table}<p>The budget was {document['budget']:.2%}.</p>"


def _masked(masked: Mapping[str, Any]) -> str:
    text = (
        f"<p>{masked['choices']} of {masked['of']} choices went, of {masked['people']} of {masked['of_people']} "
        "people. They are not forgotten: the choices stay in the store.</p>"
    )
    rows = [
        (f"{kind}: {group}", each["masked"] / max(1, each["all"]), "masked", f"{each['masked']} of {each['all']}")
        for kind, groups in masked["by"].items()
        for group, each in groups.items()
    ]
    return text + "<p>Share of the choices of each group that went:</p>" + _bars(rows)


def _path(points: Sequence[Mapping[str, float]]) -> str:
    rows = [
        (f"{each['share']:.0%}", f"{each['count']}", f"{each['unfairness']:+.4f}", f"{each['loss']:+.4f}")
        for each in points
    ]
    return _curve(points) + _table(("at most", "choices", "unfairness", "loss in nats"), rows)


def _curve(points: Sequence[Mapping[str, float]]) -> str:
    """Unfairness by the share of the choices that may go; the shares lie at equal distances."""
    deepest = min(min((each["unfairness"] for each in points), default=0.0), -1e-9)
    height, step = 200, (WIDTH - 120) / max(1, len(points))
    places = [(60 + step * n, 15 + (height - 60) * each["unfairness"] / deepest) for n, each in enumerate(points, 1)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(60.0, 15.0), *places])
    marks = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS["after"]}"/>'
        f'<text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">{each["unfairness"]:+.3f}</text>'
        f'<text x="{x:.1f}" y="{height}" text-anchor="middle">{each["share"]:.0%}</text>'
        for (x, y), each in zip(places, points, strict=True)
    ]
    drawn = f'<polyline points="{line}" fill="none" stroke="{COLOURS["after"]}" stroke-width="2"/>'
    axis = f'<line x1="60" y1="15" x2="{WIDTH - 40}" y2="15" stroke="{COLOURS["before"]}"/>'
    return _svg(height + 8, [axis, drawn, *marks])


def _rounds(rounds: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            str(number),
            str(each["count"]),
            f"{each['length']:g}",
            ", ".join(f"{name} {gap:.4f}" for name, gap in each["gaps"].items()),
            f"{each['accuracy']:.4f}",
        )
        for number, each in enumerate(rounds, 1)
    ]
    return _table(("round", "choices masked", "length of the step", "from fair", "NDCG@10"), rows)


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _svg(height: float, parts: Sequence[str]) -> str:
    """A picture that can also stand alone, in a file of its own."""
    drawn = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img"'
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg {drawn} font-family="sans-serif" font-size="12">{paper}{"".join(parts)}</svg>'
