"""A tiny random speech LLM on disk, for tests of code that loads models."""

from pathlib import Path

SENTENCES = (
    "the cat sat on the mat",
    "a dog ran to the house",
    "die Katze saß auf der Matte",
    "ein Hund lief zum Haus",
    "we will see what the day brings",
    "wir werden sehen was der Tag bringt",
)


def make_tiny_speech_llm(
    folder: Path, *, seed: int = 0, model_type: str = "llama", tied: bool = True, brevity: float = 1.0
) -> Path:
    """Write a model of some 100k random weights and a vocabulary of 320 pieces; returns the folder.

    With `tied` the output layer is that of the token embeddings, else one of its own. Random weights hardly ever end a
    sequence; `brevity` is a factor on the embedding of its end, whose score goes further up and down.
    """
    import torch

    from simulst.models.attention import HEADS_FILE
    from simulst.models.speech_llm.encoder import BlockCausalConfig
    from simulst.models.speech_llm.network import SpeechLLM, SpeechLLMConfig, save_model, tiny_decoder_config
    from simulst.training.vocabulary import train_vocabulary

    folder.mkdir(parents=True, exist_ok=True)
    size = 340
    train_vocabulary(SENTENCES * 20, folder / "vocabulary.model", size=size)
    decoder = tiny_decoder_config(size) | {
        "model_type": model_type,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "tie_word_embeddings": tied,
    }
    encoder = BlockCausalConfig(model_dim=32, inner_dim=64, layers=2, heads=2, rotary_dim=8)
    tasks = ("read_write", "turns", "grouped", "chain", "joint")
    config = SpeechLLMConfig(encoder=encoder, projector_dim=48, decoder=decoder, tasks=tasks)
    (folder / HEADS_FILE).write_text('{"heads": [[1, 0], [1, 3], [2, 2]]}')
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = SpeechLLM(config)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(6.0)  # away from uniform, so that hypotheses depend on what is heard
        model.embeddings[decoder["eos_token_id"]] *= brevity
    torch.random.set_rng_state(state)
    save_model(model, folder, dtype=torch.float32)
    return folder
