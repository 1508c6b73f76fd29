"""One log in four formats."""

from pathlib import Path

import pytest

from simulst.errors import DataError
from simulst.eval.logs.formats import detect_format, read_log, write_log
from simulst.eval.score.inputs import report_log
from simulst.eval.segment.resegmented import write_resegmented

FIXTURES = Path(__file__).parent / "fixtures"
LONG = FIXTURES / "long_de"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"index": 0, "prediction": "a"}\n', "simuleval"),
        ('{"source": "a", "prediction": "a"}\n', "omnisteval"),
        ('\n{"model_loading_time": 1}\n', "simulstream"),
        ('{"id": 1, "metadata": {}}\n', "simulstream"),
        ('{"prediction": "", "docid": 0, "time_to_recording_end": 1}\n', "resegmented"),
        ("Guten Morgen\n", "text"),
    ],
)
def test_formats_are_recognised(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "log").write_text(text)
    assert detect_format(tmp_path / "log") == kind


def test_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n")
    with pytest.raises(DataError, match=r"^log is empty; the run wrote nothing\.$"):
        detect_format(tmp_path / "log")


def test_a_log_of_one_torn_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"index": 0, "predi')
    with pytest.raises(DataError, match="holds no whole line; the run was interrupted before its first instance"):
        read_log(tmp_path / "log", unit="word")


def test_a_simulstream_log_needs_its_configuration() -> None:
    with pytest.raises(DataError, match="is a simulstream log; give its evaluation yaml with --log-config"):
        read_log(LONG / "simulstream.jsonl", unit="word")


def test_converted_logs_score_the_same(tmp_path: Path) -> None:
    config = LONG / "simulstream_cfg.yaml"
    instances, _ = read_log(LONG / "simulstream_retrans.jsonl", unit="word", config=config)
    given = (LONG / "ref.txt", LONG / "segments.yaml")
    wanted = report_log(LONG / "simulstream_retrans.jsonl", *given, profile="omnisteval", log_config=config).scores
    (omnisteval,) = write_log(tmp_path / "o.jsonl", instances, "omnisteval", "word")
    found = report_log(omnisteval, *given, profile="omnisteval").scores
    for name in ("LongYAAL", "LongYAAL_CA", "LongLAAL_CA", "BLEU"):
        assert found[name] == pytest.approx(wanted[name]), name
    (simuleval,) = write_log(tmp_path / "s.log", instances, "simuleval", "word")
    assert report_log(simuleval, *given, profile="omnisteval").scores["LongYAAL"] == pytest.approx(wanted["LongYAAL"])
    log, written = write_log(tmp_path / "t.jsonl", instances, "simulstream", "word")
    again = report_log(log, *given, profile="omnisteval", log_config=written).scores
    assert again["LongYAAL"] == pytest.approx(wanted["LongYAAL"])


def test_resegmented_instances_keep_the_scores(tmp_path: Path) -> None:
    report = report_log(LONG / "instances.log", LONG / "ref.txt", LONG / "segments.yaml", profile="omnisteval")
    write_resegmented(tmp_path / "r.jsonl", report.segments)
    again = report_log(tmp_path / "r.jsonl", profile="omnisteval").scores
    for name in ("LongYAAL", "LongYAAL_CA", "LongAL", "LongLAAL", "LongAP", "LongDAL_CA", "BLEU", "chrF2"):
        assert again[name] == pytest.approx(report.scores[name]), name
    assert "LongYAAL_CA_backlog" not in again


def test_plain_text_has_quality_only(tmp_path: Path) -> None:
    instances, _ = read_log(LONG / "instances.log", unit="word")
    (text,) = write_log(tmp_path / "hyp.txt", instances, "text", "word")
    documents = ["docid=0,segid=0"] * 10 + ["docid=1,segid=0"] * 10
    (tmp_path / "docs.txt").write_text("\n".join(documents) + "\n")
    report = report_log(text, LONG / "ref.txt", tmp_path / "docs.txt", profile="omnisteval")
    timed = report_log(LONG / "instances.log", LONG / "ref.txt", LONG / "segments.yaml", profile="omnisteval")
    assert report.scores["BLEU"] == timed.scores["BLEU"]
    assert "LongYAAL" not in report.scores
    assert "The log or the segmentation has no times: no latency." in report.notes
