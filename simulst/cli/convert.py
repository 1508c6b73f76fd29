"""`simulst convert INPUT --to FORMAT`: logs and test sets from one tool's format to another's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.errors import DataError

if TYPE_CHECKING:
    from simulst.eval.logs.units import Unit

LOGS = ("simuleval", "simulstream", "omnisteval", "text", "resegmented")
SETS = ("must-c", "documents", "iwslt")


def convert(
    source: Annotated[Path, typer.Argument(help="A log, a segmentation yaml, or an IWSLT XML file.", metavar="INPUT")],
    to: Annotated[str, typer.Option(help=f"{', '.join(LOGS)} (logs); {', '.join(SETS)} (test sets).", metavar="NAME")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", metavar="FILE")],
    unit: Annotated[str, typer.Option(help="Unit of the log: word or char.", metavar="NAME")] = "word",
    log_config: Annotated[Path | None, typer.Option(help="simulstream's evaluation yaml.", metavar="FILE")] = None,
    references: Annotated[Path | None, typer.Option(help="One reference per line.", metavar="FILE")] = None,
    segmentation: Annotated[Path | None, typer.Option(help="Segments, for resegmented.", metavar="FILE")] = None,
    profile: Annotated[str, typer.Option(help="Segmenter of resegmented.", metavar="NAME")] = "omnisteval",
    lang: Annotated[str, typer.Option(help="Language, for iwslt.", metavar="XX")] = "",
) -> None:
    """Write INPUT in another format; what was written is printed, a file per line.

    must-c is a yaml and a text file, documents OmniSTEval's docid=,segid= list and a text file. A segmentation yaml
    needs --references.
    """
    from simulst.eval.logs.units import read_unit
    from simulst.outputs import refuse_inputs

    latency_unit = read_unit(unit)
    if to not in (*LOGS, *SETS):
        raise DataError(f"Unknown format {to!r}; known: {', '.join((*LOGS, *SETS))}.")
    refuse_inputs(_written(output, to), (source, log_config, references, segmentation))
    if to in SETS:
        written = _convert_set(source, to, output, references, lang)
    else:
        written = _convert_log(source, to, output, latency_unit, log_config, references, segmentation, profile)
    for path in written:
        print(path)


def _written(output: Path, to: str) -> list[Path]:
    """Every file that the conversion writes."""
    from simulst.eval.logs.formats import log_files

    if to in ("must-c", "documents"):
        return [output, output.with_suffix(".txt")]
    return log_files(output, to)


def _convert_log(
    source: Path,
    to: str,
    output: Path,
    unit: "Unit",
    log_config: Path | None,
    references: Path | None,
    segmentation: Path | None,
    profile: str,
) -> list[Path]:
    from simulst.eval.logs.formats import WRITABLE, read_log, write_log
    from simulst.eval.score.inputs import report_log
    from simulst.eval.segment.resegmented import write_resegmented

    if to == "resegmented":
        if segmentation is None:
            raise DataError("resegmented needs --segmentation and --references.")
        report = report_log(
            source,
            references,
            segmentation,
            log_config=log_config,
            unit=unit,
            profile=profile,
        )
        write_resegmented(output, report.segments)
        return [output]
    instances, _ = read_log(source, unit=unit, config=log_config)
    return write_log(output, instances, next(one for one in WRITABLE if one == to), unit)


def _convert_set(source: Path, to: str, output: Path, references: Path | None, lang: str) -> list[Path]:
    from simulst.eval.data.iwslt import read_iwslt, write_iwslt
    from simulst.eval.data.segmentation import read_references, read_segmentation, segmentation_text
    from simulst.outputs import write_texts

    if source.suffix.lower() in (".xml", ".sgm", ".sgml"):
        segments = read_iwslt(source)
    elif references is None:
        raise DataError("A segmentation yaml has no text; give --references.")
    else:
        segments = read_segmentation(source, read_references(references))
    if to == "iwslt":
        write_iwslt(output, segments, set_id=source.stem, lang=lang)
        return [output]
    text = output.with_suffix(".txt")
    if text == output:
        raise DataError("--output names the list of segments, e.g. set.yaml; the text goes next to it as .txt.")
    lines = "".join(" ".join(s.reference.split("\n")) + "\n" for s in segments)
    write_texts({output: segmentation_text(segments, documents=to == "documents"), text: lines})
    return [output, text]
