"""Text translation in batches, greedy or with beams: for the BLEU of checkpoints, and for German that is learned."""

from collections.abc import Sequence

import torch
from torch import Tensor

from simulst.models.speech_llm.network import SpeechLLM
from simulst.training.pieces import Pieces
from simulst.training.sample import Marks
from simulst.training.sharding import is_sharded


def translate_texts(
    model: SpeechLLM, source: Sequence[str], vocabulary: Pieces, marks: Marks, *, batch: int = 50, beams: int = 1
) -> list[str]:
    """Translation of every sentence, in order."""
    found = translations(model, source, vocabulary, marks, batch=batch, beams=beams)
    return [one[0] for one in found]


@torch.no_grad()
def translations(
    model: SpeechLLM,
    source: Sequence[str],
    vocabulary: Pieces,
    marks: Marks,
    *,
    batch: int = 50,
    beams: int = 1,
    candidates: int = 1,
) -> list[list[str]]:
    """The best candidates (at most `beams`) for every sentence, in order; the most probable first."""
    prompts = [[marks.source, *vocabulary.encode(one), marks.target] for one in source]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found = [list[str]() for _ in prompts]
    was_training = model.training
    model.eval()
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        made = _generate(model, [prompts[i] for i in rows], marks, beams, candidates)
        texts = [vocabulary.decode([token for token in ids if token != marks.eos]) for ids in made]
        for place, i in enumerate(rows):
            found[i] = texts[place * candidates : (place + 1) * candidates]
    model.train(was_training)
    return found


def _generate(model: SpeechLLM, prompts: list[list[int]], marks: Marks, beams: int, candidates: int) -> list[list[int]]:
    longest, device = max(map(len, prompts)), model.device
    ids = torch.tensor([[0] * (longest - len(one)) + one for one in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=device)
    made: Tensor = model.decoder.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=longest + longest // 2 + 10,
        do_sample=False,
        num_beams=beams,
        num_return_sequences=candidates,
        pad_token_id=marks.eos,
        eos_token_id=marks.eos,
        synced_gpus=is_sharded(model),  # a process that is done goes on for the layers that others ask for
    )
    return [[int(token) for token in row] for row in made[:, longest:].tolist()]


def text_bleu(model: SpeechLLM, pairs: Sequence[tuple[str, str]], vocabulary: Pieces, marks: Marks) -> float:
    """BLEU (sacrebleu, 13a) of greedy translations against the target side."""
    import sacrebleu

    found = translate_texts(model, [source for source, _ in pairs], vocabulary, marks)
    return float(sacrebleu.corpus_bleu(found, [[target for _, target in pairs]]).score)
