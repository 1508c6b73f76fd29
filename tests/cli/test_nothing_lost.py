"""What commands do when their output is their input, cannot be written, is closed or takes ASCII only."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from simulst.testing import toy_audio, toy_text

pytestmark = pytest.mark.slow

TOY = Path(__file__).with_name("toy_simulst.py")
WORDS = [3, 14, 15, 0, 9, 26, 30, 0]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, toy_audio(WORDS), 16_000, subtype="FLOAT")
    return path


def test_the_recording_is_never_the_output(run: Run, speech: Path, tmp_path: Path) -> None:
    before = speech.read_bytes()
    soft, hard = tmp_path / "soft.txt", tmp_path / "hard.srt"
    soft.symlink_to(speech)
    hard.hardlink_to(speech)
    for source, output in [(speech, soft), (speech, hard), (soft, speech), (f"file://{speech}", speech)]:
        status, out, err = run("translate", source, "--model", "toy", "-f", "text", "-o", output)
        assert (status, out) == (2, "")
        assert err == f"simulst: {output} is read by this command and would be overwritten; choose another --output.\n"
        assert speech.read_bytes() == before


def test_what_is_redirected_to_standard_input_is_never_the_output(speech: Path) -> None:
    before = speech.read_bytes()
    command = [sys.executable, str(TOY), "translate", "-", "--model", "toy", "-f", "text", "-o", str(speech)]
    with speech.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=60)
    assert (done.returncode, speech.read_bytes()) == (2, before)
    assert "is read by this command" in done.stderr


def test_an_output_of_no_known_format_and_a_second_one_are_refused(run: Run, speech: Path, tmp_path: Path) -> None:
    status, _, err = run("translate", speech, "--model", "toy", "-o", tmp_path / "x.json")
    assert (status, err.count("\n")) == (2, 1)
    assert "x.json does not say its format: end it in .txt, .srt, .vtt, .jsonl, or name one with --format." in err
    status, _, err = run("translate", speech, "--model", "toy", "-o", tmp_path / "a.txt", "-o", tmp_path / "b.txt")
    assert (status, err.count("\n")) == (2, 1)
    assert "give --output once" in err
    assert not list(tmp_path.glob("*.txt"))
    assert run("translate", speech, "--model", "toy", "-o", tmp_path / "x.json", "-f", "jsonl")[0] == 0


def test_a_full_disk_is_one_sentence(run: Run, speech: Path) -> None:
    for kind in ("text", "srt", "vtt", "jsonl"):
        status, out, err = run("translate", speech, "--model", "toy", "-f", kind, "-o", "/dev/full")
        assert (status, out, err) == (2, "", "simulst: /dev/full cannot be written: no space left on device.\n")


def spawn(*args: object, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(TOY), *map(str, args)]
    return subprocess.run(command, capture_output="stdout" not in options, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_a_full_standard_output_is_one_sentence(speech: Path) -> None:
    with Path("/dev/full").open("w") as full:
        for command in (["--version"], ["translate", speech, "--model", "toy"]):
            done = spawn(*command, stdout=full, stderr=subprocess.PIPE)
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
            assert done.stderr.endswith("cannot be written or read: no space left on device.\n")


def _small_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def test_an_output_is_written_whole_or_stays_what_it_was(tmp_path: Path) -> None:
    log = tmp_path / "in.log"
    log.write_text(
        '{"index": 0, "prediction": "' + "wort " * 100 + '", "delays": ' + str([1.0] * 100)
        + ', "elapsed": ' + str([1.0] * 100) + ', "prediction_length": 100, "reference": "wort", "source": ["a.wav"],'
        ' "source_length": 9.0}\n'
    )  # fmt: skip
    target = tmp_path / "out.txt"
    target.write_text("finished\n")
    # or the interpreter would leave truncated bytecode to all later processes
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = spawn("convert", log, "--to", "text", "-o", target, preexec_fn=_small_disk, env=environment)
    assert (done.returncode, done.stderr) == (2, f"simulst: {target} cannot be written: file too large.\n")
    assert target.read_text() == "finished\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.log", "out.txt"]
    done = spawn("convert", log, "--to", "text", "-o", tmp_path / "none" / "out.txt")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    before = log.read_text()
    assert "is read by this command" in spawn("convert", log, "--to", "text", "-o", log).stderr
    assert log.read_text() == before


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(speech: Path, tmp_path: Path, closed: str) -> None:
    output = tmp_path / "out.txt"
    command = f"{sys.executable} {TOY} translate {speech} --model toy -o {output} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(output.read_text().split()) == toy_text(WORDS)


def test_a_translation_that_nobody_would_see_is_refused(speech: Path) -> None:
    def shell(arguments: str) -> "subprocess.CompletedProcess[str]":
        command = f"{sys.executable} {TOY} translate --model toy {arguments}"
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)

    done = shell(f"{speech} >&-")
    assert (done.returncode, done.stderr) == (2, "simulst: Standard output is closed: name a file with --output.\n")
    done = shell("- <&-")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_an_ascii_locale_gets_utf8() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    code = "from simulst.cli.streams import repair_streams; repair_streams(); print('gr\\u00fc\\u00df', '\\u6f22')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60)
    assert (done.stdout.decode(), done.stderr) == ("grüß 漢\n", b"")
    done = subprocess.run(
        [sys.executable, str(TOY), "translate", "gr\u00fc\u00df.wav"], capture_output=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith("simulst: grüß.wav does not exist: ")


def test_sizes_of_arecord_and_chained_files_reach_the_translation(run: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "1.flac", tmp_path / "2.flac"
    half = len(WORDS) // 2
    for path, words in ((first, WORDS[:half]), (second, WORDS[half:])):
        soundfile.write(path, toy_audio(words), 16_000, subtype="PCM_24")
    chain = tmp_path / "chain.flac"
    chain.write_bytes(first.read_bytes() + second.read_bytes())
    whole = np.concatenate([toy_audio(WORDS[:half]), toy_audio(WORDS[half:])])
    joined = tmp_path / "joined.wav"
    soundfile.write(joined, whole, 16_000, subtype="PCM_24")
    expected = run("translate", joined, "--model", "toy")
    assert expected[0] == 0
    assert run("translate", chain, "--model", "toy") == expected
    data = bytearray(joined.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\0\0\0\x80"
    made = subprocess.run(
        [sys.executable, str(TOY), "translate", "-", "--model", "toy"],
        input=bytes(data),
        capture_output=True,
        timeout=60,
    )
    assert (made.returncode, made.stdout.decode(), made.stderr) == (0, expected[1], b"")
