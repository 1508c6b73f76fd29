"""The page in a real browser: Chromium and chromedriver from the system, a fake microphone, files, broken networks."""

import importlib.util
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from simulst.live.access import Access
from simulst.testing import ToyTranslator, toy_audio, toy_text
from simulst.testing.scripted import ToyVocabulary

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7, 21, 22, 23, 24, 20, 1, 2, 4]
ROOT = Path(__file__).parents[2]
Serve = Callable[..., Any]
SHOTS = os.environ.get("SIMULST_SHOTS", "")
"""A folder that gets a picture of every view."""

MISSING = next(
    (name for name in ("chromium", "chromedriver") if not shutil.which(name)),
    "" if importlib.util.find_spec("selenium") else "selenium",
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"no {MISSING} on this machine")]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to choose: 6.4 s of toy words."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, toy_audio(WORDS), 16_000, subtype="PCM_24")
    return path


def open_browser(folder: Path, heard: Path) -> Any:
    """Chromium whose microphone plays `heard`, a 48 kHz wav, again and again; downloads go to `folder`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
        f"--user-data-dir={folder / 'profile'}",
        "--auto-select-tab-capture-source-by-title=speaker",
        "--window-size=1280,800",
    ):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"profile.default_content_setting_values.automatic_downloads": 1})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver: Any = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    driver.downloads = folder
    return driver


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("browser")
    heard = folder / "heard.wav"
    soundfile.write(heard, soxr.resample(np.tile(toy_audio(WORDS), 4), 16_000, 48_000), 48_000, subtype="PCM_16")
    driver = open_browser(folder, heard)
    yield driver
    driver.quit()


class Page:
    """The page as a person uses it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.get(address)
        browser.execute_script("localStorage.clear()")
        browser.get(address)
        browser.get_log("browser")  # what the page before said of its own server, which is gone
        self.wait(lambda: self.js("return document.getElementById('policy').options.length > 0"))

    def js(self, script: str, *args: object) -> Any:
        return self.browser.execute_script(script, *args)

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def wait(self, condition: Callable[[], object], within_s: float = 20) -> None:
        until = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < until, (self.status, self.text, self.find("#alert").text)
            time.sleep(0.05)

    def choose(self, field: str, value: str | bool) -> None:
        key = "checked" if isinstance(value, bool) else "value"
        self.js(
            "const f = document.getElementById(arguments[0]); f[arguments[1]] = arguments[2];"
            "f.dispatchEvent(new Event('input', {bubbles: true}))",
            field,
            key,
            value,
        )

    def translate_file(self, path: Path, speed: str = "fast") -> None:
        self.choose("source", "file")
        self.choose("speed", speed)
        self.find("#file").send_keys(str(path))
        self.find("#toggle").click()

    @property
    def text(self) -> str:
        return " ".join(
            self.js("return [...document.querySelectorAll('#text .row span:first-child')].map(e => e.textContent)")
        )

    @property
    def status(self) -> str:
        return str(self.find("#status").text)

    def shoot(self, name: str) -> None:
        if SHOTS:
            self.browser.save_screenshot(str(Path(SHOTS) / f"{name}.png"))

    def quiet(self) -> None:
        """Nothing went wrong in the scripts."""
        assert [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_file_is_translated_and_exported(browser: Any, serve: Serve, speech: Path) -> None:
    page = Page(browser, serve().address)
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    assert page.text == toy_text(WORDS)
    assert page.find("#transcript").get_attribute("textContent").split() == [f"s{word}" for word in WORDS]
    assert re.fullmatch(r"0:06", page.find("#clock").text)
    for form in ("srt", "vtt", "txt", "jsonl"):
        page.js("arguments[0].click()", page.find(f"button[data-format={form}]"))
        page.wait(lambda form=form: list(browser.downloads.glob(f"*.{form}")))  # type: ignore[misc]
    srt = next(browser.downloads.glob("*.srt")).read_text()
    blocks = [block.split("\n") for block in srt.strip().split("\n\n")]
    assert [block[0] for block in blocks] == [str(i + 1) for i in range(len(blocks))]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}", block[1]) for block in blocks)
    assert " ".join(line for block in blocks for line in block[2:]) == toy_text(WORDS)
    assert " ".join(next(browser.downloads.glob("*.txt")).read_text().split()) == toy_text(WORDS)
    page.shoot("desktop-light")
    page.quiet()


def test_the_microphone_is_heard_until_stop(browser: Any, serve: Serve) -> None:
    page = Page(browser, serve().address)
    page.choose("chunk", "320")
    page.find("#toggle").click()
    page.wait(lambda: page.status == "Listening" and len(page.text.split()) >= 4)
    assert page.find("#toggle").text == "Stop"
    assert not page.find("#source").is_enabled()
    pieces = (
        "return Math.max(...[...document.querySelectorAll('#text span:first-child')].map(e => e.childNodes.length))"
    )
    assert page.js(pieces) > 1  # what was said stays, so that a screen reader says new words only
    assert re.fullmatch(r"\d+\.\d s", page.find("#lag").text)
    assert re.fullmatch(r"\d+ %", page.find("#load").text)
    page.wait(lambda: page.js("return document.querySelector('#text .unstable').textContent") or page.status == "Ready")
    page.find("#toggle").click()
    page.wait(lambda: page.status == "Ready")
    assert page.find("#toggle").text == "Start"
    page.quiet()


def test_the_sound_of_another_tab_is_heard(browser: Any, serve: Serve, tmp_path: Path) -> None:
    page = Page(browser, serve().address)
    main = browser.current_window_handle
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    soundfile.write(tmp_path / "loop.wav", noise, 16_000, subtype="PCM_16")
    (tmp_path / "speaker.html").write_text("<title>speaker</title><audio src=loop.wav loop autoplay></audio>")
    browser.switch_to.new_window("tab")
    browser.get(f"file://{tmp_path}/speaker.html")
    speaker = browser.current_window_handle
    browser.switch_to.window(main)
    page.choose("source", "tab")
    page.find("#toggle").click()
    page.wait(lambda: page.js("return document.getElementById('level').value") > 0.2)
    page.wait(lambda: page.find("#clock").text >= "0:01")
    page.find("#toggle").click()
    page.wait(lambda: page.status == "Ready")
    browser.switch_to.window(speaker)
    browser.close()
    browser.switch_to.window(main)


def test_a_file_can_be_played_along(browser: Any, serve: Serve, speech: Path) -> None:
    page = Page(browser, serve().address)
    page.translate_file(speech, "play")
    page.wait(lambda: page.status == "Listening" and page.text)
    page.wait(lambda: page.status == "Ready")
    assert len(page.text.split()) >= len(WORDS) - 3
    page.quiet()


class Slow(ToyTranslator):
    def open(self) -> Any:
        session = super().open()
        quick = session.hypothesise

        def slow(*args: Any, **options: Any) -> Any:
            time.sleep(0.15)
            return quick(*args, **options)

        session.hypothesise = slow  # type: ignore[method-assign]
        return session


class Wire:
    """A proxy whose cables can be pulled."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._server.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
        except OSError:
            pass
        other.close()

    def pull(self) -> None:
        for pair in self._pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._pairs.clear()

    def close(self) -> None:
        self._server.close()
        self.pull()


def test_a_pulled_cable_loses_nothing(browser: Any, serve: Serve, speech: Path) -> None:
    server = serve(models={"toy": Slow()}, max_clients=1)
    wire = Wire(int(server.address.rsplit(":", 1)[1]))
    page = Page(browser, f"http://127.0.0.1:{wire.port}")
    page.choose("chunk", "320")
    page.translate_file(speech)
    page.wait(lambda: len(page.text.split()) >= 3)
    before = page.text
    wire.pull()
    page.wait(lambda: page.status == "Reconnecting", 5)
    assert page.text.startswith(before)
    page.wait(lambda: page.status == "Ready")
    assert page.text == toy_text(WORDS)


def test_what_is_shown_can_be_saved_without_the_server(browser: Any, serve: Serve, speech: Path) -> None:
    server = serve(models={"toy": Slow()})
    wire = Wire(int(server.address.rsplit(":", 1)[1]))
    page = Page(browser, f"http://127.0.0.1:{wire.port}")
    for path in browser.downloads.glob("simulst-*"):
        path.unlink()
    page.choose("chunk", "320")
    page.translate_file(speech)
    page.wait(lambda: len(page.text.split()) >= 3)
    wire.close()
    page.wait(lambda: page.status == "Reconnecting", 5)
    page.find("button[data-format=srt]").click()
    page.wait(lambda: page.find("#alert").text)
    assert page.find("#alert").text == ("The server is gone, and the times with it; what is shown can be saved as TXT.")
    page.find("button[data-format=txt]").click()
    page.wait(lambda: list(browser.downloads.glob("*.txt")))
    assert " ".join(next(browser.downloads.glob("*.txt")).read_text().split()) == page.text


def test_everything_can_be_saved_after_a_fatal_error(browser: Any, serve: Serve, speech: Path) -> None:
    class Failing(ToyTranslator):
        def open(self) -> Any:
            session = super().open()
            quick, steps = session.hypothesise, iter(range(1_000))

            def failing(*args: Any, **options: Any) -> Any:
                if next(steps) > 12:
                    raise RuntimeError("a fault")
                return quick(*args, **options)

            session.hypothesise = failing  # type: ignore[method-assign]
            return session

    page = Page(browser, serve(models={"toy": Failing()}).address)
    for path in browser.downloads.glob("simulst-*"):
        path.unlink()
    page.choose("chunk", "320")
    page.translate_file(speech)
    page.wait(lambda: page.find("#alert").text == "The translation failed; the server's log tells why.")
    assert page.status == "Ready" and len(page.text.split()) >= 3
    time.sleep(4)  # the server has closed the connection
    for form in ("srt", "vtt", "txt", "jsonl"):
        page.js("arguments[0].click()", page.find(f"button[data-format={form}]"))
        page.wait(lambda form=form: list(browser.downloads.glob(f"*.{form}")))  # type: ignore[misc]
    srt = next(browser.downloads.glob("*.srt")).read_text()
    spoken = [line for line in srt.splitlines() if line and "-->" not in line and not line.isdigit()]
    assert " ".join(spoken) == page.text
    page.translate_file(speech)  # it can go on
    page.wait(lambda: page.status == "Ready" and page.find("#alert").text)


def test_a_page_without_sound_makes_room_and_says_so(browser: Any, serve: Serve, client: Any, speech: Path) -> None:
    server = serve(max_clients=1, idle_s=1.0)
    page = Page(browser, server.address)
    page.choose("chunk", "320")
    page.js(
        "const send = WebSocket.prototype.send; WebSocket.prototype.send = function (data) {"
        "  send.call(this, typeof data === 'string' ? data : JSON.stringify({ type: 'ping', id: 0 })); }"
    )
    page.find("#toggle").click()
    page.wait(lambda: page.status == "Listening")
    time.sleep(2)
    assert page.status == "Listening"  # nobody else is there
    client(server).hello()
    page.wait(lambda: page.find("#alert").text.startswith("No sound came for a while"))
    assert page.find("#toggle").text == "Start"


def test_a_full_server_is_explained(browser: Any, serve: Serve, client: Any, speech: Path) -> None:
    server = serve(max_clients=1)
    client(server).hello()
    page = Page(browser, server.address)
    page.translate_file(speech)
    page.wait(lambda: page.find("#alert").text)
    assert page.find("#alert").text == "All 1 places of this server are taken; try again in a moment."
    assert page.find("#toggle").text == "Start"


def test_the_address_carries_the_token(browser: Any, serve: Serve, speech: Path) -> None:
    server = serve(access=Access(token="ganz geheim+"))
    page = Page(browser, server.address)
    page.translate_file(speech)
    page.wait(lambda: page.find("#alert").text)
    assert page.find("#alert").text == "The token is missing or wrong."
    browser.get("about:blank")
    page = Page(browser, f"{server.address}/#token=ganz%20geheim%2B")
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    assert page.text == toy_text(WORDS)
    page.js("arguments[0].click()", page.find("#overlay"))
    assert page.find("#overlay-address").text.endswith("#token=ganz%20geheim%2B")


def test_hostile_text_stays_text(browser: Any, serve: Serve, speech: Path) -> None:
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
    page = Page(browser, serve(models={"toy": hostile}).address)
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    assert "<img/src=x/onerror=alert(1)>" in page.text
    assert page.js("return document.querySelectorAll('#stage img, #stage b').length") == 0
    assert page.find("#transcript").get_attribute("textContent") == "<b>bold</b>"
    page.quiet()


def test_settings_are_kept_and_switched_while_running(browser: Any, serve: Serve, speech: Path) -> None:
    server = serve(models={"toy": Slow(), "other": ToyTranslator(name="other")})
    page = Page(browser, server.address)
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


def test_the_view_can_be_changed(browser: Any, serve: Serve, speech: Path) -> None:
    page = Page(browser, serve().address)
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


def test_the_overlay_shows_the_last_lines_on_nothing(browser: Any, serve: Serve, speech: Path) -> None:
    page = Page(browser, serve().address)
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
    browser: Any, serve: Serve, speech: Path, dark: bool
) -> None:
    page = Page(browser, serve().address)
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


def test_keyboard_and_screen_reader(browser: Any, serve: Serve) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = Page(browser, serve().address)
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


def test_a_file_dropped_on_the_page_is_translated(browser: Any, serve: Serve, speech: Path) -> None:
    page = Page(browser, serve().address)
    page.choose("speed", "fast")
    samples = np.round(toy_audio(WORDS) * 32_768).astype("<i2").tobytes()
    page.js(
        """
        const bytes = Uint8Array.from(arguments[0]);
        const head = new DataView(new ArrayBuffer(44));
        const text = (at, s) => [...s].forEach((c, i) => head.setUint8(at + i, c.charCodeAt(0)));
        text(0, "RIFF"); head.setUint32(4, 36 + bytes.length, true); text(8, "WAVEfmt ");
        head.setUint32(16, 16, true); head.setUint16(20, 1, true); head.setUint16(22, 1, true);
        head.setUint32(24, 16000, true); head.setUint32(28, 32000, true); head.setUint16(32, 2, true);
        head.setUint16(34, 16, true); text(36, "data"); head.setUint32(40, bytes.length, true);
        const transfer = new DataTransfer();
        transfer.items.add(new File([head, bytes], "talk.wav", { type: "audio/wav" }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        """,
        list(samples),
    )
    page.wait(lambda: page.status == "Ready" and page.text)
    assert page.text == toy_text(WORDS)


def test_a_file_that_is_no_audio_is_explained(browser: Any, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("no audio at all")
    page = Page(browser, serve().address)
    for speed in ("fast", "play"):
        page.translate_file(path, speed)
        page.wait(lambda: page.find("#alert").text.startswith("notes.wav is no audio that this browser can"))
        assert page.find("#toggle").text == "Start"


MODEL = os.environ.get("SIMULST_LIVE_MODEL", "tiny-en-de")
"""What the test with real speech loads: a name or a directory."""


@pytest.mark.skipif(
    not (Path(MODEL).is_dir() or (ROOT / "simulst" / "models" / MODEL / "model.safetensors").is_file()),
    reason="the embedded model is not there",
)
def test_english_speech_becomes_german_subtitles(tmp_path: Path) -> None:
    """The whole way: microphone, page, server process, embedded model, exported file."""
    samples, rate = soundfile.read(ROOT / "examples" / "talk.flac", dtype="float32", frames=24 * 16_000)
    heard = tmp_path / "heard.wav"
    soundfile.write(heard, soxr.resample(samples, rate, 48_000), 48_000, subtype="PCM_16")
    command = [sys.executable, "-m", "simulst.cli", "live", "--port", "0", "--model", MODEL]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    driver = open_browser(tmp_path, heard)
    try:
        page = Page(driver, server.stdout.readline().split()[3])
        page.find("#toggle").click()
        page.wait(lambda: len(page.text.split()) >= 30, 60)
        page.shoot("talk")
        page.find("#toggle").click()
        page.wait(lambda: page.status == "Ready", 60)
        words = set(re.findall(r"\w+", page.text.lower()))
        assert len(words & {"ich", "der", "die", "das", "er", "und", "ist", "in", "zu", "sehr", "haus", "mein"}) >= 4
        page.js("arguments[0].click()", page.find("button[data-format=srt]"))
        page.wait(lambda: list(tmp_path.glob("*.srt")))
        srt = next(tmp_path.glob("*.srt")).read_text()
        spoken = [line for line in srt.splitlines() if line and "-->" not in line and not line.isdigit()]
        assert " ".join(spoken).split() == page.text.split()
        page.quiet()
    finally:
        driver.quit()
        server.terminate()
        server.wait(30)


WHISPER = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser() / "whisper-base"


@pytest.mark.real
@pytest.mark.skipif(not WHISPER.is_dir(), reason="whisper-base is not there")
def test_whisper_is_served_to_the_page_however_slow_the_machine(tmp_path: Path) -> None:
    """With an idle limit far below the time of some of its steps: a file as fast as it goes, never cut off."""
    samples, rate = soundfile.read(ROOT / "examples" / "talk.flac", dtype="float32", frames=16 * 16_000)
    soundfile.write(tmp_path / "talk.wav", samples, rate, subtype="PCM_16")
    command = [sys.executable, "-m", "simulst.cli", "live", "--port", "0", "--model", str(WHISPER), "--idle-s", "16"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    driver = open_browser(tmp_path, tmp_path / "talk.wav")
    try:
        page = Page(driver, server.stdout.readline().split()[3])
        page.translate_file(tmp_path / "talk.wav")
        page.wait(lambda: page.status == "Ready" and page.text, 300)
        assert page.find("#alert").text == ""
        for shown in (page.text, page.find("#transcript").get_attribute("textContent")):
            words = re.findall(r"\w+", shown.lower())
            assert {"grandfather", "house", "river"} <= set(words)
            assert not [one for one, other in itertools.pairwise(words) if one == other]
        page.quiet()
    finally:
        driver.quit()
        server.terminate()
        server.wait(60)
