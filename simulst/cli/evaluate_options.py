"""Options of `simulst evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from simulst.bundled import bundled_path

Source = Annotated[
    Path,
    typer.Argument(
        parser=bundled_path,
        help="Recipe, MuST-C split folder, folder with source.txt and target.txt, or manifest.jsonl.",
        metavar="RECIPE.toml|DIR",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; resumes in it.", metavar="OUT")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="See `simulst models`.", metavar="NAME")]
Policy = Annotated[str | None, typer.Option("--policy", "-p", help="See `simulst policies`.", metavar="NAME|FILE.toml")]
Workers = Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes.", metavar="N")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the model in each process.", metavar="N")]
Batch = Annotated[
    int, typer.Option("--batch", "-b", min=1, help="Items that each process translates together.", metavar="N")
]
Data = Annotated[
    Path | None,
    typer.Option(parser=bundled_path, help="Test set to use instead of the recipe's.", metavar="DIR|manifest.jsonl"),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first items.", metavar="N")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start over; the previous run is kept until the first item is done.")
]
Long = Annotated[bool, typer.Option("--long", help="MuST-C: whole talks instead of segments.")]
Lang = Annotated[str, typer.Option(help="Target language, if the folder does not name it.", metavar="XX")]
Device = Annotated[str | None, typer.Option(help="cpu (default), cuda, cuda:1, auto.", metavar="NAME")]
LatencyUnit = Annotated[str | None, typer.Option(help="Latency unit: word (default) or char.", metavar="NAME")]
Profile = Annotated[str | None, typer.Option(help="Scoring profile; see `simulst score`.", metavar="NAME")]
GlossaryBoost = Annotated[
    float | None, typer.Option(min=0, max=100, help="What is added to the logits of their tokens.", metavar="N")
]
Seed = Annotated[int | None, typer.Option(help="Seed of random choices.", metavar="N")]
FinalOnly = Annotated[
    bool,
    typer.Option("--final-only", help="Re-translation: words count once they cannot change (as in SimulEval)."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out items that cannot be used.")]
WithTrace = Annotated[bool, typer.Option("--trace", help="Keep every decision in OUT/traces, for `simulst explain`.")]
CompareTo = Annotated[
    Path | None,
    typer.Option(help="A run before: exit with 3 if quality fell or latency rose significantly.", metavar="OLD"),
]
NoScore = Annotated[bool, typer.Option("--no-score", help="Translate only.")]
