"""Texts of this repository as parts of pages: Markdown whose links and pictures stay within the site."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from analysis.report.site import Site

PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")


def sections(text: str) -> dict[str, str]:
    """Return the parts of a text below its headings of the second level, by heading."""
    parts = re.split(r"^## (.+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchor(heading: str) -> str:
    """Return the name by which links reach a heading."""
    return re.sub(r"\W+", "-", heading.lower()).strip("-")


def render(text: str, folder: Path, site: Site, root: str, pages: dict[str, str]) -> Markup:
    """Return Markdown as markup; whatever looks like HTML in it is text.

    Args:
        text: The Markdown.
        folder: The folder of its file, from which its links count.
        site: The site; pictures are shown and tables copied there.
        root: The way from the page to the site's folder, such as `../`.
        pages: The pages that stand for other texts, by the names of their files.
    """
    tokens = PARSER.parse(text)
    for token in tokens:
        if token.children is not None:
            token.children = list(_inline(token.children, folder, site, root, pages))
    return Markup(PARSER.renderer.render(list(_blocks(tokens)), PARSER.options, {}))


def _blocks(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield blocks with anchors at headings, and with frames in which wide tables scroll."""
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(tokens[place + 1].content))
        if token.type == "table_open":
            frame = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": "Table"}
            yield Token("frame_open", "div", 1, attrs=dict(frame))
        yield token
        if token.type == "table_close":
            yield Token("frame_close", "div", -1)


def _inline(
    tokens: Sequence[Token], folder: Path, site: Site, root: str, pages: dict[str, str]
) -> Iterator[Token]:
    """Yield the tokens of a line; links to what the site does not have become text."""
    dropped = False
    for token in tokens:
        if token.type == "image":
            yield _image(token, folder / str(token.attrGet("src")), site, root)
        elif token.type == "link_open":
            target = _target(str(token.attrGet("href")), folder, site, root, pages)
            dropped = target is None
            if target is not None:
                token.attrSet("href", target)
                yield token
        elif token.type != "link_close" or not dropped:
            yield token


def _image(token: Token, path: Path, site: Site, root: str) -> Token:
    if not path.is_file():
        return Token("text", "", 0, content=f"[{token.content}]")
    shown = site.original(path)
    token.attrs = {
        "src": root + shown.file,
        "width": shown.width,
        "height": shown.height,
        "loading": "lazy",
        "alt": "",
    }
    return token


def _target(href: str, folder: Path, site: Site, root: str, pages: dict[str, str]) -> str | None:
    if href.startswith(("https://", "#")):
        return href
    path = folder / href
    if (known := pages.get(href)) is not None:
        return root + known
    return root + site.copy(path) if path.suffix == ".csv" and path.is_file() else None
