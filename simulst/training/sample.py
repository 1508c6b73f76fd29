"""What one sample of the decoder's training is, the marks in it, and how often each kind is drawn."""

from dataclasses import dataclass

from simulst.training.pieces import Pieces
from simulst.training.vocabulary import language_mark


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Shares of tasks; the rest of speech is translated, the rest of everything is text translation."""

    text_share_start: float = 0.6
    text_share_end: float = 0.3
    transcript_share: float = 0.12
    """Of speech samples: the target is the transcript."""
    truncated_share: float = 0.15
    """Of speech samples: the audio stops inside a sentence and so does the target, without an end mark."""
    silent_share: float = 0.01
    run_lengths: tuple[float, ...] = (0.5, 0.18, 0.12, 0.08, 0.06, 0.03, 0.02, 0.01)
    """Chances of 1, 2, ... consecutive sentences."""
    text_runs: tuple[float, ...] = (0.75, 0.15, 0.1)
    text_truncated_share: float = 0.0
    """Of text samples: the source stops inside its last sentence and so does the target, without an end mark, as words
    come in a cascade."""
    text_merged_share: float = 0.0
    """Of borders between the sentences of a text sample: the mark is missing, as a recogniser may leave it out."""
    text_repeated_share: float = 0.0
    """Of text samples: up to five words of the source stand twice, as a recogniser may write them."""
    max_text_tokens: int = 200
    """Of the source side of a run of text."""
    source_lm_share: float = 1.0
    """Of text samples: those whose source side is learned too, with a small weight."""
    cascade_share: float = 0.0
    """Of speech samples: the transcript first, then the translation."""
    max_vectors: int = 250
    read_write_share: float = 0.0
    """Of speech samples: READ and WRITE in the order of time, see `simulst.training.incremental`; so the next three."""
    turn_share: float = 0.0
    grouped_share: float = 0.0
    joint_share: float = 0.0
    """Of speech samples: turns that hold the transcript too, word by word in the order of time."""
    robust_share: float = 0.0
    """Of samples with READ and WRITE or turns: speech begins anywhere, mostly inside a sentence (robust segments of
    InfiniSST, 2503.02969)."""
    decision_weight: float = 0.3
    """Loss weight of a READ or WRITE decision."""
    block_vectors: int = 7
    """Speech vectors per encoder block."""

    @property
    def in_time(self) -> dict[str, float]:
        """Shares of the tasks that take the order of time, by the names that a `simulst.json` has for them."""
        return {
            "read_write": self.read_write_share,
            "turns": self.turn_share,
            "grouped": self.grouped_share,
            "joint": self.joint_share,
        }


@dataclass
class Sample:
    """`ids` with -1 - label where speech vectors go; `weights[i]` is the loss weight of predicting `ids[i]`, or the
    label (0: none) of a vector."""

    ids: list[int]
    weights: list[float]
    vectors: tuple[int, int] | None = None
    """[first, end) in the feature file."""
    source: list[int] | None = None
    """Source ids for CTC."""
    visible: list[int] | None = None
    """With group positions: how many source entries each target entry, the last ones of `ids`, sees."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    speech: int
    source: int
    target: int
    blank: int
    eos: int

    @classmethod
    def of(cls, vocabulary: Pieces, source: str = "en", target: str = "de") -> "Marks":
        """The marks of a vocabulary that was made for these languages."""
        find = vocabulary.piece_to_id
        return cls(
            speech=find("<sp>"),
            source=find(language_mark(source)),
            target=find(language_mark(target)),
            blank=find("<blank>"),
            eos=vocabulary.eos_id(),
        )
