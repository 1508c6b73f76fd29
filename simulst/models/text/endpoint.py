"""Any OpenAI-compatible server of completions as a translator of text: vLLM, SGLang, llama.cpp, hosted ones.

`--model http://127.0.0.1:8080/v1#NAME`, or as the right half of a cascade. The server's tokens are never used: the
text is cut into words here (`WordVocabulary`), so that committed words can be forced as text, whatever its tokeniser.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulst.core.glossary import Term
from simulst.core.translator import PLAIN, Draw, Evidence, Hypothesis, Query, SourceModel
from simulst.errors import ModelError
from simulst.models.decoding import Candidate
from simulst.models.family import ModelFamily
from simulst.models.options import check_options, option
from simulst.models.text.completions import Client, parse_address
from simulst.models.text.languages import is_spaced
from simulst.models.text.pieces import WordVocabulary
from simulst.models.text.prompts import few_shot, read_examples
from simulst.models.text.source_model import TextSide
from simulst.models.text.translator import TEXT, TextModel

TOKENS_PER_WORD = 4
"""Most tokens of the server that a word of the answer is given."""
AT_ONCE = 16
"""Requests that are made together; the server batches them."""


@dataclass(frozen=True, kw_only=True)
class Options:
    source: str = option("en", "language of the source: a code such as en, or a name")
    target: str = option("de", "language of the translation: a code such as de, or a name")
    examples: str | None = option(None, "file of examples in the prompt, SOURCE<TAB>TRANSLATION on each line")
    prompt: str | None = option(
        None, "file of a prompt with {source}, {target} and {text} in it, after which the translation begins"
    )
    timeout_s: float = option(20.0, "seconds that a request may take", above=0, at_most=600)
    retries: int = option(2, "how often a request that failed is made again", at_least=0, at_most=20)
    key_variable: str = option("SIMULST_ENDPOINT_KEY", "environment variable that holds the server's key")
    logprobs: bool = option(True, "ask for log-probabilities; false for a server that has none")
    top_p: float = option(0.95, "probability mass that samples are drawn from", above=0, at_most=1)
    temperature: float = option(1.0, "temperature of samples", above=0, at_most=10)

    def __post_init__(self) -> None:
        check_options(self)


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Endpoint":
    """The model at an address; ModelError where the server is away or has no such model."""
    address = parse_address(name)
    client = Client(
        address=address, timeout_s=options.timeout_s, retries=options.retries, key_variable=options.key_variable
    )
    known = client.models()
    if address.model and known and address.model not in known:
        raise ModelError(f"The endpoint {address.url} has no model '{address.model}'; it has: {', '.join(known[:20])}.")
    if not address.model and len(known) != 1:
        listed = f"one of: {', '.join(known[:20])}" if known else "its name"
        raise ModelError(f"The endpoint {address.url} needs the name of a model behind a #, {listed}.")
    if not address.model:
        client = Client(**{**vars(client), "address": parse_address(f"{address.url}#{known[0]}")})
    return Endpoint(name, client, options)


class Endpoint(TextModel):
    """A model on a server. Nothing of a stream is kept there but what the server caches by itself."""

    vocabulary: WordVocabulary

    def __init__(self, name: str, client: Client, options: Options) -> None:
        evidence = {Evidence.NBEST, Evidence.LOGPROBS} if options.logprobs else {Evidence.NBEST}
        super().__init__(
            name=name, vocabulary=WordVocabulary(spaced=is_spaced(options.target)), evidence=frozenset(evidence)
        )
        self.client, self.options = client, options
        self.examples, self.template = read_examples(options.examples), _read_prompt(options.prompt)

    def text_side(self) -> SourceModel:
        return EndpointText(self)

    def prompt(self, text: str, prefix: Sequence[int], terms: Iterable[Term] = ()) -> str:
        """What the server is to go on with: examples, terms as further ones, the source, and what was committed."""
        if self.template is None:
            shown = [*self.examples, *((term.source, term.target) for term in terms)]
            begun = few_shot(text, self.options.source, self.options.target, shown)
        else:
            begun = self.template.replace("{source}", self.options.source).replace("{target}", self.options.target)
            begun = begun.replace("{text}", text)
        said = self.vocabulary.decode(prefix)
        return begun + (said if not said or begun[-1:].isspace() or said[0].isspace() else f" {said}")


class EndpointText(TextSide):
    """The text side of one stream on a server."""

    def __init__(self, model: Endpoint) -> None:
        self.model, self.evidence = model, model.evidence

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        """Sampled continuations of the text, each up to a line break."""
        drawing = {"temperature": draw.temperature, "top_p": draw.top_p, "seed": draw.seed}
        choices = self._choices({"prompt": text, "max_tokens": draw.max_tokens, "stop": ["\n"], **drawing}, draw.n)
        return [str(one["text"]).split("\n")[0].rstrip() for one in choices]

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        """The likeliest translations, asked for at the same time."""
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, max(1, len(texts)))) as pool:
            return [
                found[0]
                for found in pool.map(lambda text: self.search_text(text, prefix, PLAIN, max_new=max_new), texts)
            ]

    def search_text(self, text: str, prefix: Sequence[int], query: Query, *, max_new: int) -> list[Hypothesis]:
        """The likeliest translation and, where several are wanted, samples beside it; best first."""
        scored = self.model.options.logprobs and (Evidence.LOGPROBS in query.want or query.n_best > 1)
        request: dict[str, object] = {
            "prompt": self.model.prompt(text, prefix, query.favoured.heard if query.favoured else ()),
            "max_tokens": TOKENS_PER_WORD * max_new,
            "stop": ["\n"],
            **({"logprobs": 1} if scored else {}),
        }
        drawn = query.n_best if query.sample else query.n_best - 1
        choices = [] if query.sample else self._choices({**request, "temperature": 0}, 1)
        if drawn:
            options = self.model.options
            drawing = {"temperature": options.temperature, "top_p": options.top_p, "seed": query.seed}
            choices += self._choices({**request, **drawing}, drawn)
        found = [self._candidate(one, max_new, scored) for one in choices]
        if scored:
            found.sort(key=lambda one: -one.score)
        gated = found if query.gate is None else [one.gated(query.gate, 0) for one in found]
        return [
            Hypothesis(
                ids=one.ids,
                stop=one.stop,
                next_id=one.next_id,
                logprobs=one.logprobs if scored else None,
                score=one.score,
            )
            for one in gated
        ]

    def _choices(self, request: dict[str, object], count: int) -> list[dict[str, Any]]:
        """That many completions; servers that give one at a time are asked again with other seeds."""
        found = self.model.client.complete({**request, "n": count} if count > 1 else request)[:count]
        seed = request.get("seed", 0)
        while len(found) < count:
            again = {**request, "seed": (seed if isinstance(seed, int) else 0) + len(found)}
            found += self.model.client.complete(again)[: count - len(found)]
        return found

    def _candidate(self, choice: dict[str, Any], max_new: int, scored: bool) -> Candidate:
        """A completion as words; one that was cut off by its length ends before the word that is unfinished."""
        vocabulary, text = self.model.vocabulary, str(choice["text"]).split("\n")[0]
        pieces = vocabulary.cut(text)
        ended = choice.get("finish_reason") != "length" and len(pieces) <= max_new
        if choice.get("finish_reason") == "length" and "\n" not in str(choice["text"]) and len(pieces) <= max_new:
            pieces = pieces[:-1]
        pieces = pieces[:max_new]
        chances = self._chances(choice, pieces, text) if scored else [0.0] * len(pieces)
        return Candidate(
            ids=vocabulary.ids(pieces),
            logprobs=tuple(chances),
            total=sum(chances),
            stop="eos" if ended else "length",
            next_id=vocabulary.eos if ended else None,
        )

    def _chances(self, choice: dict[str, Any], pieces: Sequence[str], text: str) -> list[float]:
        """Log-probability of each word: those of its tokens added up."""
        tokens = read_logprobs(choice.get("logprobs"))
        if tokens is None:
            raise ModelError(
                f"The endpoint {self.model.client.address.url} gives no log-probabilities; use logprobs=false, and "
                "policies that do not need them."
            )
        said = b"".join(token for token, _ in tokens)
        if not said.startswith(text.encode()):
            raise ModelError(
                f"The endpoint {self.model.client.address.url} gives log-probabilities of other tokens than its text "
                "has; use logprobs=false, and policies that do not need them."
            )
        ends, end = [], 0
        for piece in pieces:
            end += len(piece.encode())
            ends.append(end)
        chances, at = [0.0] * len(pieces), 0
        for token, chance in tokens:
            word = next((i for i, end in enumerate(ends) if at < end), None)
            if word is not None:
                chances[word] += chance
            at += len(token)
        return chances


def read_logprobs(given: Any) -> list[tuple[bytes, float]] | None:
    """Bytes and log-probability of each token, of the form of completions or of chats (llama.cpp); None for neither."""
    if not isinstance(given, dict):
        return None
    try:
        if isinstance(given.get("content"), list):
            return [(_bytes(one), float(one["logprob"])) for one in given["content"]]
        pairs = zip(given["tokens"], given["token_logprobs"], strict=True)
        return [(str(token).encode(), float(chance)) for token, chance in pairs]
    except (KeyError, TypeError, ValueError):
        return None


def _bytes(token: dict[str, Any]) -> bytes:
    return bytes(token["bytes"]) if token.get("bytes") is not None else str(token["token"]).encode()


def _read_prompt(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The prompt {path} cannot be read: {error}.") from error
    if "{text}" not in text:
        raise ModelError(f"The prompt {path} says nowhere where the source goes; put {{text}} there.")
    return text.removesuffix("\n")


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return TEXT | {Evidence.NBEST} | ({Evidence.LOGPROBS} if options.logprobs else set())


FAMILY = ModelFamily(
    name="endpoint",
    hub="http://127.0.0.1:8080/v1",
    description="a server of completions (OpenAI's form) that translates text",
    options=Options,
    provides=_provides,
    load=load,
)
