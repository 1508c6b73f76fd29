"""A server of completions as a translator: a scripted one that answers well, badly, late or not at all."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import soundfile

from simulst import load_model
from simulst.core.favoured import Favouring
from simulst.core.glossary import parse_glossary
from simulst.core.translator import Draw, Evidence, Hypothesis, Query
from simulst.errors import ModelError
from simulst.models.text.endpoint import Endpoint, read_logprobs
from simulst.models.text.pieces import WordVocabulary
from simulst.testing import toy_audio

pytestmark = pytest.mark.slow

LINE = "Die Katze saß, auf der Matte."
CHANCES = [(" Die", -0.1), (" Kat", -0.2), ("ze", -0.3), (" saß", -0.4), (",", -0.5), (" auf der", -0.6)]
CHANCES += [(" Matte", -0.7), (".", -0.8), ("\n", -0.9)]
WANTED = frozenset({Evidence.LOGPROBS})


class Server(ThreadingHTTPServer):
    """Goes on with LINE after what stands behind `German:`; a fault is used up by one request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[str] = []
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.names = ["mt"]
        self.one_at_a_time = False
        self.form = "legacy"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(200, {"data": [{"id": name} for name in self.server.names]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((body, dict(self.headers)))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault == "drop":
            self.connection.close()
        elif fault == "half":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{")
        elif fault == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
            for _ in range(40):
                self.wfile.write(b" ")
                time.sleep(0.05)
        elif fault == "slow":
            time.sleep(1.5)
        elif fault.isdigit():
            self._answer(int(fault), {"error": {"message": "out of\nmemory"}})
        else:
            self._answer(200, FAULTY.get(fault) or {"choices": self._choices(body)})

    def _choices(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        said = body["prompt"].rpartition("German:")[2]
        rest = (" " + LINE)[len(said) :] if (" " + LINE).startswith(said) else " oh."
        count = 1 if self.server.one_at_a_time else body.get("n", 1)
        if body["temperature"]:
            rest = f" So {body['seed']}."
        said = said if rest in " " + LINE else ""
        text, tokens = "", list[tuple[str, float]]()
        for token, chance in CHANCES if rest in " " + LINE else [(rest, -3.0)]:
            token, said = token[len(said) :], said[len(token) :]
            if not token:
                continue
            if len(tokens) < body["max_tokens"]:
                tokens.append((token, chance))
                text += token.replace("\n", "")
        ended = len(tokens) < body["max_tokens"] or text == rest
        form = {"tokens": [token for token, _ in tokens], "token_logprobs": [chance for _, chance in tokens]}
        chat = {"content": [{"token": "?", "bytes": list(t.encode()), "logprob": chance} for t, chance in tokens]}
        told = {"legacy": form, "chat": chat}.get(self.server.form)
        asked = {"logprobs": told} if "logprobs" in body else {}
        return [{"text": text, "finish_reason": "stop" if ended else "length", **asked}] * count

    def _answer(self, status: int, content: object) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


FAULTY: dict[str, Any] = {
    "no json": b"<html>",
    "no choices": {"choices": []},
    "no text": {"choices": [{"message": {"content": "a"}}]},
    "others": {"choices": [{"text": " a", "logprobs": {"tokens": [" b"], "token_logprobs": [-1.0]}}]},
}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def ask(server: Server) -> Callable[..., list[Hypothesis]]:
    def call(prefix: str = "", query: Query | None = None, **options: Any) -> list[Hypothesis]:
        model = load_model(server.url, **({"retries": 0, "timeout_s": 0.5} | options))
        assert isinstance(model, Endpoint)
        session = model.open()
        session.extend_text("the cat sat on the mat .".split())
        ids = model.vocabulary.ids(model.vocabulary.cut(prefix))
        return session.hypothesise(ids, query or Query(max_new=20, want=WANTED))

    return call


def test_committed_words_are_forced_and_probabilities_are_of_words(server: Server, ask: Any) -> None:
    assert WordVocabulary().cut(" " + LINE) == [" Die", " Katze", " saß", ",", " auf", " der", " Matte", "."]
    for form in ("legacy", "chat"):
        server.form = form
        whole = ask()[0]
        assert whole.stop == "eos" and whole.next_id == WordVocabulary.EOS and len(whole.ids) == 8
        assert whole.logprobs == pytest.approx([-0.1, -0.5, -0.4, -0.5, -0.6, 0.0, -0.7, -0.8])
    rest = ask(" Die Katze saß")[0]
    assert len(rest.ids) == 5 and rest.logprobs == pytest.approx([-0.5, -0.6, 0.0, -0.7, -0.8])
    body = server.asked[-1][0]
    assert body["prompt"] == "English: the cat sat on the mat .\nGerman: Die Katze saß" and body["model"] == "mt"
    assert body["stop"] == ["\n"] and body["temperature"] == 0


def test_the_same_words_have_the_same_ids_and_their_text_back(server: Server) -> None:
    model = load_model(server.url)
    session = model.open()
    session.extend_text(["a"])  # type: ignore[attr-defined]
    first = session.hypothesise((), Query(max_new=20))[0]
    again = session.hypothesise(first.ids[:3], Query(max_new=20))[0]
    assert first.ids[3:] == again.ids and model.vocabulary.decode(first.ids) == " " + LINE
    starts = [model.vocabulary.starts_word(token) for token in first.ids]
    closes = [model.vocabulary.closes_unit(token) for token in first.ids]
    assert starts == [True, True, True, False, True, True, True, False]
    assert closes == [False, False, False, True, False, False, False, True]


def test_an_answer_that_is_cut_off_ends_before_its_unfinished_word(ask: Any, server: Server) -> None:
    cut = ask(query=Query(max_new=2))[0]  # 8 tokens of the server: up to "Matte"
    assert (len(cut.ids), cut.stop, cut.next_id) == (2, "length", None)
    server.faults = []
    model = load_model(server.url)
    found = model.open()
    choice = {"text": " Die Kat", "finish_reason": "length"}
    candidate = found.text._candidate(choice, 10, False)  # type: ignore[union-attr]
    assert model.vocabulary.decode(candidate.ids) == " Die"


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_several_hypotheses_are_the_best_and_samples_beside_it(ask: Any, server: Server, one_at_a_time: bool) -> None:
    server.one_at_a_time = one_at_a_time
    found = ask(query=Query(max_new=20, n_best=3, seed=7, want=WANTED))
    assert len(found) == 3 and found[0].score >= found[1].score >= found[2].score
    assert [body["temperature"] for body, _ in server.asked] == [0, 1.0] + [1.0] * one_at_a_time
    assert server.asked[1][0]["seed"] == 7 and server.asked[-1][0]["seed"] == (8 if one_at_a_time else 7)
    drawn = ask(query=Query(max_new=20, n_best=2, sample=True, seed=3))
    assert len(drawn) == 2


FAULTS = [
    ("drop", r"dropped the connection \(.+\)|cannot be reached \(.+\)"),
    ("half", r"dropped the connection \(its answer is cut short\)"),
    ("slow", r"did not answer within 0\.5 s"),
    ("drip", r"did not answer within 0\.5 s"),
    ("500", r"answered 500 \(out of memory\)"),
]


@pytest.mark.parametrize(("fault", "says"), FAULTS)
def test_trouble_that_may_pass_is_tried_again_and_else_a_sentence(
    ask: Any, server: Server, fault: str, says: str
) -> None:
    server.faults = [fault]
    assert len(ask(retries=1)[0].ids) == 8 and len(server.asked) == 2
    server.faults = [fault] * 2
    with pytest.raises(ModelError, match=rf"^The endpoint {server.url} ({says}) 2 times; what was committed stays\.$"):
        ask(retries=1)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("400", r"refused the request with 400 \(out of memory\)\.$"),
        ("302", r"refused the request with 302"),
        ("no json", r"answered something that is no JSON object; its URL must end where /completions begins\.$"),
        ("no choices", r"answered without choices; it must be an OpenAI-compatible server of completions\.$"),
        ("no text", r"answered a choice without text; it must be an OpenAI-compatible server of completions\.$"),
        ("others", r"gives log-probabilities of other tokens than its text has; use logprobs=false"),
    ],
)
def test_what_no_other_attempt_mends_is_a_sentence_at_once(ask: Any, server: Server, fault: str, says: str) -> None:
    server.faults = [fault] * 5
    with pytest.raises(ModelError, match=says):
        ask(retries=3)
    assert len(server.asked) == 1


def test_a_server_without_log_probabilities(ask: Any, server: Server) -> None:
    server.form = "none"
    with pytest.raises(ModelError, match=r"gives no log-probabilities; use logprobs=false, and policies that do not"):
        ask()
    assert Evidence.LOGPROBS not in load_model(server.url, logprobs=False).provides
    found = ask(query=Query(max_new=20, n_best=2), logprobs=False)
    assert [one.logprobs for one in found] == [None, None] and "logprobs" not in server.asked[-1][0]


def test_the_name_and_the_address_are_checked_when_it_is_loaded(server: Server) -> None:
    server.names = ["mt", "other"]
    with pytest.raises(ModelError, match=r"needs the name of a model behind a #, one of: mt, other\.$"):
        load_model(server.url)
    with pytest.raises(ModelError, match=r"has no model 'x'; it has: mt, other\.$"):
        load_model(server.url + "#x")
    assert load_model(server.url + "/#mt").client.address.url == server.url  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"cannot be reached \(connection refused\); what was committed stays\.$"):
        load_model("http://127.0.0.1:9/v1#x", retries=0)
    with pytest.raises(ModelError, match=r"^The endpoint http:///v1 is no address; give http://HOST:PORT/v1#MODEL\.$"):
        load_model("http:///v1#x")


def test_the_key_comes_from_the_environment_and_is_in_no_sentence(
    ask: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame-123")
    ask(key_variable="MY_KEY")
    assert server.asked[-1][1]["Authorization"] == "Bearer sesame-123"
    server.faults = ["400"]
    with pytest.raises(ModelError) as refused:
        ask(key_variable="MY_KEY")
    assert "sesame" not in str(refused.value)
    with pytest.raises(ModelError, match=r"^An endpoint's key belongs in an environment variable") as refused:
        load_model(server.url.replace("//", "//me:sesame-123@"))
    assert "sesame" not in str(refused.value)
    monkeypatch.setenv("MY_KEY", "a\nb")
    with pytest.raises(ModelError, match=r"^The key in MY_KEY holds characters that no key has\.$"):
        ask(key_variable="MY_KEY")


def test_a_prompt_of_ones_own(ask: Any, server: Server, tmp_path: Any) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("<user>{text} ({source} to {target})</user>German:\n")
    ask(prompt=str(file))
    assert server.asked[-1][0]["prompt"] == "<user>the cat sat on the mat . (en to de)</user>German:"
    file.write_text("nothing")
    with pytest.raises(ModelError, match=r"says nowhere where the source goes; put \{text\} there\.$"):
        ask(prompt=str(file))


def test_terms_that_were_heard_are_examples_in_the_prompt(server: Server) -> None:
    model = load_model(server.url)
    text = model.open().text
    assert text is not None and isinstance(model.vocabulary, WordVocabulary)
    favouring = Favouring(parse_glossary("cat\tMieze\ndog\tHund"), model.vocabulary)
    text.search_text("the cat", (), Query(favoured=favouring.favoured("the cat", ())), max_new=20)
    assert server.asked[-1][0]["prompt"] == "English: cat\nGerman: Mieze\n\nEnglish: the cat\nGerman:"


def test_texts_are_asked_together_and_sources_continued(server: Server) -> None:
    text = load_model(server.url).open().text
    assert text is not None
    found = text.translate_text(["a", "b", "c"], (), max_new=20)
    assert [len(one.ids) for one in found] == [8, 8, 8]
    assert sorted(body["prompt"].split("\n")[0] for body, _ in server.asked) == [f"English: {x}" for x in "abc"]
    assert text.continue_source("I go", Draw(n=2, max_tokens=5, seed=4)) == [" So 4.", " So 4."]


def test_scripts_without_spaces_are_cut_into_characters() -> None:
    vocabulary = WordVocabulary(spaced=False)
    assert vocabulary.cut("猫が GPU 3 に。") == ["猫", "が", " GPU", " 3", " に", "。"]
    assert vocabulary.decode(vocabulary.ids(["猫", "が"])) == "猫が"


def test_logprobs_of_unknown_form_are_none() -> None:
    assert read_logprobs([1]) is None and read_logprobs({"tokens": ["a"]}) is None
    assert read_logprobs({"tokens": ["a"], "token_logprobs": [None]}) is None


OWN = """
from pathlib import Path
from simulst.core.translator import Evidence, Translator
from simulst.models.family import ModelFamily
from simulst.testing import ToyTranslator
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Options:
    pass

def load(directory, options, /, *, name, device, dtype):
    return ToyTranslator()

FAMILY = ModelFamily(name="toy", options=Options, provides=lambda _d, _o: ToyTranslator.provides, load=load)
"""


def test_what_was_committed_stays_when_the_server_goes_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    soundfile.write(tmp_path / "a.wav", toy_audio([3, 14, 15, 9, 26, 30, 4, 8]), 16_000, subtype="FLOAT")
    command = [sys.executable, "-m", "simulst", "translate", str(tmp_path / "a.wav")]
    command += ["--model", f"{tmp_path / 'own.py'}:FAMILY+{server.url}#mt", "--policy", "wait_k-adaptive"]
    command += ["--set", "text.retries=1", "--set", "text.timeout_s=0.5", "--set", "k=1", "--chunk-ms", "640"]
    whole = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (whole.returncode, whole.stdout.strip()) == (0, LINE), whole.stderr
    assert len(server.asked) >= 4
    server.faults = [""] * 3 + ["drop", "500"] * 9
    cut = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (cut.returncode, cut.stderr.count("\n")) == (2, 1), cut.stderr
    assert cut.stderr.startswith(f"simulst: The endpoint {server.url} ") and "2 times; what was committed" in cut.stderr
    assert cut.stdout.strip() and LINE.startswith(cut.stdout.strip()) and cut.stdout.strip() != LINE
