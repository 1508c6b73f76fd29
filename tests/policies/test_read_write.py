import pytest

from simulst.core.session import Session
from simulst.core.translator import Evidence
from simulst.errors import PolicyError
from simulst.policies import load_policy
from simulst.policies.gpe_wait_k import GpeWaitK
from simulst.policies.infinite import Infinite
from simulst.policies.read_write import ReadAndWrite
from simulst.testing import Scripted, ScriptedTranslator, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d"])


def says(*pieces: str) -> Scripted:
    return Scripted(ids=WORDS.encode(pieces))


@pytest.mark.parametrize("policy", [ReadAndWrite(), Infinite()], ids=["read_write", "infinite"])
def test_all_that_the_model_writes_is_committed(policy: ReadAndWrite | Infinite) -> None:
    script = [says(), says("_a", "_b"), says(), says("_c"), says("_d")]
    session, shown = play(policy, script, WORDS, chunks=4)
    assert shown == ["", "a b", "a b", "a b c"]
    session.finish()
    assert session.text == "a b c d"
    assert session.stats.writes == 3


def test_write_caps_of_the_paper() -> None:
    assert [ReadAndWrite().write_cap(words) for words in (1, 2, 3, 487, 600)] == [52, 54, 56, 1024, 1024]


def test_gpe_wait_k_stays_k_words_behind() -> None:
    script = [says("_a", "_b", "_c", "_d")] * 5
    policy = GpeWaitK(k=2)
    _, shown = play(policy, script, WORDS, chunks=5, source_words=[1, 2, 3, 4, 5])
    assert [len(text.split()) for text in shown] == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("policy", "values", "sentence"),
    [
        (
            ReadAndWrite,
            {"latency": "x"},
            "ReadAndWrite: latency is 'x'; it must be low, low-medium, medium, medium-high or high",
        ),
        (ReadAndWrite, {"threshold": 1.0}, "ReadAndWrite: threshold is 1.0; it must be above 0 and below 1"),
        (ReadAndWrite, {"max_write": 0}, "ReadAndWrite: max_write is 0; it must be at least 1"),
        (ReadAndWrite, {"sentence_words": -1}, "ReadAndWrite: sentence_words is -1; it must be at least 0"),
        (Infinite, {"multiple": 5}, "Infinite: multiple is 5; it must be 1, 2, 3 or 4"),
        (Infinite, {"tokens_per_block": 0}, "Infinite: tokens_per_block is 0; it must be at least 1"),
    ],
)
def test_parameters_out_of_range(policy: type, values: dict[str, object], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        policy(**values)


def test_latency_presets() -> None:
    for latency in ("low", "low-medium", "medium", "medium-high", "high"):
        loaded = load_policy(f"read_write-{latency}")
        assert isinstance(loaded.policy, ReadAndWrite)
        assert loaded.policy.latency == latency


def test_models_without_the_tokens_are_refused() -> None:
    model = ScriptedTranslator(vocabulary=WORDS, provides=frozenset({Evidence.PREFIX}), name="mini")
    with pytest.raises(PolicyError, match="Policy read_write needs session_tokens, which model mini does not provide"):
        Session(model, load_policy("read_write"))
    with pytest.raises(PolicyError, match=r"history\.method = turns needs session_tokens, which the model lacks"):
        Session(model, load_policy("wait_k"), history="turns")
