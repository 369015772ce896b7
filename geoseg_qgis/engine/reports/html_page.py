"""Pages that stand alone: styles and figures are inside, nothing is loaded from anywhere."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

MISSING = "&#8211;"


def page(title: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: Plain text.
        body: HTML, texts in it already escaped.
    """
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def escape(text: str) -> str:
    """Return plain text as HTML, safe in attributes too."""
    return html.escape(text, quote=True)


def section(title: str, body: str, note: str = "") -> str:
    """Return a card with a title, HTML, and a plain sentence below."""
    explained = f"<p class='note'>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{body}{explained}</section>"


def table(titles: tuple[str, ...], rows: list[str]) -> str:
    """Return a table that scrolls sideways; ``rows`` are HTML."""
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    return f"<div class='wide'><table><tr class='head'>{head}</tr>{''.join(rows)}</table></div>"


def tile(title: str, value: str) -> str:
    """Return a large number with its title."""
    return f"<div class='tile'><b>{escape(value)}</b><span>{escape(title)}</span></div>"


def facts(pairs: Mapping[str, str]) -> str:
    """Return names and what is to be said of them."""
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs.items()
    )
    return f"<dl>{listed}</dl>"


def details(title: str, body: str) -> str:
    """Return HTML that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def bar_cell(value: float) -> str:
    """Return a table cell with a share of 1 as a bar and a number, a dash for NaN."""
    if math.isnan(value):
        return f"<td class='missing'>{MISSING}</td>"
    return (
        f"<td><span class='bar'><i style='width:{max(value, 0.0):.1%}'></i></span>"
        f"<span class='value'>{value:.3f}</span></td>"
    )


def count_cell(value: int) -> str:
    """Return a table cell with a whole number."""
    return f"<td class='number'>{count(value)}</td>"


def count(value: int) -> str:
    """Return a whole number, thousands apart."""
    return f"{value:,}".replace(",", "\u202f")


_STYLE = """
:root{--ink:#1c2b27;--soft:#5d6d67;--line:#dfe5e1;--paper:#f6f8f6;--card:#fff;--accent:#0f766e;
--warn:#fff6e5;--warn-line:#e3a008}
@media (prefers-color-scheme:dark){:root{--ink:#e6eeea;--soft:#9db0a8;--line:#33423c;
--paper:#151d1a;--card:#1d2824;--accent:#2dd4bf;--warn:#3a2f14}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 24px 64px}
h1{margin:0;font-size:28px;line-height:1.25;overflow-wrap:anywhere}
header p{margin:4px 0 0;color:var(--soft)}
header .kind{margin:0 0 4px;font-size:12px;letter-spacing:.12em;text-transform:uppercase;
color:var(--accent);font-weight:600}
h2{font-size:17px;margin:0 0 12px}
section,.tile{background:var(--card);border:1px solid var(--line);border-radius:12px}
section{padding:20px 22px;margin-top:20px}
.tiles{display:flex;flex-wrap:wrap;margin:18px -6px 0}
.tile{flex:1 1 150px;margin:6px;padding:14px 16px}
.tile b{display:block;font-size:26px;font-variant-numeric:tabular-nums}
.tile span,.note,.missing{color:var(--soft)}.tile span{font-size:13px}
.note{margin:12px 0 0;font-size:13px}
.warning{background:var(--warn);border-left:4px solid var(--warn-line);border-radius:6px;
padding:10px 14px;margin:16px 0 0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:7px 10px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
tr:last-child>*{border-bottom:0}.head th{font-size:12px;color:var(--soft);font-weight:600;
white-space:normal;vertical-align:bottom}
th{font-weight:600}.number,.value{font-variant-numeric:tabular-nums}.number{text-align:right}
.bar{display:inline-block;width:64px;height:8px;border-radius:4px;background:var(--line);
overflow:hidden;vertical-align:middle;margin-right:8px}
.bar i{display:block;height:100%;background:var(--accent);border-radius:4px}
.matrix text{font-size:13px;fill:var(--ink)}.matrix .light{fill:#fff}
.matrix .cell{stroke:var(--line)}.right{fill:#0f766e}.wrong{fill:#be4830}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:0 0 12px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
details{margin-top:20px;color:var(--soft);font-size:13px}summary{cursor:pointer;margin-bottom:8px}
@media print{body{background:#fff}section,.tile{break-inside:avoid}}
"""
