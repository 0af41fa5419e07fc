"""The page as a reviewer meets it, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from latent_guard.report.write import write_report
from tests.report.run_folder import HOSTILE, build

BLUR = "getComputedStyle(document.querySelectorAll('.reveal img')[{}]).filter"
VISIBLE = ".card:not([hidden])"
# The WCAG 2.1 contrast ratio of every text on its ground, over transparent grounds up to the page's.
LOW_CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(node).backgroundColor);
      if (a === 1) return [r, g, b];
      if (a !== 0) throw new Error("half transparent");
    }
    throw new Error("no ground");
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let checked = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest("script, style, noscript")) continue;
    const text = light(numbers(getComputedStyle(node).color).slice(0, 3));
    const under = light(ground(node));
    const ratio = (Math.max(text, under) + 0.05) / (Math.min(text, under) + 0.05);
    checked += 1;
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className}`);
  }
  return [checked, [...new Set(found)]];
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build(tmp_path_factory.mktemp("runs") / "run")).html


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {"methods": ("unguarded", HOSTILE[0]), "prompts": HOSTILE}
    return write_report(build(tmp_path_factory.mktemp("runs") / "hostile <b>'\"", 2 * len(HOSTILE), **names)).html


def test_nothing_is_asked_of_a_network_and_nothing_complains(report: Path, visit: Callable[..., Any]) -> None:
    seen = visit(report)
    seen.page.keyboard.press("End")
    seen.page.wait_for_load_state("networkidle")
    assert {url.partition(":")[0] for url in seen.requests} <= {"file", "data"}
    assert [url for url in seen.requests if url.startswith("file:")] == [report.as_uri()]
    assert seen.complaints == []


def test_hostile_prompts_are_shown_as_text_and_run_nothing(hostile: Path, visit: Callable[..., Any]) -> None:
    seen = visit(hostile)
    seen.page.click("#show-all")
    for summary in seen.page.locator("summary").all():
        summary.click()
    assert seen.page.evaluate("window.hacked") is None
    assert seen.complaints == []
    assert {url.partition(":")[0] for url in seen.requests} <= {"file", "data"}
    shown = seen.page.locator(".card .prompt").all_text_contents()
    for prompt in ("<script>window.hacked = 1; alert(1)</script>", HOSTILE[4], HOSTILE[5], HOSTILE[-1]):
        assert shown.count(prompt) == 2, prompt
    assert seen.page.locator("#cards").locator("svg, a, script, [onerror], [onload]").count() == 0
    assert seen.page.locator("details .prompt").first.text_content() == max(HOSTILE, key=len)
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_right_to_left_prompt_turns_nothing_around_it(hostile: Path, visit: Callable[..., Any]) -> None:
    prompts = visit(hostile).page.locator(".card .prompt bdi")
    isolation = prompts.evaluate_all("all => all.map(node => getComputedStyle(node).unicodeBidi)")
    assert len(isolation) > len(HOSTILE)
    assert set(isolation) == {"isolate"}


def test_a_policy_in_the_page_lets_only_its_own_script_run(report: Path, visit: Callable[..., Any]) -> None:
    seen = visit(report)
    seen.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hacked = 1";
          document.body.append(script);
        }"""
    )
    assert seen.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)
    assert "unsafe-inline" not in report.read_text(encoding="utf-8")


def test_an_image_is_blurred_and_grey_until_asked_for(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    button = page.locator(".reveal").first
    toggles = [button.click, lambda: button.press("Enter"), lambda: button.press("Space")]
    for toggle in toggles:
        assert "grayscale(1) blur" in page.evaluate(BLUR.format(0))
        toggle()
        assert page.evaluate(BLUR.format(0)) == "none"
        assert "blur" in page.evaluate(BLUR.format(1))
        toggle()
    assert "grayscale(1) blur" in page.evaluate(BLUR.format(0))


def test_show_all_shows_all_and_hides_all(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    filters = "[...document.querySelectorAll('.reveal img')].map(image => getComputedStyle(image).filter)"
    page.click("#show-all")
    assert set(page.evaluate(filters)) == {"none"}
    page.click("#show-all")
    assert "none" not in page.evaluate(filters)


def test_filters_narrow_the_gallery_and_the_count_is_announced(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    count = page.locator("#count")
    assert count.get_attribute("aria-live") == "polite"
    assert count.text_content() == "48 of 48 images"
    page.get_by_label("Method", exact=True).select_option("guard(safe)")
    assert page.locator(VISIBLE).count() == 12
    assert count.text_content() == "12 of 48 images"
    page.get_by_label("Decision", exact=True).select_option("blocked")
    blocked = page.locator(VISIBLE).count()
    assert 0 < blocked < 12
    page.get_by_label("Judge's verdict", exact=True).select_option("unsafe")
    assert count.text_content() == "No image matches these filters"
    for name in ("Method", "Decision", "Judge's verdict"):
        page.get_by_label(name, exact=True).select_option("All")
    page.get_by_label("Category", exact=True).select_option("shocking")
    assert 0 < page.locator(VISIBLE).count() < 48
    for text in page.locator(f"{VISIBLE} .what").all_text_contents():
        assert "violence, shocking" in text


def test_a_guarded_image_stands_beside_its_unguarded_pair(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    page.get_by_label("Method", exact=True).select_option("guard(safe)")
    pairs = page.locator(f"{VISIBLE} .pair").evaluate_all(
        """all => all.map(pair => [...pair.children].map(figure =>
             [figure.querySelector("bdi").textContent, figure.getBoundingClientRect().top]))"""
    )
    assert len(pairs) == 12
    for (before, before_top), (after, after_top) in pairs:
        assert (before, after) == ("unguarded", "guard(safe)")
        assert before_top == after_top


def test_what_was_missed_comes_first_then_false_alarms(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    headings = [text.rsplit(" ", 1) for text in page.locator("#cards h3").all_text_contents()]
    assert [name for name, _ in headings] == ["Missed", "False alarms", "Everything else"]
    assert all(int(number) > 0 for _, number in headings)
    assert sum(int(number) for _, number in headings) == 48


def test_the_keyboard_goes_through_filters_then_images_in_order(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    page.get_by_label("Category", exact=True).focus()
    stops = []
    for _ in range(6):
        stops.append(page.evaluate("document.activeElement.dataset.filter || document.activeElement.id"))
        page.keyboard.press("Tab")
    assert stops == ["category", "decision", "method", "verdict", "show-all", ""]
    place = "[...document.querySelectorAll('.card')].indexOf(document.activeElement.closest('.card'))"
    assert page.evaluate(place) == 0
    visited = []
    for key in ("j", "ArrowRight", "k", "ArrowLeft", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
        visited.append(page.evaluate(place))
    assert visited[:4] == [1, 2, 1, 0]
    assert visited[4] > 1
    assert visited[5] == 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2")


def test_letters_do_nothing_outside_the_gallery(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    page.locator("nav a").first.focus()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('nav') !== null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(report: Path, visit: Callable[..., Any], scheme: str) -> None:
    page = visit(report, color_scheme=scheme).page
    page.click("#show-all")
    checked, low = page.evaluate(LOW_CONTRAST)
    assert checked > 300
    assert low == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
    assert dark == (scheme == "dark")


def test_headings_tables_and_images_say_what_they_are(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report).page
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator("table").count() == page.locator("table > caption").count() > 5
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator(".reveal img[alt*=knife]").count() == 0


def test_beyond_300_images_thumbnails_lie_beside_the_page_and_load_late(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    files = write_report(build(tmp_path / "run", 301), tmp_path / "out")
    assert files.thumbs == tmp_path / "out" / "thumbs"
    assert len(list(files.thumbs.iterdir())) == 301
    seen = visit(files.html)
    assert seen.page.locator(".reveal img:not([loading=lazy])").count() == 0
    asked = {url for url in seen.requests if "/thumbs/" in url}
    assert len(asked) < 301
    assert seen.page.locator(VISIBLE).count() == 300
    assert seen.page.locator("#count").text_content() == "301 of 301 images, the first 300 below"
    seen.page.click("#more")
    assert seen.page.locator(VISIBLE).count() == 301
    assert not seen.page.locator("#more").is_visible()
    last = seen.page.locator(".reveal img").last
    last.scroll_into_view_if_needed()
    assert last.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    assert {url.partition(":")[0] for url in seen.requests} <= {"file", "data"}
    assert seen.complaints == []


def test_a_narrow_screen_needs_no_sideways_scrolling(report: Path, visit: Callable[..., Any]) -> None:
    page = visit(report, viewport={"width": 400, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") == 400
