"""Elements of a page of HTML: style, tables, figures, and numbers as people read them."""

import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light dark; --text: #24282d; --soft: #5c646d; --page: #fcfcfa; --rule: #e0e3e6;
  --classifier: #1f6fb4; --linear: #b8480a; --vectors: #5d7018; --for: 31 111 180; --against: 200 80 10; }
@media (prefers-color-scheme: dark) { :root { --text: #dcdfe2; --soft: #9aa3ac; --page: #15181b; --rule: #33393f;
  --classifier: #6fb1ea; --linear: #f0935a; --vectors: #b3c765; --for: 88 158 222; --against: 226 120 62; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 1.0625rem/1.6 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.25; font-weight: 600; margin: 0 0 1.25rem; }
h2 { font-size: 1.3rem; font-weight: 600; margin: 3.25rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; font-weight: 600; margin: 2rem 0 .25rem; }
p { margin: .6rem 0; } a { color: var(--classifier); } ul { padding-left: 1.2rem; }
.verdict { font-size: 1.2rem; line-height: 1.5; border-left: 3px solid var(--classifier); padding-left: 1rem; }
.soft, caption, figcaption { color: var(--soft); font-size: .92rem; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .95rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; font-size: .95rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .3rem 0 .3rem .9rem; text-align: right; border-bottom: 1px solid var(--rule); font-weight: 400; }
thead th { color: var(--soft); vertical-align: bottom; }
th[scope=row], th:first-child { text-align: left; padding-left: 0; }
td { white-space: nowrap; } th[scope=row] { overflow-wrap: anywhere; min-width: 9rem; }
.matrix th[scope=row] { min-width: 0; overflow-wrap: normal; }
.matrix { width: auto; min-width: min(100%, 26rem); }
.matrix td, .matrix thead th:not(:first-child) { padding: .3rem .6rem; text-align: right; }
.matrix td { background: rgb(var(--hue) / var(--a)); }
figure { margin: 1.25rem 0; } svg { width: 100%; height: auto; max-width: 40rem; display: block; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
blockquote { margin: .4rem 0; padding: .6rem 0 .6rem 1rem; border-left: 2px solid var(--rule); white-space: pre-line;
  overflow-wrap: anywhere; }
mark { color: inherit; border-radius: .2em; padding: 0 .12em; }
.for { background: rgb(var(--for) / var(--a)); border-bottom: 2px solid rgb(var(--for)); }
.against { background: rgb(var(--against) / var(--a)); border-bottom: 2px dashed rgb(var(--against)); }
@media print { nav { display: none; } }
"""


def text(value: object) -> str:
    """Escape a value for HTML."""
    return html.escape(str(value))


def table(caption: str, header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Write a table whose first column names the rows.

    Args:
        caption: What the table shows.
        header: Titles of the columns.
        rows: Cells of each row.
    """
    lines = [(name, "".join(f"<td>{text(cell)}</td>" for cell in cells)) for name, *cells in rows]
    return _table(caption, header, lines)


def matrix(caption: str, corner: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Write a square table of counts; a cell is shaded by its share of its row.

    Args:
        caption: What the table shows.
        corner: Title of the first column.
        names: Names of the rows and of the columns.
        counts: A row of counts for each name.
    """
    lines = []
    for number, (name, row) in enumerate(zip(names, counts, strict=True)):
        cells = []
        for column, count in enumerate(row):
            hue = "--for" if column == number else "--against"
            share = 0.5 * count / max(1, sum(row))
            cells.append(f'<td style="--hue:var({hue});--a:{share:.2f}">{count:,}</td>')
        lines.append((name, "".join(cells)))
    return _table(caption, (corner, *names), lines, ' class="matrix"')


def _table(caption: str, header: Sequence[object], lines: Sequence[tuple[object, str]], kind: str = "") -> str:
    """A table in a region that can be scrolled from the keyboard."""
    titles = "".join(f'<th scope="col">{text(title)}</th>' for title in header)
    body = "\n".join(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>' for name, cells in lines)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}"><table{kind}>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody>\n"
        "</table></div>\n"
    )


def figure(svg: str, caption: str) -> str:
    """Write a figure with its caption."""
    return f"<figure>{svg}<figcaption>{text(caption)}</figcaption></figure>\n"


def percent(share: float, digits: int = 1) -> str:
    """Write a share in percent."""
    return f"{100 * share:.{digits}f}%"


def signed(number: float, digits: int = 1) -> str:
    """Write a number with its sign."""
    return f"{number:+.{digits}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Write an interval of shares in percent."""
    return f"{100 * low:.1f} to {100 * high:.1f}"


def megabytes(size: int) -> str:
    """Write a number of bytes."""
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.0f} kB"


def speed(documents: float) -> str:
    """Write a number of documents in a second, with three digits."""
    return f"{documents:,.0f}" if documents >= 1000 else f"{documents:.3g}"
