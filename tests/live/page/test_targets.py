"""The page with two languages side by side: panes, exports, overlay; and what a phone shows while it listens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulst.live.captions import Captions
from simulst.testing import toy_text
from simulst.testing.tongues import TwoTongues

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7, 21, 22, 23, 24, 20, 1, 2, 4]
Visit = Callable[[str], Any]
Serve = Callable[..., Any]
pytestmark = pytest.mark.slow


def shown(page: Any, pane: int) -> str:
    """What stands in a pane, from the left."""
    rows = page.js(
        "return [...document.querySelectorAll('[role=log]')[arguments[0]].querySelectorAll('.row span:first-child')]"
        ".map(e => e.textContent)",
        pane,
    )
    return " ".join(rows)


def test_two_languages_stand_side_by_side(visit: Visit, browser: Any, serve: Serve, speech: Path) -> None:
    server = serve({"both": TwoTongues()})
    page = visit(server.address)
    main = browser.current_window_handle
    page.choose("beside", "en")
    page.find("#overlay").click()
    addresses = page.find("#overlay-address").text.split("\n")
    assert [one.rpartition("&")[2] for one in addresses] == ["target=de", "target=en"]
    browser.switch_to.new_window("tab")
    browser.get(addresses[1])
    overlay = browser.current_window_handle
    browser.switch_to.window(main)
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and shown(page, 1) == toy_text(WORDS).upper())
    assert shown(page, 0) == toy_text(WORDS)
    titles = page.js("return [...document.querySelectorAll('.pane:not([hidden]) h2')].map(e => e.textContent)")
    assert titles == ["German", "English"]
    page.shoot("two-languages")
    browser.switch_to.window(overlay)
    page.wait(lambda: page.find("#subtitle").text)
    assert page.find("#subtitle").text.isupper()
    browser.close()
    browser.switch_to.window(main)
    page.choose("save-target", "en")
    page.find("[data-format=txt]").click()
    page.wait(lambda: list(browser.downloads.glob("*.en.txt")))
    assert "".join(next(browser.downloads.glob("*.en.txt")).read_text().split()) == toy_text(WORDS).upper().replace(
        " ", ""
    )
    page.quiet()


def test_one_language_is_changed_while_it_runs(visit: Visit, serve: Serve, speech: Path) -> None:
    page = visit(serve({"both": TwoTongues()}).address)
    page.translate_file(speech, "play")
    page.wait(lambda: page.text)
    assert page.js("return document.getElementById('beside').disabled") is True
    page.choose("target", "en")
    page.wait(lambda: page.status == "Ready" and page.text)
    german = [word.islower() for word in page.text.split()]
    assert german[0] and not german[-1] and german == sorted(german, reverse=True)


def test_a_phone_that_listens_shows_the_text(visit: Visit, browser: Any, serve: Serve) -> None:
    page = visit(serve({"both": TwoTongues()}).address)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 720, "deviceScaleFactor": 2, "mobile": True}
    )
    page.js("document.getElementById('more').open = true")
    page.choose("beside", "en")
    page.find("#toggle").click()
    page.wait(lambda: page.status == "Listening" and shown(page, 1))
    assert page.find("#controls").rect["height"] < 80
    assert page.find("#stage").rect["height"] > 500
    assert page.js("return document.documentElement.scrollWidth") <= 375
    page.shoot("phone-two-languages")
    page.find("summary").click()
    assert page.find("#model").is_displayed()
    page.find("#toggle").click()
    page.wait(lambda: page.status == "Ready")
    page.quiet()


def test_captions_are_sent_where_the_page_asks_for_it(visit: Visit, serve: Serve, speech: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hls"
    page = visit(serve(captions=Captions([f"hls={folder}"])).address)
    page.js("document.getElementById('more').open = true")
    assert page.find("#captions-field").text == "Send captions to hls"
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text == toy_text(WORDS))
    assert not list(folder.glob("*.vtt"))
    page.find("#captions").click()
    page.find("#toggle").click()
    page.wait(lambda: list(folder.glob("*.vtt")) and page.status == "Ready")
    assert toy_text(WORDS)[:8] in (folder / "captions00001.vtt").read_text()
    page.quiet()
