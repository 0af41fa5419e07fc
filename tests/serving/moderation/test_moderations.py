"""``/v1/moderations`` as the stock OpenAI client sees it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from latent_guard import shipped
from latent_guard.errors import InputError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.serving.moderation.category_table import CATEGORIES, CategoryTable
from latent_guard.serving.moderation.checker import ContentChecker
from latent_guard.serving.moderation.moderations import result_of
from latent_guard.serving.moderation.parts import MAX_CHARACTERS, MAX_IMAGES
from latent_guard.testing.pipelines import tiny_vae
from tests.serving.moderation.conftest import (
    ALWAYS,
    NEVER,
    app_of,
    data_url,
    drawn,
    in_base64,
    served,
    stored,
    tiny_checker,
    tiny_guard,
)

HARMLESS, UNSAFE = "a picture of a cat on a green background", "a picture of a cat beside an axe"
SCORED = {"harassment", "illicit", "sexual", "violence", "violence/graphic"}  # by the bank that ships


def client_of(address: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0)


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.fixture(scope="session")
def client(shipped_service: str) -> openai.OpenAI:
    return client_of(shipped_service)


def test_checkers_that_share_a_vae_encode_one_after_the_other() -> None:
    vae, guard = tiny_vae(), tiny_guard()
    at_once, most = [], []

    def begins(*_: Any) -> None:
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.02)

    vae.encoder.register_forward_pre_hook(begins)
    vae.encoder.register_forward_hook(lambda *_: at_once.pop() and None)
    checkers = [ContentChecker(guard, vae) for _ in range(2)]
    picture = stored(Image.new("RGB", (32, 32)))
    with ThreadPoolExecutor(4) as pool:
        judged = list(pool.map(lambda number: checkers[number % 2].images([picture]), range(8)))
    assert len(judged) == 8
    assert max(most) == 1


def test_a_text_is_flagged_by_what_it_asks_for(client: openai.OpenAI) -> None:
    harmless, unsafe = client.moderations.create(input=[HARMLESS, UNSAFE], model="omni-moderation-latest").results
    assert (harmless.flagged, unsafe.flagged) == (False, True)
    assert unsafe.categories.violence is True
    assert unsafe.category_scores.violence > 0.9
    assert harmless.category_scores.violence < 0.1
    assert unsafe.category_applied_input_types.violence == ["text"]


def test_what_the_bank_does_not_know_is_null_and_never_false(client: openai.OpenAI) -> None:
    answer = client.moderations.create(input=UNSAFE)
    result = answer.to_dict()["results"][0]
    assert set(result["categories"]) == set(result["category_scores"]) == set(CATEGORIES)
    assert {name for name, value in result["categories"].items() if value is not None} == SCORED
    assert {name for name, value in result["category_scores"].items() if value is not None} == SCORED
    assert {name for name, kinds in result["category_applied_input_types"].items() if kinds} == SCORED
    assert answer.results[0].categories.hate is None
    assert answer.results[0].category_scores.sexual_minors is None


def test_the_answer_says_who_judged_and_by_which_thresholds(
    client: openai.OpenAI, shipped_checker: ContentChecker
) -> None:
    answer = client.moderations.create(input=UNSAFE, model="gpt-none")
    extension = answer.to_dict()["latent_guard"]
    assert answer.model == shipped_checker.model_name
    assert set(extension) == {"package", "latent_clip", "bank", "policy"}
    (part,) = answer.to_dict()["results"][0]["latent_guard"]
    assert (part["type"], part["flagged"], part["category"]) == ("text", ["violence"], "violence")
    assert "axe" in part["concept"]
    assert part["scores"]["violence"] > part["thresholds"]["violence"] == 0


def test_a_picture_is_flagged_by_what_it_shows(client: openai.OpenAI) -> None:
    for form in (data_url, in_base64):
        given = [{"type": "text", "text": HARMLESS}, image(form(stored(drawn("cat", "axe"))))]
        (result,) = client.moderations.create(input=given).results
        assert result.flagged
        assert result.categories.violence is True
        assert result.category_applied_input_types.violence == ["text", "image"]
        text, picture = result.to_dict()["latent_guard"]
        assert (text["flagged"], picture["flagged"]) == ([], ["violence"])
    (result,) = client.moderations.create(input=[image(data_url(stored(drawn("cat", "sunflower"))))]).results
    assert not result.flagged
    assert 0 <= result.category_scores.violence < 0.5


def test_no_frame_of_an_animation_hides(client: openai.OpenAI) -> None:
    frames = [drawn("cat", "sunflower"), drawn("cat", "axe"), drawn("cat", "sunflower")]
    moving = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    (result,) = client.moderations.create(input=[image(data_url(moving, "gif"))]).results
    assert result.flagged


def test_the_end_of_a_long_text_is_read(client: openai.OpenAI) -> None:
    (result,) = client.moderations.create(input=f"{HARMLESS}, " * 50 + UNSAFE).results
    assert result.categories.violence is True


BAD: dict[str, tuple[Any, str]] = {
    "an empty text": ("", "empty text"),
    "blanks": ([HARMLESS, " \n"], "input 1 is an empty text"),
    "an empty list": ([], "input must be"),
    "tokens": ([1, 2, 3], "neither a text object nor"),
    "mixed": ([HARMLESS, {"type": "text", "text": "a cat"}], "nor are all of them texts"),
    "a sound": ([{"type": "input_audio", "input_audio": {}}], "neither a text object nor"),
    "no URL": ([{"type": "image_url", "image_url": {}}], "missing key 'url'"),
    "an unknown key": ([{"type": "text", "text": "a", "weight": 0}], "unknown key 'weight'"),
    "no picture": ([image(data_url(b"hello"))], "picture 1 of 1: not a readable picture"),
    "cut": ([image(data_url(stored(drawn("cat"))[:200]))], "picture 1 of 1"),
    "a page description": ([image(data_url(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"))], "not a readable"),
    "another kind of data": ([image("data:text/html;base64,aGk=")], "must be of the form data:image/png"),
    "not base64": ([image("data:image/png;base64,!!!")], "neither a data URL nor base64"),
    "elsewhere": ([image("https://example.com/a.png")], "not fetched from that host"),
    "a file": ([image("file:///etc/passwd")], "must be https"),
    "a NUL": ("a \0", "NUL"),
    "many pictures": ([image(data_url(stored(Image.new("RGB", (8, 8)))))] * (MAX_IMAGES + 1), "too many"),
    "a book": ("a" * (MAX_CHARACTERS + 1), "too many"),
}


@pytest.fixture(scope="module")
def tiny_service() -> Any:
    checker = tiny_checker()
    with served(app_of(lambda: checker)) as address:
        yield address


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_judged_is_refused_in_one_line(tiny_service: str, name: str) -> None:
    given, says = BAD[name]
    with pytest.raises(openai.BadRequestError) as caught:
        client_of(tiny_service).moderations.create(input=given)
    assert says in caught.value.body["message"]  # type: ignore[index]
    assert "\n" not in caught.value.body["message"]  # type: ignore[index]
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", "input")


def test_a_field_that_is_not_known_is_refused(tiny_service: str) -> None:
    with pytest.raises(openai.BadRequestError, match="unknown key 'threshold'"):
        client_of(tiny_service).moderations.create(input=HARMLESS, extra_body={"threshold": 9})


@pytest.mark.parametrize("part", ["text", "visual"])
@pytest.mark.parametrize("fault", ["no weights", "NaN"])
def test_a_guard_that_fails_says_so_and_passes_nothing(part: str, fault: str) -> None:
    given = HARMLESS if part == "text" else [image(data_url(stored(drawn("cat"))))]
    guard = tiny_guard()
    checker = ContentChecker(guard, tiny_vae())
    tower = getattr(guard.model, part)
    with served(app_of(lambda: checker)) as address:
        assert not client_of(address).moderations.create(input=given).results[0].flagged
        if fault == "NaN":
            for weights in tower.parameters():
                weights.data.fill_(float("nan"))
        else:
            tower.to("meta")
        with pytest.raises(openai.InternalServerError) as caught:
            client_of(address).moderations.create(input=given)
    assert (caught.value.status_code, caught.value.code) == (503, "could_not_check")
    assert "meta" not in str(caught.value)


def test_the_checker_in_force_judges_by_its_policys_triggers() -> None:
    in_force = [tiny_checker(NEVER, NEVER)]
    picture = image(data_url(stored(drawn("cat"))))
    with served(app_of(lambda: in_force[-1])) as address:
        client = client_of(address)
        assert not client.moderations.create(input=[{"type": "text", "text": "a"}, picture]).results[0].flagged
        in_force.append(tiny_checker(ALWAYS, NEVER))
        assert client.moderations.create(input="a").results[0].flagged
        assert not client.moderations.create(input=[picture]).results[0].flagged
        in_force.append(tiny_checker(NEVER, ALWAYS))
        assert client.moderations.create(input=[picture]).results[0].flagged


def test_a_category_of_the_operators_own_flags_though_openai_has_none_of_its_kind() -> None:
    (text,) = tiny_checker(ALWAYS).texts(["a"])
    result = result_of([text], CategoryTable(dict.fromkeys(CATEGORIES, ())))
    assert result["flagged"] is True
    assert set(result["categories"].values()) == set(result["category_scores"].values()) == {None}
    assert result["latent_guard"][0]["flagged"] == ["violence", "weather"]


def test_an_operators_own_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("illicit: [weather, violence]\n")
    (text,) = tiny_checker(ALWAYS).texts(["a"])
    result = result_of([text], CategoryTable.read(tmp_path / "mine.yaml"))
    assert {name for name, value in result["categories"].items() if value is not None} == {"illicit"}
    assert result["category_scores"]["illicit"] == max(text.probabilities.values())
    (tmp_path / "mine.yaml").write_text("nudity: [sexual]\n")
    with pytest.raises(InputError, match="unknown category 'nudity'"):
        CategoryTable.read(tmp_path / "mine.yaml")


def test_probabilities_of_pictures_are_the_calibrated_ones(shipped_checker: ContentChecker) -> None:
    (found,) = shipped_checker.images([stored(drawn("cat", "axe"))])
    guard: LatentGuard = shipped.guard()
    assert guard.bank.calibration is not None
    assert guard.bank.calibration.clean is not None
    margins = [found.scores[name] - found.thresholds[name] for name in found.scores]
    fitted = guard.bank.calibration.clean.probabilities(margins)
    assert list(found.probabilities.values()) == pytest.approx(list(fitted))
