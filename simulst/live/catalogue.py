"""What a live server offers: its loaded models, and for each the policies and presets that fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulst.chosen import load_policy_with, read_settings
from simulst.core.glossary import Glossary
from simulst.core.languages import Pair, Polyglot, choose, choose_targets, pairs_of, side_by_side
from simulst.core.loaded import favouring_of
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.errors import GlossaryError, ModelError, PolicyError
from simulst.live.protocol import VERSION, Hello, Names, ProtocolError
from simulst.policies import POLICIES, LoadedPolicy, load_policy
from simulst.policies.loading import preset_names


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Sessions of one stream, one for each target, and what they are called."""

    sessions: list[Session]
    model: str
    policy: str
    pairs: list[Pair | None]

    @property
    def names(self) -> list[Names]:
        """What clients are told about each."""
        chunk_ms = self.sessions[0].chunk_ms
        languages = [(None, None) if pair is None else (pair.source, pair.target) for pair in self.pairs]
        return [
            Names(model=self.model, policy=self.policy, chunk_ms=chunk_ms, source=source, target=target)
            for source, target in languages
        ]


class Catalogue:
    """Builds sessions from names that clients send; only what is listed here can be named, never a path.

    `models` are loaded and in order of preference; `policy` is the default one, already with its settings. `glossary`
    is for streams that bring none, where model and policy take one.
    """

    def __init__(self, models: dict[str, Translator], policy: LoadedPolicy, glossary: Glossary | None = None) -> None:
        self.models, self.glossary = models, glossary
        self._others: dict[tuple[str, Pair], Translator] = {}
        self.default_model = next(iter(models))
        self.default_policy = policy.name
        self.policies: dict[str, LoadedPolicy] = {policy.name: policy}
        for name in [*POLICIES, *preset_names()]:
            self.policies.setdefault(name, load_policy(name))
        Session(models[self.default_model], policy, glossary=glossary)  # raises where they do not fit

    def fitting(self, model: str) -> list[str]:
        """Names of the policies that a model has the evidence for."""
        provides = self.models[model].provides
        return [name for name, loaded in self.policies.items() if loaded.policy.needs() <= provides]

    def open(self, hello: Hello) -> "Opened":
        """New sessions as `hello` asks for them. Raises ProtocolError."""
        name, pairs = self._choose(hello)
        fitting = self.fitting(name)
        policy = hello.policy or (self.default_policy if self.default_policy in fitting else fitting[0])
        if policy not in fitting:
            raise ProtocolError(
                "unknown_policy", f"Unknown policy {policy!r} of model {name}; GET /config lists the known ones."
            )
        loaded = self.policies[policy]
        try:
            sessions = [
                Session(
                    model,
                    loaded,
                    chunk_ms=hello.chunk_ms,
                    hypotheses=hello.hypotheses,
                    keep_transcript=hello.transcript,
                    # it is of one language: that of the first target
                    glossary=None if number else hello.glossary or self._glossary(model, loaded),
                )
                for number, model in enumerate(self._translators(name, pairs))
            ]
        except (PolicyError, GlossaryError) as error:
            raise ProtocolError("bad_value", str(error).rstrip(".") + ".") from None
        if hello.append_only and sessions[0].revises:
            raise ProtocolError(
                "unknown_policy", f"Policy {policy} takes text back, which cannot be shown here; choose another one."
            )
        return Opened(sessions=sessions, model=name, policy=policy, pairs=pairs)

    def _glossary(self, model: Translator, policy: LoadedPolicy) -> Glossary | None:
        """That of the server, where model and policy take one."""
        if self.glossary is None:
            return None
        try:
            favouring_of(self.glossary, policy, model)
        except GlossaryError:
            return None
        return self.glossary

    def _choose(self, hello: Hello) -> tuple[str, list[Pair | None]]:
        """The model, and which of its pairs of languages for each target; None where it does not tell any."""
        if hello.model is not None and hello.model not in self.models:
            raise ProtocolError(
                "unknown_model", f"This server has no model {hello.model!r}; it has {', '.join(self.models)}."
            )
        models = self.models if hello.model is None else {hello.model: self.models[hello.model]}
        try:
            if hello.targets:
                name, pairs = choose_targets(models, hello.wanted, hello.targets)
                return name, [*pairs]
            name, pair = choose(models, hello.wanted)
        except ModelError as error:
            raise ProtocolError("unknown_language", str(error)) from None
        return name, [pair or next(iter(pairs_of(self.models[name])), None)]

    def _translators(self, name: str, pairs: list[Pair | None]) -> list[Translator]:
        """A translator for each pair; those of several targets are made for this stream."""
        known = [pair for pair in pairs if pair is not None]
        return side_by_side(self.models[name], known) if len(known) > 1 else [self._model(name, pairs[0])]

    def _model(self, name: str, pair: Pair | None) -> Translator:
        """The model for a pair of its languages; made once for all streams."""
        model = self.models[name]
        if pair is None or not isinstance(model, Polyglot) or pair == model.pairs[0]:
            return model
        if (name, pair) not in self._others:
            self._others[name, pair] = model.for_pair(pair)
        return self._others[name, pair]

    def listed(self) -> list[dict[str, object]]:
        """The models, with the policies that fit and the languages of each."""
        return [
            {"name": name, "policies": self.fitting(name), "pairs": [_told(pair) for pair in pairs_of(model)]}
            for name, model in self.models.items()
        ]

    def config(self) -> dict[str, object]:
        """What `GET /config` answers."""
        described = {name: self._describe(name) for name in self.policies}
        return {
            "version": VERSION,
            "model": self.default_model,
            "policy": self.default_policy,
            "models": self.listed(),
            "policies": described,
        }

    def _describe(self, name: str) -> dict[str, object]:
        loaded = self.policies[name]
        summary = (type(loaded.policy).__doc__ or "").strip().splitlines()[0]
        return {"chunk_ms": loaded.chunk_ms, "summary": summary, "source": loaded.source}


def _told(pair: Pair) -> dict[str, str]:
    return {"source": pair.source, "target": pair.target, "task": pair.task}


def load_catalogue(
    model: str,
    *,
    policy: str,
    settings: Sequence[str] = (),
    chunk_ms: int | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    glossary: Glossary | None = None,
) -> Catalogue:
    """A catalogue of one model and one policy by their names; `settings` are KEY=VALUE as `--set` takes them."""
    from simulst.models import load_model

    chosen = read_settings(list(settings), policy=policy, model=model)
    loaded = load_policy_with(policy, chosen, chunk_ms)
    return Catalogue({model: load_model(model, device=device, dtype=dtype, **chosen.model)}, loaded, glossary)
