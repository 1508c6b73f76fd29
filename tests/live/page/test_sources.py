"""What the page hears: files, the microphone, another tab; what of it can be saved."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from simulst.testing import toy_audio, toy_text

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7, 21, 22, 23, 24, 20, 1, 2, 4]
Serve = Callable[..., Any]
Visit = Callable[[str], Any]
pytestmark = pytest.mark.slow


def test_a_file_is_translated_and_exported(visit: Visit, browser: Any, serve: Serve, speech: Path) -> None:
    page = visit(serve().address)
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    assert page.text == toy_text(WORDS)
    assert page.find("#transcript").get_attribute("textContent").split() == [f"s{word}" for word in WORDS]
    assert re.fullmatch(r"0:06", page.find("#clock").text)
    for form in ("srt", "vtt", "txt", "jsonl"):
        page.js("arguments[0].click()", page.find(f"button[data-format={form}]"))
        page.wait(lambda form=form: list(browser.downloads.glob(f"*.{form}")))
    srt = next(browser.downloads.glob("*.srt")).read_text()
    blocks = [block.split("\n") for block in srt.strip().split("\n\n")]
    assert [block[0] for block in blocks] == [str(i + 1) for i in range(len(blocks))]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}", block[1]) for block in blocks)
    assert " ".join(line for block in blocks for line in block[2:]) == toy_text(WORDS)
    assert " ".join(next(browser.downloads.glob("*.txt")).read_text().split()) == toy_text(WORDS)
    page.shoot("desktop-light")
    page.quiet()


def test_the_microphone_is_heard_until_stop(visit: Visit, serve: Serve) -> None:
    page = visit(serve().address)
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


def test_the_sound_of_another_tab_is_heard(visit: Visit, browser: Any, serve: Serve, tmp_path: Path) -> None:
    page = visit(serve().address)
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


def test_a_file_can_be_played_along(visit: Visit, serve: Serve, speech: Path) -> None:
    page = visit(serve().address)
    page.translate_file(speech, "play")
    page.wait(lambda: page.status == "Listening" and page.text)
    page.wait(lambda: page.status == "Ready")
    assert len(page.text.split()) >= len(WORDS) - 3
    page.quiet()


def test_a_file_dropped_on_the_page_is_translated(visit: Visit, serve: Serve, speech: Path) -> None:
    page = visit(serve().address)
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


def test_a_file_that_is_no_audio_is_explained(visit: Visit, browser: Any, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("no audio at all")
    page = visit(serve().address)
    for speed in ("fast", "play"):
        page.translate_file(path, speed)
        page.wait(lambda: page.find("#alert").text.startswith("notes.wav is not audio that this browser can"))
        assert page.find("#toggle").text == "Start"
