"""The weights that training changes: out of a model into a checkpoint, and back."""

from collections.abc import Mapping

from torch import Tensor

from simulst.errors import DataError
from simulst.models.speech_llm.network import SpeechLLM, stored_tensors


def trainable_state(model: SpeechLLM) -> dict[str, Tensor]:
    """Projector and decoder, of an adapted one what was added; the encoder is frozen and stored apart."""
    return {name: one for name, one in stored_tensors(model).items() if not name.startswith("encoder.")}


def base_of(model: SpeechLLM) -> str:
    """The fingerprint of the weights that an adapted decoder rests on; empty for others."""
    return model.config.base.weights if model.adapted and model.config.base is not None else ""


def fill(model: SpeechLLM, state: Mapping[str, Tensor], owner: str, *, base: str | None = None) -> None:
    """Put the weights of a checkpoint into a model, which must rest on the same `base` where one is told.

    Raises DataError, which speaks of `owner`, where they are another model's.
    """
    if base is not None and base != base_of(model):
        rests, is_on = (f"a decoder with weights {one}" if one else "no other" for one in (base, base_of(model)))
        raise DataError(f"{owner} rests on {rests}, the recipe on {is_on}; train in another work folder.")
    try:
        model.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{owner} holds weights of another shape than the recipe's model: {reason}") from error
    if differing := sorted(set(trainable_state(model)) ^ set(state)):
        raise DataError(f"{owner} is of another model than the recipe's; they differ in {differing[0]}.")
