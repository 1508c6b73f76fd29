"""What a stream on a speech LLM has heard: its encoder, the kept vectors and the words that CTC finds in them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simulst.models.speech_llm.compute import Compute
from simulst.models.speech_llm.streaming_encoder import EncoderState
from simulst.models.speech_llm.weights import Weights


@dataclass(frozen=True, kw_only=True)
class SourceWord:
    """A CTC token of the source and the speech vector (absolute) it was read from."""

    token: int
    vector: int


@dataclass(kw_only=True, eq=False)
class Hearing:
    """The source side of one stream. Frames that are out are never computed again."""

    weights: Weights
    compute: Compute
    encoder: EncoderState
    vectors: Tensor
    """[kept, width]"""
    last_ctc: int
    first: int = 0
    """Absolute index of the oldest kept vector."""
    source: tuple[SourceWord, ...] = ()
    """Tokens that CTC finds in the kept audio, in order."""
    words: int = 0
    """Source words since the stream began."""

    @classmethod
    def begin(cls, weights: Weights, compute: Compute) -> "Hearing":
        model = weights.model
        vectors = model.embeddings.new_zeros(0, model.embeddings.shape[1])
        return cls(
            weights=weights, compute=compute, encoder=model.encoder.open(), vectors=vectors, last_ctc=weights.blank
        )

    def copy(self) -> "Hearing":
        """The same to go on with independently."""
        return replace(self, encoder=self.encoder.clone())

    @property
    def end(self) -> int:
        """Absolute index after the newest vector."""
        return self.first + len(self.vectors)

    def hear(self, audio: Tensor, *, is_final: bool) -> None:
        """Encode the blocks that samples on the model's device complete."""
        with torch.inference_mode():
            vectors, tokens = self.compute.hear(audio, self.encoder, is_final=is_final)
            if tokens:
                self._read(tokens)
                self.vectors = torch.cat((self.vectors, vectors))

    def _read(self, tokens: Sequence[int]) -> None:
        """Greedy CTC of new vectors: collapse repeats, drop blanks, count word starts."""
        found = []
        for vector, token in enumerate(tokens, start=self.end):
            if token not in (self.weights.blank, self.last_ctc):
                found.append(SourceWord(token=token, vector=vector))
                self.words += self.weights.vocabulary.starts_word(token)
            self.last_ctc = token
        self.source = (*self.source, *found)

    def forget(self, count: int) -> None:
        """The oldest `count` vectors go."""
        self.vectors = self.vectors[count:].clone()
        self.first += count
        self.compute.forget(self.encoder, count)
        self.source = tuple(word for word in self.source if word.vector >= self.first)

    def restart(self, first: int) -> None:
        """All of it goes, and a recording begins at the absolute vector `first`; words are counted on."""
        model = self.weights.model
        self.encoder, self.vectors = model.encoder.open(), self.vectors[:0].clone()
        self.first, self.source, self.last_ctc = first, (), self.weights.blank

    def words_since(self, since_s: float) -> int:
        """Source words since the stream began, or those that begin at the absolute time `since_s` or later."""
        if since_s <= 0:
            return self.words
        starts, frame_s = self.weights.vocabulary.starts_word, self.weights.frame_s
        return sum(starts(word.token) and word.vector * frame_s >= since_s - 1e-6 for word in self.source)

    def words_between(self, begin: int, end: int) -> int:
        """Source words that begin at vectors [begin, end)."""
        starts = self.weights.vocabulary.starts_word
        return sum(begin <= word.vector < end and starts(word.token) for word in self.source)

    def transcript(self) -> str:
        """Greedy CTC of the kept audio."""
        return self.weights.vocabulary.decode([word.token for word in self.source]).strip()

    def word_times(self) -> list[tuple[str, float]]:
        """Recognised source words of the kept audio and the absolute time each begins to be heard."""
        vocabulary, words = self.weights.vocabulary, list[tuple[list[int], float]]()
        for piece in self.source:
            if vocabulary.starts_word(piece.token) or not words:
                words.append(([], piece.vector * self.weights.frame_s))
            words[-1][0].append(piece.token)
        return [(vocabulary.decode(tokens).strip(), at) for tokens, at in words]
