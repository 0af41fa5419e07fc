"""Links of the pages: they lead from folder to folder of the repository, and so from place to place of the site."""

from __future__ import annotations

import os.path
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\[(?P<text>[^]]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """What lies outside docs/ is part of the site where a page leads to it, or a page that a page leads to."""
    waiting = [DOCS / file.src_uri for file in files.documentation_pages() if file.generated_by is None]
    while waiting:
        page = waiting.pop()
        for link in LINK.finditer(page.read_text(encoding="utf-8")):
            target = _target(page, link)
            if target.is_file() and files.get_file_from_path(_place(target)) is None:
                files.append(File.generated(config, _place(target), abs_src_path=str(target)))
                waiting += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link to a file names the file's place; one to a folder, which a site does not show, is only text."""
    source = page.file.abs_src_path
    if source is None:
        return markdown
    here = os.path.dirname(page.file.src_uri) or "."

    def moved(link: re.Match[str]) -> str:
        target = _target(Path(source), link)
        if target.is_dir():
            return link["text"]
        return f"[{link['text']}]({os.path.relpath(_place(target), here)}{link['anchor'] or ''})"

    return LINK.sub(moved, markdown)


def _target(page: Path, link: re.Match[str]) -> Path:
    return Path(os.path.normpath(page.parent / link["target"]))


def _place(path: Path) -> str:
    """Where a file of the repository lies in the site; docs/ is its root."""
    return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()
