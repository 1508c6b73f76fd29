"""What commands do when their output is their input, cannot be written, is closed or takes ASCII only."""

import ctypes
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
PR_CAPBSET_DROP = 24
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


@pytest.fixture
def test_set(speech: Path, tmp_path: Path) -> Path:
    """A folder of the lists of MuST-C: one recording in twenty segments."""
    folder = tmp_path / "corpus" / "en-de" / "data" / "tst"
    for name in ("wav", "txt"):
        (folder / name).mkdir(parents=True)
    speech.rename(folder / "wav" / "speech.wav")
    row = "- {duration: 0.64, offset: 0.32, rW: 1, speaker_id: a, wav: speech.wav}\n"
    (folder / "txt" / "tst.yaml").write_text(row * 20)
    (folder / "txt" / "tst.de").write_text("ein Wort\n" * 20)
    return folder


@pytest.mark.parametrize("size", [100, 3_000])
def test_a_full_disk_costs_a_run_nothing_that_was_done(test_set: Path, tmp_path: Path, size: int) -> None:
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    output = tmp_path / "out"
    command = ("evaluate", test_set, "--model", "toy", "--policy", "wait_k", "--output", output)
    done = spawn(*command, preexec_fn=lambda: _small_disk(size), env=environment)
    name = "run.json" if size == 100 else "instances.log"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        f"simulst: {output / name} cannot be written: file too large.",
    ), done.stderr
    kept = (output / "instances.log").read_bytes().count(b"\n") if size > 100 else 0
    again = spawn(*command)
    assert again.returncode == 0 and (kept > 0) == (size > 100)
    assert ("resuming after" in again.stderr) == (kept > 0)
    log = (output / "instances.log").read_text().splitlines()
    assert len(log) == 20 and not list(output.glob("*.tmp"))


def test_a_full_disk_leaves_no_lists(test_set: Path, tmp_path: Path) -> None:
    output = tmp_path / "lists"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = spawn("data", "lists", test_set, "--output", output, preexec_fn=_small_disk, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"{output}" in done.stderr and "cannot be written" in done.stderr
    assert [path for path in output.rglob("*") if path.is_file()] == []


def test_folders_and_recordings_of_others_are_one_sentence(test_set: Path, tmp_path: Path) -> None:
    spoken = test_set / "wav" / "speech.wav"
    closed, secret = tmp_path / "closed", tmp_path / "secret.wav"
    closed.mkdir()
    secret.write_bytes(spoken.read_bytes())
    closed.chmod(0o555)
    secret.chmod(0o000)
    try:
        for command, told in [
            (("translate", spoken, "--model", "toy", "-o", closed / "a.srt"), f"{closed}/a.srt cannot be written"),
            (("evaluate", test_set, "--model", "toy", "--output", closed / "out"), f"{closed}/out cannot be made"),
            (("data", "lists", test_set, "--output", closed / "lists"), f"{closed}/lists"),
            (("translate", secret, "--model", "toy"), f"{secret} cannot be read: permission denied."),
        ]:
            done = spawn(*command, preexec_fn=_bound_by_permissions)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
            assert told in done.stderr and ("permission denied" in done.stderr or "read-only" in done.stderr)
        assert list(closed.iterdir()) == []
    finally:
        closed.chmod(0o755)


def _small_disk(size: int = 100) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _bound_by_permissions() -> None:
    """As everybody is but root: without the capabilities to override them (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


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
