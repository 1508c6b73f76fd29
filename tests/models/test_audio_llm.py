"""Speech LLMs against the library itself: what they say, scores and rows over the audio, on random weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from simulst import Session, load_model, load_policy
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Hypothesis, Query
from simulst.errors import ModelError, SimulstError
from simulst.models.audio_llm.granite_speech import features_of
from simulst.policies import POLICIES
from simulst.testing.audio_checkpoints import (
    CHATML,
    tiny_granite_speech,
    tiny_phi4_multimodal,
    tiny_qwen2_audio,
    tiny_voxtral,
)

pytestmark = pytest.mark.slow

MAKERS: dict[str, Callable[[Path], Path]] = {
    "qwen2_audio": tiny_qwen2_audio,
    "voxtral": tiny_voxtral,
    "granite_speech": tiny_granite_speech,
    "phi4_multimodal": tiny_phi4_multimodal,
}
EACH = frozenset({Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS, Evidence.LOGPROBS})
Loaded = Callable[[str], tuple[Any, Path]]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    kept: dict[str, tuple[Any, Path]] = {}

    def load(kind: str) -> tuple[Any, Path]:
        if kind not in kept:
            directory = MAKERS[kind](tmp_path_factory.mktemp("audio") / kind)
            kept[kind] = load_model(directory, no_repeat_ngram=0), directory
        return kept[kind]

    return load


def heard(model: Any, samples: FloatArray) -> Any:
    session = model.open()
    session.extend_source(samples)
    return session


def inputs(kind: str, model: Any, samples: FloatArray) -> tuple[int, dict[str, Tensor]]:
    """How many embeddings the library's own processing makes of the audio, and what it gives the model."""
    from transformers import Phi4MultimodalFeatureExtractor, WhisperFeatureExtractor

    if kind == "phi4_multimodal":
        given = dict(Phi4MultimodalFeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt"))
        return int(given["audio_embed_sizes"][0]), given
    if kind == "granite_speech":
        features = features_of(torch.from_numpy(samples))
        return -(-features.shape[1] // 15) * 3, {"input_features": features}
    extractor = WhisperFeatureExtractor(feature_size=128)
    told = {"sampling_rate": 16_000, "return_tensors": "pt", "return_attention_mask": True}
    if kind == "qwen2_audio":
        found = extractor(samples, padding="max_length", **told)
        length = int(found.attention_mask.sum())
        mask = {"feature_attention_mask": found.attention_mask}
        return (((length - 1) // 2 + 1) - 2) // 2 + 1, {"input_features": found.input_features, **mask}
    found = extractor(samples, padding=True, truncation=False, pad_to_multiple_of=480_000, **told)
    blocks = found.input_features.reshape(128, -1, 3000).transpose(0, 1)
    return 375 * len(blocks), {"input_features": blocks}


def library(kind: str, directory: Path) -> Any:
    from transformers import (
        GraniteSpeechForConditionalGeneration,
        Phi4MultimodalForCausalLM,
        Qwen2AudioForConditionalGeneration,
        VoxtralForConditionalGeneration,
    )

    kinds: dict[str, Any] = {
        "qwen2_audio": Qwen2AudioForConditionalGeneration,
        "voxtral": VoxtralForConditionalGeneration,
        "granite_speech": GraniteSpeechForConditionalGeneration,
        "phi4_multimodal": Phi4MultimodalForCausalLM,
    }
    return kinds[kind].from_pretrained(directory, attn_implementation="eager").eval()


def generated(eager: Any, model: Any, prompt: tuple[int, ...], given: dict[str, Tensor], *, new: int) -> list[int]:
    ids = torch.tensor([prompt])
    banned = [i for i, no in enumerate(model.suppress.tolist()) if no]
    told = {
        "max_new_tokens": new,
        "suppress_tokens": banned,
        "do_sample": False,
        "attention_mask": torch.ones_like(ids),
    }
    with torch.no_grad():
        found = eager.generate(input_ids=ids, **given, **told)
    return [int(one) for one in found[0, len(prompt) :]]


def close(found: Hypothesis, other: Hypothesis) -> None:
    assert found.ids == other.ids and found.logprobs is not None and other.logprobs is not None
    assert found.alignment is not None and other.alignment is not None
    np.testing.assert_allclose(found.logprobs, other.logprobs, atol=1e-4)
    np.testing.assert_allclose(found.alignment.weights, other.alignment.weights, atol=1e-4)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_it_says_what_generate_says(loaded: Loaded, noise: FloatArray, kind: str) -> None:
    model, directory = loaded(kind)
    count, given = inputs(kind, model, noise)
    expected = generated(library(kind, directory), model, model.prompts.ids(count), given, new=8)
    found = heard(model, noise).hypothesise((), Query(max_new=8))[0].ids
    assert len(expected) == 8 and list(found) == expected


@pytest.mark.parametrize("kind", list(MAKERS))
def test_log_probabilities_and_rows_are_the_librarys(loaded: Loaded, noise: FloatArray, kind: str) -> None:
    model, directory = loaded(kind)
    session = heard(model, noise)
    first = session.hypothesise((), Query(max_new=7))[0].ids
    found = session.hypothesise(first[:3], Query(max_new=4, want=EACH))[0]
    assert found.ids == first[3:] and found.alignment is not None and found.alignment.heads is not None
    count, given = inputs(kind, model, noise)
    prompt = model.prompts.ids(count)
    with torch.no_grad():
        output = library(kind, directory)(
            input_ids=torch.tensor([[*prompt, *first]]),
            attention_mask=torch.ones(1, len(prompt) + 7, dtype=torch.long),
            output_attentions=True,
            **given,
        )
    scores = output.logits[0, len(prompt) - 1 :] / model.scale
    scores[:, model.vocabulary.eos] = scores[:, model.ends].logsumexp(-1)
    log_probs = scores.masked_fill(model.suppress, -torch.inf).log_softmax(-1)
    assert found.logprobs == pytest.approx([float(log_probs[3 + i, one]) for i, one in enumerate(found.ids)], abs=1e-4)
    columns = slice(len(model.prompts.before), len(model.prompts.before) + found.alignment.n_valid)
    rows = torch.stack([output.attentions[layer][0, head] for layer, head in model.attention.heads])
    rows = rows[:, len(prompt) - 1 : -1, columns]
    np.testing.assert_allclose(found.alignment.heads, rows.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.alignment.weights, rows.mean(0).numpy(), atol=1e-4)
    assert found.alignment.weights.shape == (7, found.alignment.n_valid) and found.alignment.history == 3
    seconds = {"qwen2_audio": 0.04, "voxtral": 0.08, "granite_speech": 0.1, "phi4_multimodal": 0.08}[kind]
    assert model.frame_s == seconds and found.alignment.n_valid == round(4 / seconds)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_what_is_kept_of_the_prompt_changes_nothing(loaded: Loaded, noise: FloatArray, kind: str) -> None:
    model = loaded(kind)[0]
    session = heard(model, noise[:40_000])
    before = session.hypothesise((), Query(max_new=6, want=EACH))[0]
    computed = session.prompt_cache.computed
    beams = session.hypothesise((), Query(max_new=6, n_best=3, want=EACH))
    assert len({one.ids for one in beams}) == 3 and beams[0].score >= beams[1].score >= beams[2].score
    close(session.hypothesise((), Query(max_new=6, want=EACH))[0], before)
    assert session.prompt_cache.computed == computed, "nothing of the prompt is computed twice"
    session.extend_source(noise[40_000:])
    close(*(one.hypothesise(before.ids[:2], Query(max_new=5, want=EACH))[0] for one in (session, heard(model, noise))))
    again = session.hypothesise(beams[1].ids[:2], Query(max_new=4, want=EACH))[0]
    close(again, heard(model, noise).hypothesise(beams[1].ids[:2], Query(max_new=4, want=EACH))[0])
    session.drop_source(1.5)
    start = round(session.start_s * 16_000)
    dropped = heard(model, noise[start:]).hypothesise((), Query(max_new=5, want=EACH))[0]
    close(session.hypothesise((), Query(max_new=5, want=EACH))[0], dropped)


def test_voxtral_encodes_a_stretch_that_is_over_once(loaded: Loaded, noise: FloatArray) -> None:
    model, directory = loaded("voxtral")
    long = np.concatenate([noise * level for level in np.linspace(1.0, 0.4, 9)])
    session = heard(model, long[:500_000])
    session.hypothesise((), Query(max_new=2))
    first, computed = session._blocks[0][1], session.prompt_cache.computed
    session.extend_source(long[500_000:])
    found = session.hypothesise((), Query(max_new=6, want=EACH))[0]
    assert session._blocks[0][1] is first and len(session._blocks) == 2
    assert session.prompt_cache.computed - computed == 375 + len(model.prompts.after) - 1
    close(found, heard(model, long).hypothesise((), Query(max_new=6, want=EACH))[0])
    count, given = inputs("voxtral", model, long)
    expected = generated(library("voxtral", directory), model, model.prompts.ids(count), given, new=6)
    assert count == 750 and list(found.ids) == expected


def test_voxtral_may_be_given_less_silence(loaded: Loaded, noise: FloatArray) -> None:
    model: Any = load_model(loaded("voxtral")[1], padding_s=2)
    assert model.encoder.encode(noise).states.shape[1] == 75
    assert model.encoder.encode(noise[:8000]).n_valid == 7


def test_features_of_granite_are_those_of_torchaudio() -> None:
    """The numbers are those of `GraniteSpeechFeatureExtractor` with torchaudio 2.11."""
    at = np.arange(23_456)
    features = features_of(torch.from_numpy((0.3 * np.sin(at * at * 1e-5)).astype(np.float32)))
    assert features.shape == (1, 73, 160) and float(features.mean()) == pytest.approx(-0.0254884, abs=1e-5)
    assert features[0, 3, :4].tolist() == pytest.approx([1.6573511, 1.6713760, 1.6925671, 1.5377017], abs=1e-4)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_offline_in_chunks_is_the_whole(loaded: Loaded, noise: FloatArray, kind: str) -> None:
    model, texts = loaded(kind)[0], []
    for pieces in (1, 7):
        session = Session(model, load_policy("offline"), chunk_ms=640)
        for piece in np.array_split(noise, pieces):
            session.feed(piece)
        session.finish()
        texts.append(session.text)
    assert texts[0] == texts[1] != ""


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_runs_or_refuses_in_a_sentence(loaded: Loaded, noise: FloatArray, kind: str, policy: str) -> None:
    model, chosen = loaded(kind)[0], load_policy(policy)
    lacks = chosen.policy.needs() - model.provides
    try:
        session = Session(model, chosen, chunk_ms=640)
        session.feed(noise[:20_000])
        session.finish()
    except SimulstError as refused:
        assert lacks and "does not provide" in str(refused)
    else:
        assert not lacks and session.text


def test_what_the_models_are_told(loaded: Loaded) -> None:
    qwen, voxtral, granite, phi = (loaded(kind)[1] for kind in MAKERS)

    def told(directory: Path, **options: Any) -> str:
        model: Any = load_model(directory, **options)
        tokenizer_pieces = [*model.prompts.before, *model.prompts.after]
        return str(model.vocabulary.decode(tokenizer_pieces))

    assert "Translate the speech into German. Answer with the translation only." in told(qwen)
    assert "Translate the English speech into French." in told(granite, source="en", target="fr")
    assert told(voxtral, task="transcribe", source="en") == "lang:en" and told(voxtral, task="transcribe") == ""
    assert "Write {down} English." in told(qwen, prompt="Write {down} {source}.", source="en")
    raw: Any = load_model(granite, prompt="<|audio|>{target}:")
    assert raw.prompts.before == () and raw.vocabulary.decode(raw.prompts.after) == "German:"
    assert load_model(qwen, target="ja").vocabulary.spaced is False
    assert told(phi, prompt="Say it in {target}.") == "Say it in German."
    raw = load_model(phi, prompt="<|audio|>{target}:")
    assert raw.prompts.before == () and raw.vocabulary.decode(raw.prompts.after) == "German:"


def test_a_transcript_is_asked_for_by_itself(loaded: Loaded, noise: FloatArray) -> None:
    model, directory = loaded("qwen2_audio")
    writer = load_model(directory, task="transcribe", no_repeat_ngram=0)
    cap = Query(max_new=8 * 4 + 20)
    assert (
        heard(model, noise).transcript()
        == writer.vocabulary.decode(heard(writer, noise).hypothesise((), cap)[0].ids).strip()
    )


def test_what_cannot_be_loaded_is_a_sentence(tmp_path: Path) -> None:
    broken = {
        r"sealed has no place for a begun answer; give prompt=\.\.\. with <\|AUDIO\|> in it\.$": (
            tiny_qwen2_audio(tmp_path / "sealed", template=CHATML.split("{% if add_generation")[0])
        ),
        r"^The chat template of failing fails: no; give prompt=": (
            tiny_qwen2_audio(tmp_path / "failing", template="{{ raise_exception('no') }}")
        ),
        r"^bare has no chat template; give prompt=": tiny_qwen2_audio(tmp_path / "bare", template=None),
        r"^The prompt of deaf has <\|AUDIO\|> 0 times, not once": (
            tiny_qwen2_audio(tmp_path / "deaf", template=CHATML.replace("<|AUDIO|>", ""))
        ),
        r"^The tokenizer of other does not know <\|AUDIO\|>, the mark of the audio: it is": (
            tiny_qwen2_audio(tmp_path / "other", audio=False)
        ),
    }
    for sentence, directory in broken.items():
        with pytest.raises(ModelError, match=sentence):
            load_model(directory)
    told: Any = load_model(tmp_path / "bare", prompt="<|audio_bos|><|AUDIO|><|audio_eos|>Say it in {target}:")
    assert told.prompts.before == (3,) and told.open().transcript() == ""
    (tmp_path / "bare" / "chat_template.json").write_text(json.dumps({"chat_template": CHATML}))
    told = load_model(tmp_path / "bare")
    assert "Translate the speech" in told.vocabulary.decode(told.prompts.after)
    (tmp_path / "bare" / "chat_template.json").write_text("{}")
    with pytest.raises(ModelError, match=r"bare/chat_template\.json must hold a chat_template as text\.$"):
        load_model(tmp_path / "bare")
    (tmp_path / "bare" / "chat_template.json").unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "bare" / name).unlink()
    with pytest.raises(ModelError, match=r"^The tokenizer of bare does not know .* or its files are not there\.$"):
        load_model(tmp_path / "bare")
    adapted = tiny_granite_speech(tmp_path / "adapted")
    (adapted / "adapter_config.json").write_text("{}")
    with pytest.raises(
        ModelError, match=r"adapted holds an adapter (\(LoRA\), which needs peft: pip|without its weights)"
    ):
        load_model(adapted)


def test_granite_hears_with_its_adapter(tmp_path: Path, noise: FloatArray) -> None:
    peft = pytest.importorskip("peft")
    directory = tiny_granite_speech(tmp_path / "granite")
    plain, base = load_model(directory), (directory / "model.safetensors").read_bytes()
    eager = library("granite_speech", directory)
    torch.manual_seed(0)
    layers = r".*language_model.*(q_proj|v_proj)"
    eager.add_adapter(peft.LoraConfig(r=4, target_modules=layers, init_lora_weights=False))
    eager.save_pretrained(str(directory))
    (directory / "model.safetensors").write_bytes(base)
    adapted = load_model(directory, no_repeat_ngram=0)
    found = heard(adapted, noise).hypothesise((), Query(max_new=8))[0].ids
    assert found != heard(plain, noise).hypothesise((), Query(max_new=8))[0].ids
    count, given = inputs("granite_speech", adapted, noise)
    told: Any = adapted
    whole = library("granite_speech", directory)
    assert list(found) == generated(whole, told, told.prompts.ids(count), given, new=8)
    with pytest.raises(ModelError, match=r"^Unknown dtype 'int8' for this model"):
        load_model(directory, dtype="int8")
    (directory / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match=r"^The adapter in .*granite cannot be used: "):
        load_model(directory)


def test_an_adapter_beside_a_model_that_takes_none_is_refused(tmp_path: Path) -> None:
    directory = tiny_qwen2_audio(tmp_path / "qwen")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (directory / name).write_text("{}")
    with pytest.raises(ModelError, match=r"qwen (holds an adapter \(LoRA\), which needs peft|is not used for such)"):
        load_model(directory)
