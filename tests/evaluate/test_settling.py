"""What `simulst evaluate` makes of policies that change, segments that are bad and items that fail."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]
Edit = Callable[[Path, int, str], None]

POLICY = """
from dataclasses import dataclass
from simulst.policies.wait_k import WaitK

@dataclass(frozen=True, kw_only=True)
class Mine(WaitK):
    k: int = {k}
"""


def said(folder: Path) -> list[str]:
    return [json.loads(line)["prediction"] for line in (folder / "instances.log").read_text().splitlines()]


def test_a_run_does_not_go_on_with_an_edited_policy(run: Run, lists: Path, tmp_path: Path) -> None:
    policy, out = tmp_path / "pol.py", tmp_path / "out"
    policy.write_text(POLICY.format(k=3))
    command = ("evaluate", lists, "--model", "toy", "--policy", f"{policy}:Mine", "--output", out)
    assert run(*command, "--limit", 2)[0] == 0
    assert run(*command, "--limit", 3)[0] == 0
    policy.write_text(POLICY.format(k=3) + "\n# another rule\n")
    status, _, errors = run(*command)
    assert status == 2 and errors.startswith(f'simulst: {out} holds another run: policy.code is "')
    info = json.loads((out / "run.json").read_text())
    del info["policy"]["code"]  # as before it was noted
    (out / "run.json").write_text(json.dumps(info))
    assert run(*command)[0] == 0


def test_presets_and_policies_of_simulst_need_no_digest(run: Run, lists: Path, tmp_path: Path) -> None:
    run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--limit", 1, "--output", tmp_path / "out")
    assert "code" not in json.loads((tmp_path / "out" / "run.json").read_text())["policy"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("- {duration: 0.0, offset: 3.0, speaker_id: s, wav: ted_0.wav}", "an empty segment: its duration is 0 s"),
        ("- {duration: 2.0, offset: 900.0, speaker_id: s, wav: ted_0.wav}", "the segment begins at 900 s, but"),
        ("- {duration: 900.0, offset: 1.0, speaker_id: s, wav: ted_0.wav}", "the segment ends at 901 s, but"),
    ],
)
def test_a_bad_segment_does_not_cost_the_talk(
    run: Run, mustc: Path, tmp_path: Path, edit: Edit, line: str, reason: str
) -> None:
    out = tmp_path / "out"
    edit(mustc / "txt" / "tst.yaml", 2, line)
    command = ("evaluate", mustc, "--long", "--model", "toy", "--output", out)
    status, _, errors = run(*command)
    assert (
        status == 2 and f"tst.yaml, line 2: {reason}" in errors and "leave such segments out with --skip-bad" in errors
    )
    status, shown, errors = run(*command, "--skip-bad")
    assert status == 0 and "BLEU" in shown
    assert (
        f"note: 1 segment was left out of the scores, the first for this reason: tst.yaml, line 2: {reason}" in errors
    )
    assert len(said(out)) == 2 and (out / "errors.jsonl").read_text() == ""
    rows = (out / "segments.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == ["0", "2", "3", "4", "5"]
    assert json.loads((out / "scores.json").read_text())["StreamLAAL"] > 0
    assert run("report", out)[0] == 0


def test_a_talk_without_a_good_segment_is_left_out(run: Run, mustc: Path, tmp_path: Path, edit: Edit) -> None:
    for line in (1, 2, 3):
        bad = "- {duration: 0.0, offset: 3.0, speaker_id: s, wav: ted_0.wav}"
        edit(mustc / "txt" / "tst.yaml", line, bad)
    status, _, _ = run("evaluate", mustc, "--long", "--model", "toy", "--output", tmp_path / "out", "--skip-bad")
    assert status == 0 and len(said(tmp_path / "out")) == 1
    (failure,) = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert failure["index"] == 0 and "an empty segment" in failure["error"]


def test_a_missing_talk_is_still_an_item(run: Run, mustc: Path, tmp_path: Path) -> None:
    (mustc / "wav" / "ted_1.wav").unlink()
    command = ("evaluate", mustc, "--long", "--model", "toy", "--output", tmp_path / "out")
    assert "leave such items out with --skip-bad" in run(*command)[2]
    status, _, errors = run(*command, "--skip-bad")
    assert status == 0 and len(said(tmp_path / "out")) == 1 and "note: 1 of 2 items failed" in errors


def test_items_that_fail_show_in_the_exit_status(run: Run, lists: Path, tmp_path: Path) -> None:
    """3 also with --skip-bad: that is for what headers tell. 0 as soon as the item is done."""
    whole = (lists / "1.wav").read_bytes()
    (lists / "1.wav").write_bytes(whole[: len(whole) // 2])
    command = ("evaluate", lists, "--model", "toy", "--output", tmp_path / "out")
    status, shown, errors = run(*command)
    assert status == 3 and "BLEU" in shown and "Traceback" not in errors
    status, shown, _ = run(*command, "--skip-bad", "--json")
    assert status == 3 and json.loads(shown)["failed"] == 1
    (lists / "1.wav").write_bytes(whole)
    assert run(*command)[0] == 0


def test_a_sweep_with_a_failed_item(run: Run, lists: Path, tmp_path: Path) -> None:
    whole = (lists / "1.wav").read_bytes()
    (lists / "1.wav").write_bytes(whole[: len(whole) // 2])
    recipe = tmp_path / "sweep.toml"
    recipe.write_text(f'model = "toy"\npolicy = "wait_k"\n[data]\npath = "{lists}"\n[sweep]\nk = [1, 5]\n')
    status, shown, _ = run("evaluate", recipe, "--output", tmp_path / "out")
    assert status == 3 and "wait_k-k=5" in shown
    assert soundfile.info(lists / "0.wav").frames and (tmp_path / "out" / "sweep.tsv").is_file()
