"""The page in a real browser: Chromium and chromedriver from the system, a fake microphone, files."""

import functools
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from simulst.testing import ToyTranslator, toy_audio

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7, 21, 22, 23, 24, 20, 1, 2, 4]
SHOTS = os.environ.get("SIMULST_SHOTS", "")
"""A folder that gets a picture of every view."""
MISSING = next(
    (name for name in ("chromium", "chromedriver") if not shutil.which(name)),
    "" if importlib.util.find_spec("selenium") else "selenium",
)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to choose: 6.4 s of toy words."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, toy_audio(WORDS), 16_000, subtype="PCM_24")
    return path


def open_browser(folder: Path, heard: Path) -> Any:
    """Chromium whose microphone plays `heard`, a 48 kHz wav, again and again; downloads go to `folder`."""
    if MISSING:
        pytest.skip(f"no {MISSING} on this machine")
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


@pytest.fixture
def slow() -> ToyTranslator:
    """Takes a while for every hypothesis, as a model does."""
    return ToyTranslator(before=lambda: time.sleep(0.15))


@pytest.fixture
def visit(browser: Any) -> Callable[[str], Page]:
    """Opens an address in the browser that all tests of a file share."""
    return functools.partial(Page, browser)


@pytest.fixture
def launch() -> Iterator[Callable[[Path, Path, str], Page]]:
    """Opens an address in a browser of its own, with a folder for downloads and what its microphone hears."""
    with ExitStack() as stack:

        def start(folder: Path, heard: Path, address: str) -> Page:
            driver = open_browser(folder, heard)
            stack.callback(driver.quit)
            return Page(driver, address)

        yield start
