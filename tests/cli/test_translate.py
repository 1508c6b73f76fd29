"""`simulst translate` with a toy model: formats, exit statuses, sentences on stderr, interruption."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from simulst.chosen import usual_model
from simulst.defaults import DEFAULT_MODEL, MODEL_FOR_PEOPLE
from simulst.errors import ModelError
from simulst.testing import toy_audio, toy_text

TOY = Path(__file__).with_name("toy_simulst.py")
WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8, 9, 10, 7, 9]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, toy_audio(WORDS), 16_000, subtype="FLOAT")
    return path


@pytest.mark.parametrize("policy", ["offline", "wait_k", "stream_att", "retranslation"])
def test_text_is_the_translation(run: Run, speech: Path, policy: str) -> None:
    status, out, err = run("translate", speech, "--model", "toy", "--policy", policy)
    assert (status, " ".join(out.split()), err) == (0, toy_text(WORDS), "")


def test_json_lines_follow_the_contract(run: Run, speech: Path) -> None:
    status, out, _ = run("translate", speech, "--model", "toy", "--format", "jsonl")
    events = [json.loads(line) for line in out.splitlines()]
    writes, end = events[:-1], events[-1]
    assert status == 0
    assert {event["type"] for event in writes} == {"write"}
    assert {"text", "retract", "audio_s", "wall_s"} <= set(writes[0])
    assert "".join(event["text"] for event in writes).strip() == end["text"] == toy_text(WORDS)
    assert [event["audio_s"] for event in writes] == sorted(event["audio_s"] for event in writes)
    assert len(writes) > 3
    assert (end["type"], end["audio_s"]) == ("end", pytest.approx(len(WORDS) * 0.32))
    assert end["rtf"] > 0


@pytest.mark.parametrize(("kind", "first"), [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")])
def test_subtitles_hold_the_translation(run: Run, speech: Path, tmp_path: Path, kind: str, first: str) -> None:
    out_file = tmp_path / f"talk.{kind}"
    status, out, _ = run("translate", speech, "--model", "toy", "--output", out_file)
    text = out_file.read_text()
    assert (status, out) == (0, "")
    assert text.startswith(first)
    spoken = [line for line in text.splitlines() if re.match(r"[wv]\d", line)]
    assert " ".join(spoken) == toy_text(WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "srt", "vtt", "jsonl"])
def test_a_policy_that_revises_fills_every_format(run: Run, tmp_path: Path, kind: str) -> None:
    words = [int(word) for word in np.random.default_rng(0).integers(1, 61, 120)]
    path = tmp_path / "long.wav"
    soundfile.write(path, toy_audio(words), 16_000, subtype="FLOAT")
    status, out, _ = run("translate", path, "--model", "toy", "--policy", "retranslation", "--format", kind)
    if kind == "jsonl":
        out = json.loads(out.splitlines()[-1])["text"]
    text = " ".join(line for line in out.splitlines() if re.match(r"[wv]\d", line))
    assert (status, text) == (0, toy_text(words))


def test_settings_reach_policy_history_and_model(run: Run, speech: Path) -> None:
    def first_write(*extra: str) -> float:
        out = run("translate", speech, "--model", "toy", "--policy", "wait_k", "--format", "jsonl", *extra)[1]
        return float(json.loads(out.splitlines()[0])["audio_s"])

    base = first_write("--chunk-ms", "320")
    assert first_write("--chunk-ms", "320", "--set", "k=9") > base
    assert first_write("--chunk-ms", "320", "--set", "model.look_ahead_s=0.64") > base
    assert first_write("--set", "k=1", "--set", "chunk_ms=1600", "--set", "history=fixed_words") == 1.6


def test_every_mistake_is_one_sentence_and_status_2(run: Run, speech: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_bytes(b"hello")

    def refused(*args: object) -> str:
        status, out, err = run("translate", *args)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        return err.removeprefix("simulst: ").strip()

    toy = ("--model", "toy")
    assert refused(tmp_path / "text.wav", *toy) == f"{tmp_path}/text.wav holds text, not audio."
    assert "does not exist" in refused(tmp_path / "missing.wav", *toy)
    assert "is a directory" in refused(tmp_path, *toy)
    assert refused(speech, *toy, "--policy", "nope").startswith("Unknown policy 'nope'; known: offline, wait_k")
    assert refused(speech, "--model", "nope").startswith("Unknown model 'nope'; known: tiny-en-de")
    assert refused(speech, *toy, "--policy", "wait_k", "--set", "nope=1").startswith(
        "Unknown setting 'nope'; known for policy wait_k: k, words, word_ms, ratio, pause_s, strict; "
        "for model toy: look_ahead_s; for the history: history.method, history.audio, "
    )
    assert refused(speech, *toy, "--set", "k") == "--set takes KEY=VALUE, not 'k'."
    assert "must be a whole number" in refused(speech, *toy, "--policy", "wait_k", "--set", "k=x")
    assert "chunk_ms is -5" in refused(speech, *toy, "--chunk-ms", "-5")
    assert "--chunk-ms" in refused(speech, *toy, "--chunk-ms", "x")
    assert refused(speech, *toy, "--format", "doc") == (
        "Unknown format 'doc'; known: text, srt, vtt, jsonl, or FILE.py:CLASS."
    )
    assert refused(speech, *toy, "--timing", "x") == "--timing must be commit or speech, not 'x'."
    assert refused(speech, *toy, "--output", tmp_path) == f"{tmp_path} cannot be written: is a directory."
    assert "No such option" in refused(speech, *toy, "--frmat", "srt")
    assert "Missing argument" in refused(*toy)


def test_damage_in_the_middle_keeps_what_came_before(run: Run, speech: Path, tmp_path: Path) -> None:
    audio = toy_audio(WORDS)
    audio[len(audio) * 3 // 4] = np.nan
    broken = tmp_path / "broken.wav"
    soundfile.write(broken, np.concatenate([toy_audio(WORDS), audio]), 16_000, subtype="FLOAT")
    status, out, err = run("translate", broken, "--model", "toy", "--format", "srt")
    assert status == 2
    assert "holds NaN or infinite samples (the first at 8.960 s)" in err
    assert toy_text(WORDS[:3]) in out.replace("\n", " ")
    assert out.endswith("\n\n")


def spawn(*args: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(TOY), *args], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_flushes_what_is_committed(number: signal.Signals, status: int) -> None:
    process = spawn("translate", "-", "--model", "toy", "--format", "jsonl", "--policy", "wait_k")
    assert process.stdin is not None and process.stdout is not None
    pcm = (toy_audio(WORDS) * 32_768).astype("<i2").tobytes()
    process.stdin.write(pcm)
    process.stdin.flush()
    first = json.loads(process.stdout.readline())  # it translates while the pipe is open
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    events = [first, *(json.loads(line) for line in out.splitlines())]
    assert (process.returncode, err) == (status, b"")
    assert events[-1]["type"] == "end"
    text = "".join(event["text"] for event in events[:-1]).strip()
    assert text == events[-1]["text"]
    assert toy_text(WORDS).startswith(text)
    assert text


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_traceback() -> None:
    process = spawn("translate", "-", "--model", "slow-toy", "--format", "jsonl")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    try:
        process.stdin.write((toy_audio(WORDS * 8) * 32_768).astype("<i2").tobytes())
        process.stdin.close()
    except BrokenPipeError:
        pass
    assert b"Traceback" not in process.stderr.read()
    assert process.wait(timeout=20) == 1


@pytest.mark.slow
def test_a_terminal_gets_the_live_view(speech: Path) -> None:
    pty = pytest.importorskip("pty")
    main, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        [sys.executable, str(TOY), "translate", str(speech), "--model", "toy"], stdout=other, env=environment
    )
    os.close(other)
    shown = b""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            piece = os.read(main, 65_536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    assert process.wait(timeout=20) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "speech.wav  ·  toy  ·  stream_att  ·  640 ms" in text
    assert "lag " in text
    assert re.search(r"\d:\d\d  " + re.escape(toy_text(WORDS).split(".")[0]), text)


def test_captions_go_beside_the_output(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, toy_audio([3, 5, 0, 7, 9]), 16_000, subtype="FLOAT")
    dead = "http://127.0.0.1:9/secret-8271"
    status, out, err = run("translate", path, "--model", "toy", "--caption", f"hls={tmp_path / 'hls'}")
    assert (status, out, err) == (0, toy_text([3, 5, 7, 9]) + "\n", "")
    assert toy_text([3, 5, 7, 9]) in (tmp_path / "hls" / "captions00001.vtt").read_text()
    status, out, err = run("translate", path, "--model", "toy", "--caption", f"zoom={dead}", "--caption", "fax=x")
    assert (status, out) == (2, "") and err.startswith("simulst: --caption takes KIND=WHERE with one of teams, zoom,")


def test_targets_that_cannot_be_written_are_refused(run: Run, speech: Path, tmp_path: Path) -> None:
    def refused(*args: object) -> str:
        status, out, err = run("translate", speech, "--model", "toy", *args)
        assert (status, out) == (2, "")
        return err.removeprefix("simulst: ").strip()

    to = ("--output", tmp_path / "talk.srt")
    alone = "--targets writes a file for each language: name one with --output, such as talk.srt."
    assert refused("--targets", "de,en") == alone
    different = "--targets takes different language codes such as de,en, not 'de,de'."
    assert refused("--targets", "de,de", *to) == different
    unknown = "No model here writes de and en of one stream; toy does not tell its languages."
    assert refused("--targets", "de,en", *to) == unknown
    missing = "--caption hls.fr names none of --targets de,en."
    assert refused("--targets", "de,en", *to, "--caption", f"hls.fr={tmp_path}") == missing
    assert (
        refused("--targets", "de,en", *to, "--trace", "t.jsonl") == "--trace follows one language; leave out --targets."
    )


@pytest.mark.slow
def test_every_target_has_a_file_like_that_of_a_run_of_its_own(run: Run, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    talk, rate = soundfile.read(
        Path(__file__).parents[2] / "examples" / "talk.flac", dtype="float32", frames=12 * 16_000
    )
    soundfile.write(clip, talk, rate)
    said = ["translate", clip, "--dtype", "float32"]
    assert run(*said, "--targets", "en,de", "-o", tmp_path / "two.srt") == (0, "", "")
    assert run(*said, "-o", tmp_path / "de.srt", "--model", "tiny-en-de") == (0, "", "")
    assert run(*said, "-o", tmp_path / "en.srt", "--set", "task=transcribe") == (0, "", "")
    for target in ("de", "en"):
        alone = (tmp_path / f"{target}.srt").read_text()
        assert alone.count("-->") >= 2 and (tmp_path / f"two.{target}.srt").read_text() == alone


@pytest.mark.parametrize(
    ("policy", "pairs", "model"),
    [
        ("stream_att", [], MODEL_FOR_PEOPLE),
        ("local_agreement", ["chunk_ms=800", "history.words=9"], MODEL_FOR_PEOPLE),
        ("stream_att", ["recogniser_policy=stream_att-f12", "text.beams=2"], MODEL_FOR_PEOPLE),
        ("infinite", [], DEFAULT_MODEL),
        ("emma", [], DEFAULT_MODEL),
        ("gpe_wait_k", [], DEFAULT_MODEL),
        ("stream_att", ["beams=4"], DEFAULT_MODEL),
        ("stream_att", ["task=transcribe"], DEFAULT_MODEL),
        ("stream_att", ["no_such_key=1"], DEFAULT_MODEL),
    ],
)
def test_where_no_model_is_named_it_is_the_one_for_people_if_it_can(policy: str, pairs: list[str], model: str) -> None:
    assert usual_model([policy], pairs) == model


def test_where_no_model_is_named_its_numbers_are_those_that_are_quick(
    run: Run, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load_model(name: str, **given: object) -> None:
        asked.append((name, given["dtype"]))
        raise ModelError("Enough.")

    monkeypatch.setattr("simulst.models.load_model", load_model)
    for given in ([], ["--model", DEFAULT_MODEL], ["--dtype", "float32"], ["--policy", "emma"]):
        assert run("translate", speech, *given)[0] == 2
    both, alone = MODEL_FOR_PEOPLE, DEFAULT_MODEL
    assert asked == [(both, "auto"), (alone, None), (both, "float32"), (alone, "auto")]


def test_an_unknown_setting_is_answered_with_those_of_the_model_it_would_be(run: Run, speech: Path) -> None:
    status, _, err = run("translate", speech, "--set", "no_such_key=1")
    assert status == 2 and "Unknown setting 'no_such_key'" in err and "for model tiny-en-de: " in err


def test_a_glossary_with_a_broken_line_ends_before_anything_is_heard(run: Run, speech: Path, tmp_path: Path) -> None:
    terms = tmp_path / "terms.tsv"
    terms.write_text("s14\tvierzehn\n\ns15 f\u00fcnfzehn\n", encoding="utf-8")
    said = f"simulst: {terms}, line 3: write the source, one tab and the target.\n"
    assert run("translate", speech, "--model", "toy", "--glossary", terms) == (2, "", said)
    assert run("evaluate", speech.parent, "--output", tmp_path / "out", "--glossary", terms)[0] == 2
    status, _, err = run("translate", speech, "--model", "toy", "--glossary", tmp_path / "none.tsv")
    assert (status, err) == (
        2,
        f"simulst: The glossary {tmp_path / 'none.tsv'} cannot be read: no such file or directory.\n",
    )
    terms.write_text("s14\tvierzehn\n")
    status, out, err = run("translate", speech, "--model", "toy", "--glossary", terms)
    assert (status, " ".join(out.split()), err) == (0, toy_text(WORDS), "")
    status, _, err = run("translate", speech, "--model", "toy", "--policy", "taf", "--glossary", terms)
    assert (status, err.endswith("a glossary is not followed; choose another policy.\n")) == (2, True)
