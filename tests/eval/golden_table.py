"""Write docs/metrics-compared.md, ours next to theirs: `python tests/eval/golden_table.py [GOLDEN]`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from simulst.eval.score.inputs import report_log

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "metrics-compared.md"
HEAD = """# Our numbers next to those of the reference tools

Made by `python tests/eval/golden_table.py` from the golden logs; SimulEval prints three decimals, OmniSTEval four. The
project's own fixtures (`tests/eval/fixtures`, invented runs with the tools' printed numbers) prove the same in the test
suite. (a) is explained in [metrics.md](metrics.md#where-the-reference-tools-disagree).
"""
NONE = "– | – | –"
LANGUAGES = ("de", "zh", "ja")
OMNISTEVAL = "OmniSTEval longform"
FIX = "on instances.log --fix_simuleval_emission_ca"
TABLES: list[tuple[str, str, str, str, str, dict[str, Any]]] = [  # title, sets, profile, log, key, options
    (
        "SimulEval git 536de82 --computation-aware",
        "short",
        "simuleval",
        "instances.log",
        "SimulEval_HEAD --computation-aware",
        {},
    ),
    ("OmniSTEval 0.1.10 shortform", "short", "omnisteval", "instances.log", "OmniSTEval shortform", {}),
    ("FBK stream_laal.py 2.0", "long", "streamlaal-fbk", "instances.log", "FBK_stream_laal on instances.log", {}),
    (
        "SimulEval's scorers on FBK's segments",
        "long",
        "streamlaal-fbk",
        "instances.log",
        "SimulEval scorers on FBK-resegmented (reseg/fbk.instances.resegmented.jsonl)",
        {},
    ),
    (
        "simulstream 1.0.0, mweralign 1.4.1, append-only log",
        "long",
        "streamlaal-simulstream",
        "simulstream.jsonl",
        "simulstream on simulstream.jsonl",
        {},
    ),
    (
        "simulstream 1.0.0, mweralign 1.4.1, re-translating log",
        "long",
        "streamlaal-simulstream",
        "simulstream_retrans.jsonl",
        "simulstream on simulstream_retrans.jsonl",
        {},
    ),
    (
        "OmniSTEval 0.1.10 longform, SimulEval log, --fix_simuleval_emission_ca",
        "long",
        "omnisteval",
        "instances.log",
        f"{OMNISTEVAL} {FIX}",
        {},
    ),
    (
        "OmniSTEval 0.1.10 longform, SimulEval log as it is (`--raw-elapsed`)",
        "long",
        "omnisteval",
        "instances.log",
        f"{OMNISTEVAL} on instances.log (no CA fix)",
        {"raw_elapsed": True},
    ),
    (
        "OmniSTEval 0.1.10 longform, its own log",
        "long",
        "omnisteval",
        "omnisteval.jsonl",
        f"{OMNISTEVAL} on omnisteval.jsonl",
        {},
    ),
    (
        "OmniSTEval 0.1.10 longform, append-only simulstream log",
        "long",
        "omnisteval",
        "simulstream.jsonl",
        f"{OMNISTEVAL} on simulstream.jsonl",
        {},
    ),
    (
        "OmniSTEval 0.1.10 longform, re-translating simulstream log",
        "long",
        "omnisteval",
        "simulstream_retrans.jsonl",
        f"{OMNISTEVAL} on simulstream_retrans.jsonl",
        {},
    ),
    (
        "OmniSTEval 0.1.10 longform --lang de (`--moses`)",
        "long",
        "omnisteval",
        "instances.log",
        f"{OMNISTEVAL} --lang de {FIX}",
        {"moses": True},
    ),
]
RENAMED = {
    "chrF": "chrF2",
    "BLEU (NFKC-normalized)": "BLEU_NFKC",
    "chrF (NFKC-normalized)": "chrF2_NFKC",
    "Simultaneous Words Fraction (%)": "SWF",
    "Expected Simul. Words Fraction (%)": "EFSW",
    "Degeneracy Test Value": "DSPTV",
    "normalized_erasure": "NE",
    "real_time_factor": "RTF",
}
SEGMENT_SCORERS = ("AL", "LAAL", "AP", "DAL", "ATD")


def reference_scores(found: dict[str, Any], title: str) -> dict[str, float]:
    """The tool's numbers under our names, in ms."""
    scores = {}
    for name, value in found["scores"].items():
        ours = RENAMED.get(name, name.replace(" (CU)", "").replace(" (CA)", "_CA"))
        if not isinstance(value, int | float):
            continue
        if ours.endswith("_s"):
            ours, value = ours.removesuffix("_s"), 1000 * value
        if "FBK's segments" in title:
            if ours.split("_")[0] in ("RTF", "NumChunks"):
                continue  # the long-form profiles count neither per segment
            ours = f"Stream{ours}" if ours.split("_")[0] in SEGMENT_SCORERS else ours
        scores[ours] = float(value)
    return scores


def rows(
    golden: Path, table: tuple[str, str, str, str, str, dict[str, Any]]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Metric to language to (ours, theirs)."""
    title, sets, profile, log, key, options = table
    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))["sets"]
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for lang in LANGUAGES:
        folder = golden / f"{sets}_{lang}"
        if key not in expected[folder.name]:
            continue
        config = {"log_config": folder / log.replace(".jsonl", "_cfg.yaml")} if log.startswith("simulstream") else {}
        report = report_log(
            folder / log,
            folder / "ref.txt",
            folder / "segments.yaml" if sets == "long" else None,
            unit="word" if lang == "de" else "char",
            lang=lang,
            profile=profile,
            **options,
            **config,
        )
        ours = report.scores
        for name, value in reference_scores(expected[folder.name][key], title).items():
            result.setdefault(name, {})[lang] = (ours[name], value)
    return result


def table_lines(name: str, title: str, found: dict[str, dict[str, tuple[float, float]]]) -> list[str]:
    """One table under its heading."""
    langs = [lang for lang in LANGUAGES if any(lang in values for values in found.values())]
    lines = [f"#### `{name}` against {title}", ""]
    lines.append("| metric | " + " | ".join(f"{lang} ours | {lang} reference | {lang} diff." for lang in langs) + " |")
    lines.append("| --- |" + " ---: |" * 3 * len(langs))
    for metric, values in found.items():
        cells = [_cells(*values[lang], excepted(metric, name, lang)) if lang in values else NONE for lang in langs]
        lines.append(f"| {metric} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _cells(ours: float, theirs: float, mark: bool) -> str:
    return f"{ours:.4f} | {theirs:.4f} | {ours - theirs:+.4f}{' (a)' if mark else ''}"


def excepted(metric: str, profile: str, lang: str) -> bool:
    """Whether ours differs on purpose; see (a) in docs/metrics.md."""
    return metric == "BLEU" and profile == "streamlaal-simulstream" and lang != "de"


def main(golden: Path) -> float:
    """Write the page; returns the largest difference that is not listed as an exception."""
    worst, lines = 0.0, [HEAD]
    for table in TABLES:
        found = rows(golden, table)
        lines += table_lines(table[2], table[0], found)
        worst = max(
            [worst]
            + [
                abs(ours - theirs)
                for metric, values in found.items()
                for lang, (ours, theirs) in values.items()
                if not excepted(metric, table[2], lang)
            ]
        )
    lines.append(f"Largest difference outside (a): {worst:.6f}.\n")
    PAGE.write_text("\n".join(lines), encoding="utf-8")
    return worst


if __name__ == "__main__":
    shared = Path(os.environ.get("SIMULST_SHARED", CHECKOUT.parent / "shared"))
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else shared / "golden" / "open"
    sys.exit(main(place) > 1e-3)
