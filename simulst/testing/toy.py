"""A small deterministic translator of made-up audio: slots of 0.32 s, each silent or one of 60 words.

The level of the second half of a slot says which word it is, the first half misleads: hypotheses about a slot that is
only half heard are wrong, as a real model's are. A word becomes one or two tokens, every tenth ends a sentence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from simulst.core.source import SAMPLE_RATE, SourceBuffer
from simulst.core.translator import (
    PLAIN,
    Alignment,
    Draw,
    Evidence,
    FloatArray,
    Hypothesis,
    PlainSession,
    PlainTranslator,
    Query,
    ReadWrite,
    TokenStep,
    Transduce,
    Turn,
)
from simulst.models.text.source_model import TextSide
from simulst.testing.scripted import ToyVocabulary

SLOT = 5120  # samples
FRAME = 1280
WORDS = 60


def toy_audio(words: Sequence[int]) -> FloatArray:
    """Audio of words 1..60; 0 is a silent slot."""
    levels = [level for word in words for level in (_mislead(word), word)]
    return np.repeat(np.asarray(levels, dtype=np.float32) / 64, SLOT // 2)


def toy_text(words: Sequence[int]) -> str:
    """The translation of these words."""
    return "".join(VOCABULARY.decode(VOCABULARY.encode(_pieces(word))) for word in words if word).lstrip()


def _mislead(word: int) -> int:
    return word * 7 % WORDS + 1 if word else 0


def _pieces(word: int) -> list[str]:
    pieces = [f"_w{word}"] if word % 2 else ["_v", str(word)]
    return [*pieces, "."] if word % 10 == 0 else pieces


VOCABULARY = ToyVocabulary([piece for word in range(1, WORDS + 1) for piece in _pieces(word)])


TRAINED = {Evidence.P_CHOOSE, Evidence.SESSION_TOKENS, Evidence.JOINT, Evidence.TRANSDUCER}
"""Evidence that only models trained for it have."""


@dataclass(kw_only=True)
class ToyTranslator(PlainTranslator):
    """Stateless model; `look_ahead_s` of the newest audio cannot be heard until the source ends.

    It can give all evidence, but says so only where `provides` is set.
    """

    name: str = "toy"
    provides: frozenset[Evidence] = frozenset(Evidence) - TRAINED
    vocabulary: ToyVocabulary = field(default_factory=lambda: VOCABULARY)
    frame_s: float = FRAME / SAMPLE_RATE
    max_source_s: float = 12.0
    look_ahead_s: float = 0.0
    restarts: bool = False
    """Whether a segment can be heard as a recording of its own."""
    before: Callable[[], object] = field(default=lambda: None, repr=False)
    """Called before every hypothesis: to take time as a model does, to wait, to fail."""

    def open(self) -> "ToySession":
        return ToySession(self)


@dataclass(frozen=True, kw_only=True)
class _Sound:
    """One word of the heard audio: its frame, counted from the start of kept audio, and whether it is certain."""

    tokens: tuple[int, ...]
    frame: int
    certain: bool


class ToySession(PlainSession, TextSide):
    def __init__(self, model: ToyTranslator) -> None:
        self.model = model
        self.source = SourceBuffer()
        self._counted = 0  # samples in which words have been counted
        self._word_times: tuple[float, ...] = ()
        self._turns: list[Turn] = []

    @property
    def start_s(self) -> float:
        return self.source.start_s

    @property
    def heard_s(self) -> float:
        return self._heard / SAMPLE_RATE

    @property
    def source_end(self) -> int:
        return self._heard

    @property
    def _heard(self) -> int:
        hidden = 0 if self.source.is_final else round(self.model.look_ahead_s * SAMPLE_RATE)
        return max(self.source.start, self.source.end - hidden)

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        self.source.append(samples, is_final=is_final)
        while self._counted + SLOT <= self._heard:
            self._counted += SLOT
            if round(float(self.source.read(self._counted - SLOT // 2, self._counted).mean()) * 64) > 0:
                self._word_times += ((self._counted - SLOT) / SAMPLE_RATE,)

    @property
    def segments(self) -> "ToySession | None":
        return self if self.model.restarts else None

    def restart(self) -> None:
        self.source.trim(self.source.end)
        self.source.is_final = False

    def _slots(self) -> list[tuple[int, int, bool]]:
        """Word, absolute end of what was heard of it, and whether its telling half was heard."""
        slots = []
        for begin in range(self.source.start // SLOT * SLOT, self._heard, SLOT):
            middle, end = begin + SLOT // 2, min(begin + SLOT, self._heard)
            if middle + FRAME // 2 <= end and self.source.start + FRAME // 2 <= end:
                heard, certain = self.source.read(middle, end), end == begin + SLOT
            elif end > middle:
                continue
            else:
                heard, certain = self.source.read(begin, end), False
            word = round(float(heard.mean()) * 64) if len(heard) else 0
            if 0 < word <= WORDS:
                slots.append((word, end, certain))
        return slots

    def _sounds(self, variant: int = 0) -> list[_Sound]:
        sounds = []
        for word, end, certain in self._slots():
            if not certain:
                word = (word + variant - 1) % WORDS + 1
            frame = (end - self.source.start - 1) // FRAME
            sounds.append(_Sound(tokens=VOCABULARY.encode(_pieces(word)), frame=frame, certain=certain))
        return sounds

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        self.model.before()
        variants: Sequence[int] = range(query.n_best)
        if query.sample:
            variants = [int(v) for v in np.random.default_rng(query.seed).integers(0, 3, query.n_best)]
        return [self._one(prefix, v, query if i == 0 else replace(query, gate=None)) for i, v in enumerate(variants)]

    def _one(self, prefix: Sequence[int], variant: int, query: Query) -> Hypothesis:
        sounds = self._sounds(variant)
        word, skip, owners = _locate(prefix, [sound.tokens for sound in sounds])
        new = [(token, sound) for sound in sounds[word:] for token in sound.tokens][skip:]
        frames = int((self._heard - self.source.start + FRAME - 1) // FRAME)
        rows = np.full((len(prefix) + len(new), frames), 0.01, dtype=np.float32)
        attended = [None if owner is None else sounds[owner] for owner in owners] + [sound for _, sound in new]
        for row, heard in enumerate(attended):
            if heard is not None:
                rows[row, min(heard.frame, frames - 1)] = 0.9
        stop: Literal["eos", "length", "gate"] = "eos"
        next_id, count = None, len(new)
        if query.max_new is not None and query.max_new < count:
            stop, next_id, count = "length", None, query.max_new
        for i, (token, sound) in enumerate(new[:count]):
            logprob = -0.05 if sound.certain else -2.0
            answer = "continue"
            if query.gate is not None:
                row_of_token, p_choose = rows[len(prefix) + i], 0.9 if sound.certain else 0.1
                step = TokenStep(
                    index=i, token=token, logprob=logprob, weights=row_of_token, n_valid=frames, p_choose=p_choose
                )
                answer = query.gate(step)
            if answer != "continue":
                kept = answer == "stop_keep"
                stop, next_id, count = "gate", None if kept else token, i + kept
                break
        alignment = Alignment(
            weights=rows[: len(prefix) + count],
            history=len(prefix),
            n_valid=frames,
            frame_s=self.model.frame_s,
            start_s=self.start_s,
            heads=np.stack([rows[: len(prefix) + count]] * 3) if Evidence.ALIGNMENT_HEADS in query.want else None,
        )
        return Hypothesis(
            ids=tuple(token for token, _ in new[:count]),
            stop=stop,
            next_id=next_id,
            logprobs=tuple(-0.05 if sound.certain else -2.0 for _, sound in new[:count]),
            alignment=alignment if query.want & {Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS} else None,
            score=-float(variant),
        )

    def read_write(
        self, prefix: Sequence[int], plan: ReadWrite, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Writes what is certain, and at the end everything; every call is a turn."""
        written = self._certain(prefix, plan.most, final, want)
        begun_s = self._turns[-1].end_s if self._turns else self.start_s
        entries = round((self.heard_s - begun_s) / self.model.frame_s) + len(written.ids)
        self._turns.append(Turn(tokens=len(written.ids), end_s=self.heard_s, entries=entries))
        return written

    def transduce(
        self, prefix: Sequence[int], plan: Transduce, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Writes what is certain, and at the end everything."""
        return self._certain(prefix, None, final, want)

    def _certain(self, prefix: Sequence[int], most: int | None, final: bool, want: frozenset[Evidence]) -> Hypothesis:
        def certain(step: TokenStep) -> Literal["continue", "stop_drop"]:
            return "continue" if final or step.logprob > -1 else "stop_drop"

        return self._one(prefix, 0, Query(max_new=most, gate=certain, want=want))

    def write_source(self, *, max_new: int | None = None) -> Hypothesis:
        """The words that were heard, as their own translation."""
        return self._one((), 0, Query(max_new=max_new, want=frozenset({Evidence.ALIGNMENT})))

    def translate_after(
        self,
        source: Sequence[int],
        prefix: Sequence[int],
        *,
        until_s: float | None = None,
        max_new: int | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> Hypothesis:
        """The source as it is, where the prefix is its beginning; else what was heard."""
        room = len(source) - len(prefix)
        if until_s is not None and room >= 0:
            max_new = room if max_new is None else min(room, max_new)
        return self._one(prefix, 0, Query(max_new=max_new, want=want))

    def turns(self) -> tuple[Sequence[Turn], int]:
        return self._turns, 0

    def keep_first(self, count: int, recent: int | None = None) -> None:
        """Nothing is cached."""

    @property
    def reads_and_writes(self) -> "ToySession":
        return self

    @property
    def chain(self) -> "ToySession":
        return self

    @property
    def transducer(self) -> "ToySession":
        return self

    @property
    def text(self) -> "ToySession":
        return self

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        """Every second continuation begins with the same word."""
        likely = (len(text) * 13 + 5) % WORDS + 1
        size = (draw.n, min(3, draw.max_tokens))
        draws = np.random.default_rng([draw.seed, len(text)]).integers(1, WORDS + 1, size)
        return [
            "".join(f" s{likely if i % 2 == 0 and j == 0 else word}" for j, word in enumerate(row))
            for i, row in enumerate(draws)
        ]

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        found = []
        for text in texts:
            slots = [VOCABULARY.encode(_pieces(int(word[1:]))) for word in text.split()]
            word, skip, _ = _locate(prefix, slots)
            rest = tuple(token for slot in slots[word:] for token in slot)[skip:]
            found.append(Hypothesis(ids=rest[:max_new], stop="eos" if len(rest) <= max_new else "length"))
        return found

    def source_words(self, since_s: float = 0.0) -> int:
        return sum(at_s >= since_s - 1e-6 for at_s in self._word_times)

    def transcript(self) -> str:
        return " ".join(f"s{word}" for word, _, certain in self._slots() if certain)

    def drop_source(self, to_s: float) -> None:
        self.source.trim(int(to_s / self.model.frame_s + 1e-6) * FRAME)
        self._turns = [turn for turn in self._turns if turn.end_s > to_s + 1e-6]

    def drop_target(self, count: int) -> None:
        for at, turn in enumerate(self._turns):
            gone = min(count, turn.tokens)
            self._turns[at] = replace(turn, tokens=turn.tokens - gone, entries=turn.entries - gone)
            count -= gone


def _locate(prefix: Sequence[int], slots: Sequence[Sequence[int]]) -> tuple[int, int, list[int | None]]:
    """Where the forced prefix ends in the heard words: the word and the token in it to go on with.

    Also the word that each prefix token belongs to. The last four words of the prefix vote, so one that was committed
    wrongly does not make the translation begin again.
    """
    said: list[list[int]] = []
    for token in prefix:
        if VOCABULARY.starts_word(token) or not said:
            said.append([])
        said[-1].append(token)
    best, most = 0, 0
    for end in range(1, len(slots) + 1):
        pairs = zip(reversed(said[-4:]), reversed(slots[:end]), strict=False)
        agree = sum(list(slot[: len(word)]) == word for word, slot in pairs)
        if agree > most:
            best, most = end, agree
    owners: list[int | None] = []
    for back, word in enumerate(reversed(said)):
        owners += [best - 1 - back if best - 1 - back >= 0 else None] * len(word)
    owners.reverse()
    last = said[-1] if said else []
    if best and 0 < len(last) < len(slots[best - 1]) and list(slots[best - 1][: len(last)]) == last:
        return best - 1, len(last), owners
    return best, 0, owners
