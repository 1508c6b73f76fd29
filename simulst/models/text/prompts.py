"""What a language model is told so that its answer is a translation, ready for the begun answer to be put behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulst.errors import ModelError, first_line
from simulst.models.text.languages import language_name

INSTRUCTION = "Translate the following {source} text into {target}. Answer with the translation only."


def few_shot(text: str, source: str, target: str, examples: Sequence[tuple[str, str]]) -> str:
    """`English: ...` and `German:` in turns; the translation follows the last of them on its line."""
    said, answered = language_name(source), language_name(target)
    shown = "".join(f"{said}: {one}\n{answered}: {other}\n\n" for one, other in examples)
    return f"{shown}{said}: {text}\n{answered}:"


def instruction(text: str, source: str, target: str, examples: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Messages of a chat, examples as turns before the text."""
    task = INSTRUCTION.format(source=language_name(source), target=language_name(target))
    turns = [
        {"role": role, "content": content}
        for one, other in examples
        for role, content in (("user", f"{task}\n\n{one}"), ("assistant", other))
    ]
    return [*turns, {"role": "user", "content": f"{task}\n\n{text}"}]


def render_chat(tokenizer: Any, messages: Sequence[Any], *, text: str, name: str, instead: str) -> str:
    """A chat as text, up to where the answer begins; ModelError where the template fails, has no place for a begun
    answer or leaves out `text`: `instead` says what to do then."""
    try:
        begun, whole = (
            str(tokenizer.apply_chat_template(messages, add_generation_prompt=answer, tokenize=False))
            for answer in (True, False)
        )
    except Exception as error:  # templates are programs
        raise ModelError(f"The chat template of {name} fails: {first_line(error).rstrip('.')}; {instead}.") from error
    if begun == whole or text not in begun:
        raise ModelError(f"The chat template of {name} has no place for a begun answer; {instead}.")
    return begun


def read_examples(path: str | None) -> list[tuple[str, str]]:
    """Pairs of a file with `source<TAB>translation` on each line; ModelError for what is no such file."""
    if path is None:
        return []
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The examples {path} cannot be read: {error}.") from error
    pairs = [tuple(part.strip() for part in line.split("\t")) for line in lines if line.strip()]
    for at, pair in enumerate(pairs, start=1):
        if len(pair) != 2 or not all(pair):
            raise ModelError(f"{path}, example {at}: give SOURCE<TAB>TRANSLATION on each line.")
    return [(pair[0], pair[1]) for pair in pairs]
