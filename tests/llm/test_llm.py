"""The chat client against a server that refuses what real servers refuse."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fakes.chat import ChatServer, Fault, completion
from limner.errors import InputError, LimnerError, UsageError
from limner.llm import Client, Endpoint, EndpointError, find_endpoint, picture, shown, system, user
from limner.llm.endpoint import clean_url

KEY = "sk-very-secret-0123456789"
FAST = {"first_wait_s": 0.01, "longest_wait_s": 0.05}


def client_of(server: ChatServer, key: str | None = None, **limits: float) -> Client:
    endpoint = Endpoint(server.url, "tiny-vl", key, "LIMNER_LLM_KEY" if key else None)
    return Client(endpoint, {**FAST, **limits})


def png(width: int = 60, height: int = 40) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (width, height), (200, 30, 30))
    exif = Image.Exif()
    exif[0x010E] = "home address"
    image.save(out, "PNG", exif=exif)
    return out.getvalue()


def test_a_picture_and_a_question_come_back_as_a_reply(tmp_path: Path) -> None:
    file = tmp_path / "take.png"
    file.write_bytes(png(2000, 1000))
    with ChatServer(lambda b: f"{len(b['messages'])} messages", key=KEY) as server:
        with client_of(server, KEY) as client:
            messages = [system("You caption."), user("What is it?", picture(file), picture(png()))]
            reply = client.chat(messages, temperature=0.6, max_tokens=50)
            assert client.models() == ["tiny-vl"]
        assert reply.text == "2 messages" and reply.tokens_out == 7 and not reply.cut
        path, headers, body = server.requests[0]
        assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
        assert body == client.body(messages, temperature=0.6, max_tokens=50)
        first, second = server.pictures()
    assert first.size == (1024, 512) and second.size == (60, 40)
    assert not first.getexif() and not second.getexif()
    told = str(shown(body))
    assert "bytes>" in told and len(told) < 600 and KEY not in told
    with pytest.raises(InputError, match="cannot be read"):
        picture(b"no picture")


def test_a_busy_endpoint_is_asked_again_and_a_dead_one_is_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    faults = [Fault(429, headers={"Retry-After": "0"}), Fault(503), Fault(0)]
    with ChatServer(faults=faults) as server, client_of(server) as client:
        assert client.chat([user("hello")]).text == "a picture"
        assert len(server.requests) == 4
        server.faults = [Fault(500)] * 9
        with pytest.raises(EndpointError, match="500: the engine is overloaded") as told:
            client.chat([user("hello")])
        assert told.value.status == 500 and len(server.requests) == 8
        server.faults = [Fault(429, "You exceeded your quota", "insufficient_quota")] * 2
        with pytest.raises(EndpointError, match="quota"):
            client.chat([user("hello")])
        assert len(server.requests) == 9  # no credit: asking again is of no use
        url = server.url
    with (
        Client(Endpoint(url, "tiny-vl"), {**FAST, "attempts": 2}) as client,
        pytest.raises(EndpointError, match="cannot be reached") as told,
    ):
        client.chat([user("hello")])
    assert told.value.where == url and told.value.exit_code == 3
    assert capfd.readouterr().err == ""


def test_a_slow_endpoint_ends_at_the_limit() -> None:
    with (
        ChatServer(faults=[Fault(200, delay=0.6)]) as server,
        client_of(server, answer_s=0.15, attempts=1) as client,
        pytest.raises(EndpointError, match="in time"),
    ):
        client.chat([user("hello")])


def test_settings_a_model_refuses_are_left_out_and_told() -> None:
    says = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    faults = [
        Fault(400, says, "unsupported_parameter", "max_tokens"),
        Fault(400, "Unsupported value: 'temperature'", "unsupported_value", "temperature"),
    ]
    with ChatServer(faults=faults) as server, client_of(server) as client:
        reply = client.chat([user("hello")], temperature=0.2, max_tokens=9)
        assert reply.dropped == ("temperature",)
        assert server.requests[-1][2]["max_completion_tokens"] == 9
        with pytest.raises(EndpointError, match="Unrecognized"):
            client.chat([user("hello")], extra={"nonsense": 1})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"<html>hello</html>", "no JSON"),
        (b"[1, 2]", "no object"),
        (b'{"choices": []}', "choices"),
        (b'{"error": "model is loading"}', "model is loading"),
        (b'{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}', "limit"),
        (b'{"choices": [{"message": {"refusal": "I may not"}}]}', "I may not"),
        (b"x" * 5000, "more than"),
    ],
)
def test_odd_answers_are_errors_with_words(said: bytes, words: str) -> None:
    with (
        ChatServer(faults=[Fault(200, raw=said)] * 4) as server,
        client_of(server, reply_bytes=4000) as client,
        pytest.raises(LimnerError, match=words),
    ):
        client.chat([user("hello")])


def test_parts_and_thoughts_of_a_reply_are_read() -> None:
    def answer(body: dict[str, object]) -> dict[str, object]:
        found = completion("", "tiny-vl", "length")
        parts = [{"type": "text", "text": "<think>hm</think>\nred"}, {"type": "text", "text": "!"}]
        found["choices"][0]["message"]["content"] = parts
        del found["usage"]
        return found

    with ChatServer(answer) as server, client_of(server) as client:
        reply = client.chat([user("hello")])
    assert reply.text == "red!" and reply.cut and reply.tokens_in is None


def test_the_only_model_served_is_taken_and_several_are_asked_for() -> None:
    with ChatServer(models=("one",)) as server, Client(Endpoint(server.url), FAST) as client:
        assert client.chat([user("hello")]).model == "one"
        server.models = ("one", "two")
        with (
            Client(Endpoint(server.url), FAST) as other,
            pytest.raises(UsageError, match="Which model") as told,
        ):
            other.chat([user("hello")])
        assert "one, two" in str(told.value)
        with (
            Client(Endpoint(server.url, "three"), FAST) as third,
            pytest.raises(EndpointError, match="does not exist") as wrong,
        ):
            third.chat([user("hello")])
        assert wrong.value.status == 404


def test_a_key_stands_in_no_text_and_follows_no_redirect() -> None:
    with ChatServer(key="another") as server, client_of(server, KEY) as client:
        with pytest.raises(EndpointError) as told:
            client.chat([user("hello")])
        assert told.value.status == 401 and "<key>" in told.value.what
        everything = f"{told.value!r} {told.value} {told.value.as_json()} {client.endpoint!r}"
        assert KEY not in everything and "LIMNER_LLM_KEY" in everything
        server.faults = [Fault(302, headers={"Location": "http://127.0.0.1:9/v1"})]
        with pytest.raises(EndpointError, match="302"):
            client.chat([user("hello")])


def test_where_to_ask_and_which_key_may_go_there() -> None:
    with pytest.raises(UsageError, match="No language model"):
        find_endpoint(environ={})
    env = {"LIMNER_LLM_URL": "localhost:11434", "LIMNER_LLM_MODEL": "m", "LIMNER_LLM_KEY": KEY}
    found = find_endpoint(environ=env)
    assert (found.url, found.model, found.key) == ("http://localhost:11434/v1", "m", KEY)
    assert find_endpoint("https://mine.example/v1", environ=env).key == KEY
    # an address out of somebody's project gets no key of mine, one that I named gets it
    assert find_endpoint("https://evil.example/v1", from_file=True, environ=env).key is None
    assert find_endpoint("http://localhost:11434", from_file=True, environ=env).key == KEY
    openai = find_endpoint(environ={"OPENAI_API_KEY": KEY})
    assert openai.url == "https://api.openai.com/v1" and openai.key_from == "OPENAI_API_KEY"
    assert find_endpoint("https://mine.example", environ={"OPENAI_API_KEY": KEY}).key is None
    with pytest.raises(InputError, match="unencrypted"):
        find_endpoint("http://mine.example/v1", environ={"LIMNER_LLM_KEY": KEY})
    for address in (f"https://me:{KEY}@mine.example", f"https://mine.example/v1?api-key={KEY}"):
        with pytest.raises(InputError, match="holds a secret") as told:
            find_endpoint(address, environ={})
        assert KEY not in str(told.value)


@given(st.text(max_size=60))
def test_any_address_is_cleaned_or_refused(text: str) -> None:
    try:
        clean = clean_url(text)
    except InputError:
        return
    assert clean.startswith(("http://", "https://")) and clean_url(clean) == clean
