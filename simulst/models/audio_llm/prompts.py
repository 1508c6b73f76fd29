"""The prompt of a speech LLM: ids before the audio, one mark for each of its embeddings, and ids after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from simulst.errors import ModelError
from simulst.models.audio_llm.options import Options
from simulst.models.checkpoint import read_json
from simulst.models.text.languages import language_name
from simulst.models.text.local import load_tokenizer
from simulst.models.text.prompts import render_chat

PROCESSOR_TEMPLATE = "chat_template.json"
OptionsT = TypeVar("OptionsT", bound=Options)

TRANSCRIBE = "Transcribe the {source} speech. Answer with the transcript only."
TRANSLATE = "Translate the {source} speech into {target}. Answer with the translation only."


@dataclass(frozen=True, kw_only=True)
class AudioPrompt:
    """Ids on both sides of the audio."""

    before: tuple[int, ...]
    mark: int
    """The id that stands for each embedding of the audio."""
    after: tuple[int, ...]

    def ids(self, count: int) -> tuple[int, ...]:
        """The prompt around `count` embeddings."""
        return (*self.before, *(self.mark,) * count, *self.after)


def instruction(options: Options) -> str:
    """What the model is told beside the audio: the option `prompt`, or a sentence for the task."""
    source = language_name(options.source) if options.source else ""
    told = options.prompt or (TRANSLATE if options.task == "translate" else TRANSCRIBE)
    said = told if source else told.replace("{source} ", "")
    return said.replace("{source}", source).replace("{target}", language_name(options.target))


def task_and_transcript(
    read: Callable[[OptionsT], AudioPrompt], options: OptionsT
) -> tuple[AudioPrompt, AudioPrompt | None]:
    """The prompt of the task and that of a transcript, which is not asked for beside a prompt of one's own."""
    own = options.prompt is not None
    return read(options), None if own else read(replace(options, task="transcribe"))


def chat_tokenizer(directory: Path) -> Any:
    """The tokenizer of a checkpoint with the chat template of its processor, where that has one of its own."""
    tokenizer = load_tokenizer(directory)
    path = directory / PROCESSOR_TEMPLATE
    if path.is_file():
        template = read_json(path).get("chat_template")
        if not isinstance(template, str):
            raise ModelError(f"{path} must hold a chat_template as text.")
        tokenizer.chat_template = template
    return tokenizer


def chat_prompt(tokenizer: Any, messages: Sequence[Any], *, mark: str, told: str, name: str) -> AudioPrompt:
    """The prompt that a chat template makes of `messages`; `told` with the mark in it is the whole prompt itself.

    Raises ModelError for a template that fails, cannot carry a begun answer or does not put the audio in once.
    """
    mark_id(tokenizer, mark, name)  # without its files a tokenizer has no template either, which would mislead
    if mark in told:
        return prompt_of(tokenizer, told, mark=mark, name=name)
    instead = f"give prompt=... with {mark} in it"
    if not tokenizer.chat_template:
        raise ModelError(f"{name} has no chat template; {instead}.")
    text = render_chat(tokenizer, messages, text=told, name=name, instead=instead)
    return prompt_of(tokenizer, text, mark=mark, name=name)


def prompt_of(tokenizer: Any, text: str, *, mark: str, name: str) -> AudioPrompt:
    """The prompt that is written as `text`; ModelError unless the mark of the audio is in it once."""
    token = mark_id(tokenizer, mark, name)
    ids = [int(one) for one in tokenizer(text, add_special_tokens=False).input_ids]
    if (count := ids.count(token)) != 1:
        raise ModelError(f"The prompt of {name} has {mark} {count} times, not once; give prompt=... with {mark} in it.")
    at = ids.index(token)
    return AudioPrompt(before=tuple(ids[:at]), mark=token, after=tuple(ids[at + 1 :]))


def mark_id(tokenizer: Any, mark: str, name: str) -> int:
    """The id of the mark of the audio; ModelError where the tokenizer does not know it."""
    known: dict[str, int] = tokenizer.get_vocab()
    if mark not in known:
        raise ModelError(
            f"The tokenizer of {name} does not know {mark}, the mark of the audio: it is another model's, or its files "
            "are not there."
        )
    return known[mark]
