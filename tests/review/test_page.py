"""The review page as a reviewer meets it, in a real browser, served by the command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from latent_guard.guidance.verdict import Decision
from latent_guard.review.decisions import DecisionLog
from tests.report.run_folder import HOSTILE
from tests.report.test_page_in_browser import LOW_CONTRAST
from tests.review.conftest import Room, picture, verdict_of

VISIBLE = ".card:not([hidden])"
FILTERS = "[...document.querySelectorAll('.reveal img')].map(image => getComputedStyle(image).filter)"
UNNAMED = """[...document.querySelectorAll("button, select, img")]
  .filter((one) => !(one.ariaLabel || one.alt || (one.labels?.length ? one.labels[0] : one).textContent.trim()))
  .map((one) => one.outerHTML)"""
Serve = Callable[..., str]


@pytest.fixture
def served(room: Room) -> Iterator[Serve]:
    """Runs ``latent-guard review``, and gives the address that it prints."""
    running: list[subprocess.Popen[str]] = []

    def run(*more: str) -> str:
        command = [sys.executable, "-m", "latent_guard", "review", str(room.folder), "--key", str(room.key), *more]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        assert running[-1].stdout is not None
        return running[-1].stdout.readline().removeprefix("open ").strip()

    yield run
    for process in running:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def decided(room: Room) -> list[tuple[str, str, str, str]]:
    decisions, lost = DecisionLog(room.folder).latest()
    assert lost == 0
    return [(one.id, one.decision, one.category, one.reviewer) for one in decisions.values()]


def test_a_reviewer_looks_and_decides_by_keyboard(
    room: Room, three: Callable[[], list[str]], served: Serve, visit: Callable[..., Any]
) -> None:
    first, second, third = three()
    seen = visit(served("--reviewer", "Ann <b>"))
    page = seen.page
    blurred = "grayscale(1) blur(24px)"
    assert page.evaluate(FILTERS) == [blurred] * 3
    page.keyboard.press("j")
    page.keyboard.press("r")
    assert page.evaluate(FILTERS) == ["none", blurred, blurred]
    assert page.locator(".reveal img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 24
    page.keyboard.press("u")
    page.get_by_text("2 of 3 images").wait_for()
    assert page.locator(VISIBLE).count() == 2  # the page shows what is open
    assert page.evaluate("document.activeElement.closest('.card').dataset.id") == second
    assert page.evaluate(FILTERS) == [blurred] * 3
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("o")
    page.get_by_text("1 of 3 images").wait_for()
    assert decided(room) == [(first, "uphold", "violence", "Ann <b>"), (second, "overturn", "shocking", "Ann <b>")]
    page.reload()
    assert page.locator("[data-count=open]").text_content() == "1"
    page.get_by_label("State").select_option("Decided")
    assert page.locator(f"{VISIBLE} .state").all_text_contents() == ["Upheld by Ann <b>", "Overturned by Ann <b>"]
    page.locator(VISIBLE).first.get_by_role("button", name="Overturn").click()
    page.locator("[data-count=overturned]").get_by_text("2").wait_for()
    assert decided(room)[0][:2] == (first, "overturn")
    assert third not in {item for item, *_ in decided(room)}
    assert seen.complaints == []
    assert {url.split("/")[2] for url in seen.requests if not url.startswith("data:")} == {page.url.split("/")[2]}


def test_filters_narrow_the_queue(
    room: Room, three: Callable[[], list[str]], served: Serve, visit: Callable[..., Any]
) -> None:
    three()
    room.store().keep(picture(), verdict_of(decision=Decision.FLAGGED), {})
    page = visit(served()).page
    assert page.locator(VISIBLE).count() == 4
    page.get_by_label("Category").select_option("violence")
    assert page.locator(VISIBLE).count() == 3
    page.get_by_label("Guard's decision").select_option("flagged")
    assert page.locator(VISIBLE).count() == 1
    page.get_by_label("State").select_option("Upheld")
    assert page.locator("#count").text_content() == "No image matches these filters"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_texts_run_nothing_and_fit_on_a_phone(
    room: Room, served: Serve, visit: Callable[..., Any], scheme: str
) -> None:
    store = room.store()
    for text in HOSTILE:
        store.keep(picture(), verdict_of(text or "x"), {"prompt": text, f"{text}\ud800": "\0\u202e" + text})
    (room.folder / f"{'1' * 32}.withheld").write_text("not one")
    seen = visit(served(), color_scheme=scheme, viewport={"width": 400, "height": 800})
    page = seen.page
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("window.hacked") is None
    assert seen.complaints == []
    assert page.locator(VISIBLE).count() == len(HOSTILE)
    assert page.locator("#cards").locator("svg, a, script, [onerror], [onload]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert "is no withheld image" in page.locator(".unreadable").text_content()
    checked, low = page.evaluate(LOW_CONTRAST)
    assert checked > 50
    assert low == []
    assert page.evaluate(UNNAMED) == []


def test_a_decision_that_cannot_be_kept_is_said_and_the_image_stays_open(
    room: Room, three: Callable[[], list[str]], served: Serve, visit: Callable[..., Any]
) -> None:
    first, *_ = three()
    page = visit(served()).page
    (room.folder / f"{first}.withheld").unlink()
    page.locator(VISIBLE).first.get_by_role("button", name="Uphold").click()
    page.get_by_role("alert").get_by_text("was not kept").wait_for()
    assert page.locator("[data-count=open]").text_content() == "3"


def test_who_has_not_the_whole_address_or_comes_by_another_name_gets_nothing(
    room: Room, three: Callable[[], list[str]], served: Serve
) -> None:
    item = three()[0]
    address = served()
    host = address.split("/")[2]
    assert address.startswith("http://127.0.0.1:")
    with httpx.Client(trust_env=False) as client:
        answer = client.get(address)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src 'self'")
        assert "unsafe" not in policy
        assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
        image = client.get(f"{address}images/{item}.png")
        assert (image.headers["content-type"], image.headers["cache-control"]) == ("image/png", "no-store")
        for path in ("", "x/", f"x/images/{item}.png", "docs", "openapi.json", "%C3%A9/"):
            assert client.get(f"http://{host}/{path}").status_code == 404, path
        assert client.post(f"http://{host}/x/decisions", json={"id": item, "decision": "uphold"}).status_code == 404
        for name in ("evil.example", f"evil.example:{host.split(':')[1]}", "127.0.0.1.evil.example", ""):
            assert client.get(address, headers={"host": name}).status_code == 400
        assert client.get(f"{address}images/..%2f..%2fkey.png").status_code == 404
        assert client.get(f"{address}images/{'0' * 32}.png").status_code == 404
        for wrong in ({}, {"id": item}, {"id": item, "decision": "hope"}, {"id": 1, "decision": "uphold"}, []):
            assert client.post(f"{address}decisions", json=wrong).status_code == 422
        form = {"content-type": "text/plain"}
        body = f'{{"id": "{item}", "decision": "uphold"}}'
        assert client.post(f"{address}decisions", content=body, headers=form).status_code == 422
    assert decided(room) == []
