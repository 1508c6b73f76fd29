import pickle
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from simulst.errors import PolicyError
from simulst.policies import POLICIES, load_policy
from simulst.policies.align_att import AlignAtt
from simulst.policies.loading import preset_folders, preset_names
from simulst.policies.wait_k import WaitK

MINE = """
from dataclasses import dataclass
from simulst.policies.wait_k import WaitK

@dataclass(frozen=True, kw_only=True)
class Mine(WaitK):
    extra: float = 0.5

class Other: ...
"""


def test_plain_names_work_without_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulst.policies.loading.preset_folders", lambda: [])
    for name in POLICIES:
        assert load_policy(name).chunk_ms > 0
    assert load_policy("wait_k").policy == WaitK()


def test_a_copy_of_the_package_alone_says_that_its_presets_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("simulst.policies.loading.__file__", str(tmp_path / "simulst" / "policies" / "loading.py"))
    assert preset_folders() == preset_folders() == []
    assert [one.getMessage() for one in caplog.records] == [
        f"The presets that come with simulst are not in {tmp_path / 'policies'}; "
        "policies are not set as their papers have them."
    ]


def test_every_preset_loads_and_names_its_source() -> None:
    assert preset_names()
    for name in preset_names():
        loaded = load_policy(name)
        assert loaded.name == name
        assert loaded.source


def test_every_policy_has_a_preset_of_its_name() -> None:
    assert set(POLICIES) <= set(preset_names())


def test_presets_lie_in_the_checkout() -> None:
    assert preset_folders()[0].name == "policies"
    assert not any(folder.joinpath("__init__.py").exists() for folder in preset_folders())


def test_values_from_the_command_line_are_read() -> None:
    loaded = load_policy("align_att", **{"f": "3", "frame_ms": "40", "chunk_ms": "320", "history.words": "7"})
    assert loaded.policy == AlignAtt(f=3, frame_ms=40.0)
    assert (loaded.chunk_ms, loaded.history.words) == (320, 7)
    assert load_policy("align_att", frame_ms="none", normalise="none").policy.frame_ms is None  # type: ignore[attr-defined]
    assert load_policy("wait_k", strict="false").policy.strict is False  # type: ignore[attr-defined]


def test_overrides_keep_the_rest_of_a_loaded_policy() -> None:
    loaded = load_policy(load_policy("stream_att-f4"), **{"history.words": 3})
    assert loaded.policy.f == 4  # type: ignore[attr-defined]
    assert (loaded.history.words, loaded.history.method) == (3, "fixed_words")


def test_policy_of_ones_own_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    loaded = load_policy(f"{path}:Mine", k=7, extra=1)
    assert (loaded.policy.k, loaded.policy.extra) == (7, 1.0)  # type: ignore[attr-defined]
    assert load_policy("simulst.policies.wait_k.WaitK").policy == WaitK()
    with pytest.raises(PolicyError, match="Other is not a policy"):
        load_policy(f"{path}:Other")
    with pytest.raises(PolicyError, match="Missing is not a policy"):
        load_policy(f"{path}:Missing")


def test_a_preset_names_a_policy_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.py").write_text(MINE)
    preset = tmp_path / "rules" / "slow.toml"
    preset.write_text('policy = "mine.py:Mine"\nchunk_ms = 320\n[parameters]\nk = 7\nextra = 2.5\n')
    monkeypatch.chdir(tmp_path)
    loaded = load_policy("rules/slow.toml", k=8)
    assert (loaded.name, loaded.chunk_ms) == ("slow", 320)
    assert (loaded.policy.k, loaded.policy.extra) == (8, 2.5)  # type: ignore[attr-defined]
    preset.write_text('policy = "other.py:Mine"\n')
    with pytest.raises(PolicyError, match=r"There is no policy file rules/other\.py\."):
        load_policy(preset.relative_to(tmp_path))


def test_file_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    with pytest.raises(PolicyError, match=r"broken\.py fails: ZeroDivisionError: division by zero"):
        load_policy(f"{path}:Mine")


@pytest.mark.parametrize(
    ("spec", "overrides", "sentence"),
    [
        ("nothing", {}, r"Unknown policy 'nothing'; known: offline, wait_k, .*stream_att-f4"),
        ("../../etc/passwd", {}, "Unknown policy '../../etc/passwd'"),
        ("nowhere.at.All", {}, r"The policy nowhere\.at\.All cannot be imported"),
        ("missing.toml", {}, r"The preset missing\.toml cannot be read"),
        ("missing.py:Mine", {}, r"There is no policy file missing\.py"),
        ("offline", {"k": 3}, "offline: unknown parameter 'k'; known: beams"),
        ("wait_k", {"q": 3}, "wait_k: unknown parameter 'q'; known: k, words, word_ms, ratio, pause_s, strict"),
        ("wait_k", {"k": "many"}, "wait_k: k must be a whole number, not 'many'"),
        ("wait_k", {"k": True}, "wait_k: k must be a whole number, not True"),
        ("wait_k", {"words": "some"}, "wait_k: words is 'some'; it must be fixed or adaptive"),
        ("wait_k", {"chunk_ms": 0}, "wait_k: chunk_ms is 0; it must be between 1 and 600000"),
        ("wait_k", {"history.size": 1}, "wait_k: unknown history key 'size'; known: method, audio, words"),
        ("wait_k-3", {"k": "0"}, r"^wait_k-3: k is 0; it must be at least 1\.$"),
        ("wait_k-3", {"history.words": 0}, r"^wait_k-3: history\.words is 0; it must be at least 1\.$"),
        ("local_agreement", {"n": 1}, r"^local_agreement: n is 1; it must be at least 2 \(a single one agrees with"),
        ("edatt", {"alpha": "nan"}, "edatt: alpha is nan; it must be above 0"),
        ("align_att", {"frame_ms": "x"}, "align_att: frame_ms must be a number or none, not 'x'"),
    ],
)
def test_whatever_is_unknown_is_said(spec: str, overrides: dict[str, object], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        load_policy(spec, **overrides)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('policy = "wait_k"\nspeed = 3', "mine.toml: unknown key 'speed'; known: name, policy, chunk_ms, source"),
        ('policy = "os.system"', "must name a policy, one of offline, .* not 'os.system'"),
        ("chunk_ms = 3", "must name a policy, one of offline, .* or file.py:Class; it names none"),
        ('policy = "wait_k"\nparameters = 3', r"mine\.toml: parameters must be a table, not 3\."),
        ('policy = "wait_k"\nchunk_ms = "a"', "chunk_ms must be a whole number or none, not 'a'"),
        ("policy = ", "cannot be read"),
        ("\x00", "cannot be read"),
    ],
)
def test_malformed_presets_are_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(PolicyError, match=sentence):
        load_policy(str(path))


def test_preset_files_name_themselves() -> None:
    for folder in preset_folders():
        for path in folder.glob("*.toml"):
            assert tomllib.loads(path.read_text())["name"] == path.stem


def test_a_policy_from_a_file_goes_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    policy = load_policy(f"{tmp_path}/mine.py:Mine", k=3, extra=2.5).policy
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(policy), capture_output=True)
    assert done.stdout.decode() == f"{policy}\n", done.stderr.decode()
    assert pickle.loads(pickle.dumps(policy)) == policy
