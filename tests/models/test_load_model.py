"""Finding and loading models: every mistake is one sentence that says what to do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulst.core.translator import Evidence, Query
from simulst.errors import ModelError
from simulst.models import FAMILIES, MODELS, describe_model, describe_models, load_model, option_names
from simulst.testing.checkpoints import tiny_moonshine, tiny_whisper


@pytest.fixture(scope="module")
def moonshine_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_moonshine(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copied(moonshine_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(moonshine_dir, tmp_path / "copied"))


def sentence_of(name: str | Path, **options: object) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(name, **options)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 600
    return sentence


def test_architecture_comes_from_the_directory(moonshine_dir: Path, tmp_path: Path) -> None:
    assert load_model(moonshine_dir).name == "tiny"
    assert type(load_model(str(moonshine_dir))).__name__ == "Moonshine"
    assert type(load_model(tiny_whisper(tmp_path / "w"))).__name__ == "Whisper"


def test_loading_draws_nothing_on_the_terminal(moonshine_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_model(moonshine_dir)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_without_fairseq2_the_embedded_model_says_how_to_get_it(tmp_path: Path) -> None:
    """Where the package index has no native part, simulst installs without fairseq2; what needs it is one sentence."""
    hidden = tmp_path / "hidden.py"
    hidden.write_text(
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name.startswith('fairseq2') else found(name, *rest)\n"
        "from simulst.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, str(hidden), "translate", "examples/talk.flac"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "simulst: fairseq2, which this model is built on, is not installed; "
        "`pip install --no-deps fairseq2==0.8.1` brings what is needed of it.\n"
    )


def test_unknown_name_lists_what_there_is() -> None:
    assert sentence_of("nope") == (
        f"Unknown model 'nope'; known: {', '.join(MODELS)}, a local directory, or a hub name (owner/name) "
        f"of a supported architecture: {', '.join(FAMILIES)}; or a cascade of two, ASR+TEXT; or file.py:FAMILY; "
        "or, for text, a server http://HOST:PORT/v1#NAME."
    )


def test_absent_directory_and_file_instead_of_directory(tmp_path: Path) -> None:
    assert sentence_of(tmp_path / "no") == f"The model directory {tmp_path}/no does not exist."
    assert sentence_of("./no") == "The model directory ./no does not exist."
    (tmp_path / "f").write_text("")
    assert sentence_of(tmp_path / "f") == f"The model '{tmp_path}/f' is a file; give the directory that holds it."


def test_directories_that_are_no_model(tmp_path: Path) -> None:
    assert sentence_of(tmp_path) == f"{tmp_path} is not a model: it has neither simulst.json nor config.json."
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "bert"}')
    assert sentence_of(tmp_path) == (
        f"The architecture 'bert' of {tmp_path} is not supported; supported are: {', '.join(FAMILIES)}."
    )
    config.write_text("{}")
    assert sentence_of(tmp_path).startswith(f"The architecture 'None' of {tmp_path} is not supported")
    config.write_text("[1]")
    assert sentence_of(tmp_path) == f"{config} must hold a JSON object."
    config.write_text("{")
    assert sentence_of(tmp_path).startswith(f"{config} cannot be read: ")


def test_unknown_option_lists_the_known_ones(moonshine_dir: Path) -> None:
    assert sentence_of(moonshine_dir, nope=1) == (
        "tiny: unknown option 'nope'; known: beams, no_repeat_ngram, top_p, temperature, median_s, heads_file, encoder."
    )
    assert "task" not in option_names(moonshine_dir)
    assert {"task", "source", "beams"} <= option_names("whisper-base")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"device": "quantum"}, "Unknown device 'quantum'; known: cpu, cuda, cuda:N, mps, auto."),
        ({"device": "cuda:99"}, "Device 'cuda:99' is not available on this machine; use cpu or auto."),
        ({"device": "meta"}, "Device 'meta' is not supported; use cpu, cuda, cuda:N, mps or auto."),
        (
            {"dtype": "int3"},
            "Unknown dtype 'int3' for this model; known: float32, bfloat16, float16, int8, int4, auto.",
        ),
    ],
)
def test_unknown_device_or_dtype(moonshine_dir: Path, arguments: dict[str, str], sentence: str) -> None:
    assert sentence_of(moonshine_dir, **arguments) == sentence


def test_damaged_weights(copied: Path) -> None:
    weights = copied / "model.safetensors"
    whole = weights.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], b"\xff" * 64):
        weights.write_bytes(content)
        assert sentence_of(copied).startswith(f"The weights in {copied} cannot be loaded: ")


def test_weights_of_another_shape(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["hidden_size"] = 48
    (copied / "config.json").write_text(json.dumps(config))
    assert sentence_of(copied).startswith(f"The weights in {copied} cannot be loaded: ")


def test_missing_tensors_are_not_filled_with_noise(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copied / "model.safetensors")
    del tensors["model.encoder.conv2.weight"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    assert sentence_of(copied) == (
        f"The weights in {copied} are incomplete: 1 tensor is missing, for example model.encoder.conv2.weight."
    )


def test_pickled_weights_are_refused_without_being_opened(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    assert sentence_of(copied) == f"{copied} holds no weights (model.safetensors)."
    (copied / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert sentence_of(copied) == (
        f"{copied} holds weights that are not safetensors; only model.safetensors is loaded: convert them first."
    )


def test_missing_tokenizer(copied: Path) -> None:
    (copied / "tokenizer.json").unlink()
    assert sentence_of(copied).startswith(f"The tokenizer {copied}/tokenizer.json cannot be read: ")


@pytest.mark.slow
def test_hub_name_is_one_sentence_when_offline(tmp_path: Path) -> None:
    code = (
        "from simulst.models import load_model\nfrom simulst.errors import ModelError\n"
        "try:\n    load_model('openai/whisper-tiny')\nexcept ModelError as error:\n    print(error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "'openai/whisper-tiny' is not in the local Hugging Face cache and HF_HUB_OFFLINE is set; "
        "give a local directory instead.\n"
    )


def test_a_connection_that_breaks_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests in old releases of the hub's client, of httpx in new ones, where such an error is no OSError."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    broken = HfHubHTTPError.__mro__[1]("the server disconnected")

    def download(*_: object, **__: object) -> None:
        raise broken

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert sentence_of("someone/something") == (
        "'someone/something' cannot be fetched from the Hugging Face hub: the server disconnected"
    )


def test_descriptions_need_no_weights(moonshine_dir: Path) -> None:
    known = {info.name: info for info in describe_models()}
    assert set(known) == set(MODELS)
    whisper = known["whisper-base"]
    assert {Evidence.PREFIX, Evidence.ALIGNMENT, Evidence.NBEST} <= whisper.provides
    assert whisper.options["source"].startswith("language code of the speech such as de")
    local = describe_model(moonshine_dir)
    assert (
        local.name == "tiny"
        and local.provides == known["moonshine-tiny"].provides == load_model(moonshine_dir).provides
    )


def test_text_options_are_read_as_their_type(moonshine_dir: Path) -> None:
    from simulst.models.seq2seq.moonshine import Moonshine

    model = load_model(moonshine_dir, beams="3", top_p="0.5", heads_file="none")
    assert isinstance(model, Moonshine)
    assert (model.options.beams, model.options.top_p, model.options.heads_file) == (3, 0.5, None)


def test_half_precision_decodes(moonshine_dir: Path) -> None:
    import numpy as np

    session = load_model(moonshine_dir, dtype="bfloat16").open()
    session.extend_source(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32))
    found = session.hypothesise((), Query(max_new=3, want=frozenset({Evidence.ALIGNMENT})))[0]
    assert found.alignment is not None and found.alignment.weights.dtype == np.float32
