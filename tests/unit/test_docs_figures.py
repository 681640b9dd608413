# SPDX-License-Identifier: MIT
"""Figures of the pages under docs/ are what commands print."""

from __future__ import annotations

from pathlib import Path

from docs.figures import FIGURE, replace_figures

PAGE = "a\n<!-- figure: invoke x --y -->\nold\nold\n<!-- end of figure -->\nb\n"


def test_a_figure_is_replaced_and_nothing_else() -> None:
    asked: list[str] = []

    def make(command: str) -> tuple[str, str]:
        asked.append(command)
        return "text", "new  \n\\1\n"

    once = replace_figures(PAGE * 2, make)
    assert asked == ["invoke x --y"] * 2
    assert once == ("a\n<!-- figure: invoke x --y -->\n```text\nnew\n\\1\n```\n<!-- end of figure -->\nb\n" * 2)
    assert replace_figures(once, make) == once


def test_every_block_of_a_page_with_figures_is_one() -> None:
    texts = [page.read_text(encoding="utf-8") for page in (Path(__file__).parents[2] / "docs").glob("*.md")]
    with_figures = [text for text in texts if "<!-- figure: " in text]
    assert with_figures
    for text in with_figures:
        assert text.count("<!-- figure: ") == len(FIGURE.findall(text)) > 0
        assert all(figure[0].count("```") == 2 for figure in (match for match in FIGURE.finditer(text)))
        assert FIGURE.sub("", text).count("```") == 0
