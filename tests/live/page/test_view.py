"""How the page looks and can be used: settings, colours, overlay, phone, keyboard."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulst.core.translator import PLAIN, Hypothesis, Query
from simulst.testing import ToyTranslator, toy_text
from simulst.testing.scripted import ToyVocabulary
from simulst.testing.toy import ToySession

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7, 21, 22, 23, 24, 20, 1, 2, 4]
Serve = Callable[..., Any]
Visit = Callable[[str], Any]
pytestmark = pytest.mark.slow


def test_hostile_text_stays_text(visit: Visit, serve: Serve, speech: Path) -> None:
    class Hostile(ToyTranslator):
        def open(self) -> Any:
            session = super().open()
            session.transcript = lambda: "<b>bold</b>"  # type: ignore[method-assign]
            return session

    class Vocabulary(ToyVocabulary):
        def decode(self, ids: Any) -> str:
            return " <img/src=x/onerror=alert(1)>" * sum(bool(self.pieces[i].startswith(b" ")) for i in ids)

    toy = ToyTranslator()
    hostile = Hostile(vocabulary=Vocabulary(toy.vocabulary.names[1:]))
    page = visit(serve(models={"toy": hostile}).address)
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    assert "<img/src=x/onerror=alert(1)>" in page.text
    assert page.js("return document.querySelectorAll('#stage img, #stage b').length") == 0
    assert page.find("#transcript").get_attribute("textContent") == "<b>bold</b>"
    page.quiet()


def test_settings_are_kept_and_switched_while_running(
    visit: Visit, browser: Any, serve: Serve, speech: Path, slow: Any
) -> None:
    server = serve(models={"toy": slow, "other": ToyTranslator(name="other")})
    page = visit(server.address)
    page.choose("policy", "wait_k")
    page.choose("chunk", "320")
    page.translate_file(speech)
    page.wait(lambda: page.text)
    page.choose("model", "other")
    page.wait(lambda: page.status == "Ready")
    assert page.text == toy_text(WORDS)
    browser.refresh()
    page.wait(lambda: page.js("return document.getElementById('policy').value") == "wait_k")
    assert page.js("return document.getElementById('model').value") == "other"


def test_terms_of_the_page_reach_the_model(visit: Visit, browser: Any, serve: Serve, speech: Path) -> None:
    noted: set[str] = set()

    class NotingSession(ToySession):
        def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
            if query.favoured is not None:
                noted.update(term.target for term in query.favoured.heard)
            return super().hypothesise(prefix, query)

    class Noting(ToyTranslator):
        def open(self) -> ToySession:
            return NotingSession(self)

    page = visit(serve(models={"toy": Noting()}).address)
    field = page.find("#glossary")
    field.clear()
    field.send_keys("s14 = vierzehn\ns60→sechzig")
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    assert noted == {"vierzehn"}
    browser.refresh()
    page.wait(lambda: page.js("return document.getElementById('glossary').value") == "s14 = vierzehn\ns60→sechzig")
    page.js("localStorage.removeItem('simulst.glossary')")
    page.quiet()


def test_the_view_can_be_changed(visit: Visit, browser: Any, serve: Serve, speech: Path) -> None:
    page = visit(serve().address)
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)

    def style(selector: str, name: str) -> str:
        return str(
            page.js("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)
        )

    page.choose("size", "48")
    assert style("#text .row", "fontSize") == "48px"
    page.choose("theme", "dark")
    assert style("body", "backgroundColor") == "rgb(16, 20, 27)"
    page.shoot("desktop-dark")
    page.choose("contrast", True)
    assert (style("body", "backgroundColor"), style("body", "color")) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    page.shoot("desktop-contrast")
    page.choose("show-source", False)
    page.wait(lambda: style("#source-pane", "display") == "none")
    page.js("arguments[0].click()", page.find("#full"))
    page.wait(lambda: page.js("return Boolean(document.fullscreenElement)"))
    page.wait(lambda: page.find("#subtitle").text)
    rows = page.find("#subtitle").text.split("\n")
    assert len(rows) == 2
    assert toy_text(WORDS).endswith(" ".join(rows))
    page.shoot("fullscreen")
    page.js("document.exitFullscreen()")
    page.wait(lambda: page.find("#scroll").is_displayed())
    page.choose("size", "64")
    low = {"width": 1000, "height": 380, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", low)
    at_end = "const s = document.getElementById('scroll'); return s.scrollTop + s.clientHeight > s.scrollHeight - 40"
    page.wait(lambda: page.js(at_end))
    assert not page.find("#latest").is_displayed()
    page.js("document.getElementById('scroll').scrollTop = 0")
    page.wait(lambda: page.find("#latest").is_displayed())
    page.find("#latest").click()
    page.wait(lambda: page.js(at_end))
    page.find("#clear").click()
    page.wait(lambda: page.text == "" and page.find("#welcome").is_displayed())
    page.quiet()


def test_the_overlay_shows_the_last_lines_on_nothing(visit: Visit, browser: Any, serve: Serve, speech: Path) -> None:
    page = visit(serve().address)
    page.js("arguments[0].click()", page.find("#overlay"))
    address = page.find("#overlay-address").text
    assert "/overlay?channel=" in address
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    main = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(f"{address}&size=40&width=30&hold=30")
    page.wait(lambda: page.find("#subtitle").text)
    rows = page.find("#subtitle").text.split("\n")
    assert len(rows) == 2
    assert all(len(row) <= 30 for row in rows)
    assert toy_text(WORDS).endswith(" ".join(rows))
    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
    page.shoot("overlay")
    browser.close()
    browser.switch_to.window(main)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_everything_without_scrolling_sideways(
    visit: Visit, browser: Any, serve: Serve, speech: Path, dark: bool
) -> None:
    page = visit(serve().address)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    page.choose("theme", "dark" if dark else "light")
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    page.shoot(f"phone-{'dark' if dark else 'light'}")
    assert page.js("return document.documentElement.scrollWidth") <= 360
    page.js("document.getElementById('more').open = true")
    assert page.js("return document.documentElement.scrollWidth") <= 360
    small = page.js(
        "return [...document.querySelectorAll('button, select, summary, #file')].filter(e => e.offsetParent)"
        ".filter(e => e.getBoundingClientRect().height < 18 || e.getBoundingClientRect().right > 361)"
        ".map(e => e.id || e.textContent)"
    )
    assert small == []
    page.js("document.getElementById('stage').requestFullscreen = undefined; document.getElementById('full').click()")
    page.wait(lambda: page.find("#subtitle").text)
    assert page.find("#subtitle").rect["height"] == page.js("return document.documentElement.clientHeight")
    page.find("#leave").click()
    page.wait(lambda: page.find("#scroll").is_displayed())


def test_keyboard_and_screen_reader(visit: Visit, browser: Any, serve: Serve) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = visit(serve().address)
    unnamed = page.js(
        "return [...document.querySelectorAll('button, select, input, meter')]"
        ".filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).map(e => e.id)"
    )
    assert unnamed == []
    assert page.js("return document.getElementById('text').getAttribute('aria-live')") == "polite"
    assert page.js("return document.documentElement.lang") == "en"
    ActionChains(browser).key_down(Keys.ALT).send_keys("s").key_up(Keys.ALT).perform()
    page.wait(lambda: page.status == "Listening")
    ActionChains(browser).key_down(Keys.ALT).send_keys("c").key_up(Keys.ALT).perform()
    assert page.js("return document.documentElement.classList.contains('contrast')")
    ActionChains(browser).key_down(Keys.ALT).send_keys("s").key_up(Keys.ALT).perform()
    page.wait(lambda: page.status == "Ready")
    page.quiet()
