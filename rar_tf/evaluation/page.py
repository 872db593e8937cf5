"""A page of headings, paragraphs, tables and figures, as Markdown with pictures beside it and as HTML in one file."""

import base64
import html
import io
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from rar_tf.figures import Figure
from rar_tf.files import atomic_write


class Block(NamedTuple):
    """A piece of a page: a heading, a paragraph, a table (header, rows) or a figure (name, PNG or figure, caption)."""

    kind: str
    content: Any


def heading(text: str) -> Block:
    return Block("heading2", text)


def text(paragraph: str) -> Block:
    return Block("text", paragraph)


def table(header: Sequence[str], rows: Sequence[Sequence]) -> Block:
    return Block("table", (header, rows))


def figure(name: str, picture: Figure, caption: str) -> Block:
    return Block("figure", (name, picture, caption))


def picture(name: str, png: bytes, caption: str) -> Block:
    return Block("figure", (name, png, caption))


def write(title: str, blocks: list[Block], folder) -> tuple[pathlib.Path, pathlib.Path]:
    """Write report.md, its pictures and report.html; return the paths of the two pages."""
    folder = pathlib.Path(folder)
    markdown, page = folder / "report.md", folder / "report.html"
    blocks = [Block("heading", title), *blocks]
    pictures = {name: _png(picture) for kind, content in blocks if kind == "figure" for name, picture, _ in [content]}
    for name, data in pictures.items():
        with atomic_write(folder / "report_figures" / f"{name}.png") as temporary:
            temporary.write_bytes(data)
    for path, rendered in ((markdown, _markdown(blocks)), (page, _html(title, blocks, pictures))):
        with atomic_write(path) as temporary:
            temporary.write_text(rendered, encoding="utf-8")
    return markdown, page


def markdown_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Return a Markdown table whose columns are aligned, so that it can be read in a terminal too."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    cells.insert(1, ["-" * max(width, 3) for width in widths])
    return "".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |\n" for row in cells)


def _png(picture):
    if isinstance(picture, bytes):
        return picture
    data = io.BytesIO()
    picture.savefig(data, format="png", dpi=110)
    return data.getvalue()


def _markdown(blocks):
    parts = []
    for kind, content in blocks:
        if kind == "table":
            parts.append(markdown_table(*content))
        elif kind == "figure":
            name, _, caption = content
            parts.append(f"![{caption}](report_figures/{name}.png)\n\n{caption}\n")
        else:
            parts.append({"heading": "# ", "heading2": "## "}.get(kind, "") + content + "\n")
    return "\n".join(parts)


_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:78em;margin:1.5em auto;padding:0 1em;overflow-wrap:anywhere}"
    "h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ddd}"
    ".table{overflow-x:auto;margin:1em 0}table{border-collapse:collapse;font-size:12px;overflow-wrap:normal}"
    "td,th{border:1px solid #ccc;padding:.25em .45em;text-align:left;vertical-align:top;min-width:4.5em}"
    "th{background:#f4f4f4}td:first-child{font-weight:600;position:sticky;left:0;background:#fff}"
    "td.long{min-width:14em;font-family:monospace;font-size:11px;overflow-wrap:anywhere}"
    "img{max-width:100%;height:auto}figure{display:inline-block;margin:1em 1.5em 0 0;max-width:100%;vertical-align:top}"
    "figcaption{color:#555;font-size:12px;max-width:36em}"
)


def _cell(tag, text):
    return f"<{tag}{' class=long' if len(text) > 60 else ''}>{html.escape(text)}</{tag}>"


def _html(title, blocks, pictures):
    tags = {"heading": "h1", "heading2": "h2", "text": "p"}
    parts = []
    for kind, content in blocks:
        if kind == "table":
            header, rows = content
            cells = [
                "".join(_cell(tag, str(cell)) for cell in row)
                for tag, row in [("th", header), *(("td", row) for row in rows)]
            ]
            rows_ = "".join(f"<tr>{row}</tr>\n" for row in cells)
            parts.append(f'<div class="table"><table>{rows_}</table></div>')
        elif kind == "figure":
            name, _, caption = content
            source = base64.b64encode(pictures[name]).decode()
            parts.append(
                f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{source}">'
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )
        else:
            parts.append(f"<{tags[kind]}>{html.escape(content)}</{tags[kind]}>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
