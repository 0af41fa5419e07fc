"""The pages of docs/ as a site: built without a warning, complete, and readable on any screen without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import latent_guard
from latent_guard.cli.app import command
from tests.chromium import Visit

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PAGES = [
    "",
    "quick-start/",
    "how-it-works/",
    "policies/",
    "threat-model/",
    "options/",
    "python/guidance/",
    "pipelines/",
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "docs/site/mkdocs.yml")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([*build, "-d", str(folder)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_every_command_and_every_public_name_has_its_place(site: Path) -> None:
    options = (site / "options" / "index.html").read_text()
    for name, group in command().commands.items():
        for full in (name, *(f"{name} {sub}" for sub in getattr(group, "commands", ()))):
            assert f"<code>latent-guard {full}</code>" in options, full
    package = (site / "python" / "latent_guard" / "index.html").read_text()
    assert [name for name in latent_guard.__all__ if f">{name}<" not in package] == []
    guidance = (site / "python" / "guidance" / "index.html").read_text()
    assert 'id="latent_guard.guidance.LatentGuard.attach"' in guidance


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_each_page_fits_the_screen_and_asks_nobody_else(
    address: str, visit: Callable[..., Visit], width: int, scheme: str
) -> None:
    seen = visit(address, viewport={"width": width, "height": 844}, color_scheme=scheme)
    for page in PAGES:
        seen.page.goto(address + page)
        assert seen.page.locator("article h1").count() == 1
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert [request for request in seen.requests if not request.startswith(address)] == []
    assert seen.complaints == []


def test_what_is_looked_for_is_found(address: str, visit: Callable[..., Visit]) -> None:
    page = visit(address).page
    page.get_by_placeholder("Search").fill("abort_margin")
    found = page.locator(".md-search-result__link[href*='policies/']").first
    found.click()
    assert page.get_by_role("heading", name="Policies").count() == 1
