"""Text models that run here: what encoder-decoders and causal language models of transformers have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulst.core.translator import PLAIN, Draw, Evidence, FloatArray, Hypothesis, Query, SourceModel
from simulst.errors import ModelError, first_line
from simulst.models.attention import HEADS_FILE, choose_heads, middle_layer
from simulst.models.checkpoint import quiet
from simulst.models.decoding import Rules, Run, Step, to_hypothesis
from simulst.models.options import check_options, option
from simulst.models.recorded import RowsOfHeads
from simulst.models.search import RECENT_IDS, search
from simulst.models.text.source_model import TextSide
from simulst.models.text.translator import TextModel
from simulst.models.vocabulary import TOKENIZER_FILE, PieceVocabulary, read_tokenizer, sentence_piece, tokenizer_pieces

SEARCHED = frozenset({Evidence.NBEST, Evidence.LOGPROBS, Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})
"""What the search of a model that runs here can tell."""


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """How a text model that runs here decodes."""

    source: str = option("en", "language of the source: a code such as en")
    target: str = option("de", "language of the translation: a code such as de, or one of the model's own")
    beams: int = option(1, "width of the beam search; 1 is greedy", at_least=1, at_most=64)
    no_repeat_ngram: int = option(
        5, "no n-gram of this length twice in the new and the last 20 committed tokens; 0: off", at_least=0
    )
    top_p: float = option(0.95, "probability mass that samples are drawn from", above=0, at_most=1)
    temperature: float = option(1.0, "temperature of samples", above=0, at_most=10)
    heads_file: str | None = option(None, f"file of alignment heads instead of {HEADS_FILE} beside the model")

    def __post_init__(self) -> None:
        check_options(self)


class TextRun(Run, ABC):
    """Decoding of one source text. `prompt` are the target ids before the committed ones."""

    def __init__(self, rows: RowsOfHeads, columns: Tensor | None, *, every_head: bool) -> None:
        self._heads, self._columns, self._every = rows, columns, every_head

    def start(self, prompt: Sequence[int], prefix: Sequence[int]) -> tuple[Step, FloatArray | None]:
        """Feed prompt and prefix; the scores of the first new token, and the rows of the prefix."""
        logits, rows = self._feed([[*prompt, *prefix]], last=1 + len(prefix))
        if rows is None:
            return Step(logits=logits), None
        return Step(logits=logits, weights=rows[:, -1]), rows[0, :-1].cpu().numpy()

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        self.reorder(parents)
        logits, rows = self._feed([[token] for token in tokens], last=1)
        return Step(logits=logits, weights=None if rows is None else rows[:, 0])

    def _feed(self, ids: Sequence[Sequence[int]], *, last: int) -> tuple[Tensor, Tensor | None]:
        with torch.inference_mode():
            if self._columns is None:
                return self.forward(ids), None
            with self._heads.recording(self._columns, last) as recording:
                logits = self.forward(ids)
            return logits, self._heads.joined(recording, every_head=self._every)

    @abstractmethod
    def reorder(self, parents: Sequence[int]) -> None:
        """Let sequence i of the batch go on where sequence `parents[i]` stood."""

    @abstractmethod
    def forward(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Scores [batch, vocabulary] after the ids [batch][new]."""


class LocalModel(TextModel):
    """Weights of a text model of transformers; a family extends it."""

    vocabulary: PieceVocabulary
    tokens_per_second = 8.0  # of speech, for a vocabulary that was not made for the target language

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        model: Any,
        vocabulary: PieceVocabulary,
        options: LocalOptions,
        attentions: Sequence[torch.nn.Module],
        num_heads: int,
        causal: bool,
        size: int,
        ends: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__(name=name, vocabulary=vocabulary, evidence=SEARCHED)
        self.model, self.options = model, options
        default = middle_layer(len(attentions), num_heads)
        heads = choose_heads(directory, options.heads_file, default)
        self.rows = RowsOfHeads(attentions, num_heads=num_heads, heads=heads, causal=causal)
        self.device: torch.device = model.device
        mask = torch.zeros(size, dtype=torch.bool)
        mask[[token for token in vocabulary.special | ends if token < size]] = True
        mask[len(vocabulary) :] = True
        mask[vocabulary.eos] = False
        self.suppress = mask.to(self.device)

    def use_heads(self, heads: Sequence[tuple[int, int]] | None) -> list[tuple[int, int]]:
        """Read alignment from these heads, or from all; their order in `Alignment.heads`."""
        return self.rows.use(heads)

    def text_side(self) -> SourceModel:
        return LocalText(self)

    @abstractmethod
    def run(self, text: str, *, rows: bool, every_head: bool) -> tuple[TextRun, Sequence[int]]:
        """A decoding run for a source text, and the ids before the translation."""

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        """Sampled continuations of a source text, by a model that has any."""
        raise ModelError(
            f"Model {self.name} translates and does not go on with a source text; name a causal model that does, "
            "such as --set source_model=HuggingFaceTB/SmolLM2-135M."
        )


class LocalText(TextSide):
    """The text side of one stream on a model that runs here."""

    def __init__(self, model: LocalModel) -> None:
        self.model, self.evidence, self.device = model, model.evidence, str(model.device)

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        return self.model.continue_source(text, draw)

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        return [self.search_text(text, prefix, PLAIN, max_new=max_new)[0] for text in texts]

    def search_text(self, text: str, prefix: Sequence[int], query: Query, *, max_new: int) -> list[Hypothesis]:
        """Hypotheses with log-probabilities, and with rows over the words of the text where they are wanted."""
        model, words = self.model, len(text.split())
        every_head = Evidence.ALIGNMENT_HEADS in query.want
        run, prompt = model.run(text, rows=every_head or Evidence.ALIGNMENT in query.want, every_head=every_head)
        step, history = run.start(prompt, prefix)
        rules = Rules(
            eos=model.vocabulary.eos,
            max_new=max_new,
            suppress=model.suppress,
            no_repeat_ngram=model.options.no_repeat_ngram,
            recent=tuple(prefix[-RECENT_IDS:]),
        )
        found = search(run, step, rules, model.options, query, n_valid=words)
        return [
            to_hypothesis(one, history=history, n_valid=words, frame_s=1.0, start_s=0.0, logprobs=True) for one in found
        ]


def load_tokenizer(directory: Path, **options: str) -> Any:
    """The tokenizer of a local checkpoint; ModelError where it cannot be read."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # tokenizers, sentencepiece and transformers raise what they like
        raise ModelError(f"The tokenizer in {directory} cannot be loaded: {first_line(error)}") from error


def read_pieces(tokenizer: Any, directory: Path) -> tuple[list[bytes], frozenset[int]]:
    """Bytes of every target token and the special ids, of a fast tokenizer or of SentencePiece's names."""
    if (directory / TOKENIZER_FILE).is_file():
        return read_tokenizer(directory / TOKENIZER_FILE)
    if tokenizer.is_fast:
        return tokenizer_pieces(tokenizer.backend_tokenizer.to_str(), f"The tokenizer in {directory}")
    pieces = [sentence_piece(str(piece or "")) for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    return pieces, frozenset(int(token) for token in tokenizer.all_special_ids)


def ends_of(model: Any, tokenizer: Any, name: str) -> frozenset[int]:
    """Ids of which each ends an answer; ModelError where the checkpoint names none."""
    named = (model.config.to_dict().get("eos_token_id"), model.generation_config.eos_token_id, tokenizer.eos_token_id)
    ends = {int(end) for one in named for end in (one if isinstance(one, list) else [one]) if end is not None}
    if not ends:
        raise ModelError(f"{name} does not say by which token it ends an answer (eos_token_id).")
    return frozenset(ends)
