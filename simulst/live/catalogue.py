"""What a live server offers: its loaded models, and for each the policies and presets that fit."""

from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.errors import PolicyError
from simulst.live.protocol import VERSION, Hello, ProtocolError
from simulst.policies import POLICIES, LoadedPolicy, load_policy
from simulst.policies.loading import preset_names


class Catalogue:
    """Builds sessions from names that clients send; only what is listed here can be named, never a path.

    `models` are loaded and in order of preference; `policy` is the default one, already with its settings.
    """

    def __init__(self, models: dict[str, Translator], policy: LoadedPolicy) -> None:
        self.models = models
        self.default_model = next(iter(models))
        self.default_policy = policy.name
        self.policies: dict[str, LoadedPolicy] = {policy.name: policy}
        for name in [*POLICIES, *preset_names()]:
            self.policies.setdefault(name, load_policy(name))
        Session(models[self.default_model], policy)  # raises where they do not fit

    def fitting(self, model: str) -> list[str]:
        """Names of the policies that a model has the evidence for."""
        provides = self.models[model].provides
        return [name for name, loaded in self.policies.items() if loaded.policy.needs() <= provides]

    def session(self, hello: Hello) -> tuple[Session, str, str]:
        """A new session as `hello` asks for it, and the names of its model and policy. Raises ProtocolError."""
        model = hello.model or self.default_model
        if model not in self.models:
            raise ProtocolError("unknown_model", f"Unknown model {model!r}; GET /config lists the known ones.")
        fitting = self.fitting(model)
        policy = hello.policy or (self.default_policy if self.default_policy in fitting else fitting[0])
        if policy not in fitting:
            raise ProtocolError(
                "unknown_policy", f"Unknown policy {policy!r} of model {model}; GET /config lists the known ones."
            )
        try:
            session = Session(
                self.models[model],
                self.policies[policy],
                chunk_ms=hello.chunk_ms,
                hypotheses=hello.hypotheses,
                keep_transcript=hello.transcript,
            )
        except PolicyError as error:
            raise ProtocolError("bad_value", str(error).rstrip(".") + ".") from None
        return session, model, policy

    def config(self) -> dict[str, object]:
        """What `GET /config` answers."""
        described = {name: self._describe(name) for name in self.policies}
        return {
            "version": VERSION,
            "model": self.default_model,
            "policy": self.default_policy,
            "models": [{"name": name, "policies": self.fitting(name)} for name in self.models],
            "policies": described,
        }

    def _describe(self, name: str) -> dict[str, object]:
        loaded = self.policies[name]
        summary = (type(loaded.policy).__doc__ or "").strip().splitlines()[0]
        return {"chunk_ms": loaded.chunk_ms, "summary": summary, "source": loaded.source}
