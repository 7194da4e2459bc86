"""One server, one link: what is asked again, what is shown, what is read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import UsageError
from limner.net import Link, NetError, is_local, redact, retry_after, without_secrets

LIMITS = {
    "connect_s": 2.0,
    "answer_s": 2.0,
    "attempts": 3,
    "first_wait_s": 0.001,
    "longest_wait_s": 0.3,
    "reply_bytes": 2000,
    "file_bytes": 9000,
}
SECRET = "hush-hush-77"


class Server(ThreadingHTTPServer):
    """Answers what stands in `say` (status, headers, content), the last one for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.say: list[tuple[int, dict[str, str], bytes]] = [(200, {}, b"{}")]
        self.came: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.came.append((self.command, self.path, dict(self.headers), body))
        say = self.server.say
        status, headers, content = say.pop(0) if len(say) > 1 else say[0]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _any  # noqa: N815 (names that the server class looks for)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


class MineError(NetError):
    pass


def link_of(server: Server, **more: Any) -> Link:
    return Link("Mine", f"{server.url}/api", LIMITS, secrets=(SECRET,), error=MineError, **more)


def test_a_call_is_asked_again_and_retry_after_is_kept(server: Server) -> None:
    wait = (503, {"Retry-After": "0.2"}, b"busy")
    server.say = [wait, (200, {}, b'{"id": 7}')]
    with link_of(server, headers={"X-Key": SECRET}) as link:
        start = time.monotonic()
        assert link.json("POST", "prompt", {"a": 1}, query={"q": "a b"}) == {"id": 7}
        assert time.monotonic() - start > 0.19
        method, path, headers, body = server.came[-1]
        assert (method, path, json.loads(body)) == ("POST", "/api/prompt?q=a%20b", {"a": 1})
        assert headers["X-Key"] == SECRET

        server.say, server.came = [(503, {"Retry-After": "99999"}, b"busy")], []
        start = time.monotonic()
        with pytest.raises(MineError, match="Mine answered 503 to prompt: busy") as told:
            link.json("POST", "prompt")
        assert time.monotonic() - start < 5 and told.value.wait == 99999  # the limit is ours
        assert len(server.came) == 3

        server.came = []
        with pytest.raises(MineError):
            link.json("POST", "prompt", {}, once=True)
        link.stopped.set()
        with pytest.raises(MineError):
            link.json("POST", "prompt", {})
        assert len(server.came) == 2


def test_what_helps_nothing_is_asked_once_and_said_without_secrets(server: Server) -> None:
    says = json.dumps({"error": {"type": "bad", "message": f"no node for {SECRET} sk-abcdef12"}})
    server.say = [(400, {}, says.encode())]
    with link_of(server) as link:
        with pytest.raises(MineError) as told:
            link.json("POST", f"prompt?token={SECRET}")
        assert told.value.said == "no node for <key> <key>" and told.value.status == 400
        assert SECRET not in str(told.value) + repr(told.value) and len(server.came) == 1
        server.say = [(200, {}, b"<html>")]
        with pytest.raises(MineError, match="no JSON"):
            link.json("GET", "stats")
        server.say = [(204, {}, b"")]
        assert link.json("GET", "stats") is None


def test_files_come_and_go_within_limits(server: Server) -> None:
    with link_of(server, headers={"X-Key": SECRET}) as link:
        server.say = [(200, {}, b"x" * 8000)]
        assert len(link.fetch("view", query={"filename": "a&b.png"})) == 8000
        assert server.came[-1][1] == "/api/view?filename=a%26b.png"
        server.say = [(200, {}, b"x" * 9001)]
        with pytest.raises(MineError, match="more than"):
            link.fetch("view")
        server.say = [(200, {}, b"{}")]
        png = ("a b.png", b"\x89PNG", "image/png")
        link.json("POST", "upload", files={"image": png}, form={"type": "input"})
        _, _, headers, body = server.came[-1]
        assert headers["Content-Type"].startswith("multipart/form-data; boundary=")
        assert b'filename="a b.png"' in body and b"\x89PNG" in body and b"input" in body


def test_the_key_goes_to_its_own_server_only(server: Server) -> None:
    with Link("Mine", "http://localhost:9/api", LIMITS, headers={"X-Key": SECRET}) as link:
        server.say = [(302, {"Location": "http://127.0.0.1:9/"}, b"")]
        with pytest.raises(NetError, match="302 to the link"):
            link.fetch(f"{server.url}/f.png?sig={SECRET}", called="the link")
        assert "X-Key" not in server.came[-1][2] and len(server.came) == 1
        with pytest.raises(NetError, match="cannot be reached") as down:
            link.json("GET", "stats", once=True)
        assert down.value.again and not down.value.reached and down.value.status is None
    with pytest.raises(UsageError, match="characters that no key has"):
        link_of(server, headers={"X-Key": "abc\ndef"})


@given(st.text(max_size=30))
def test_a_wait_is_seconds_or_nothing(text: str) -> None:
    found = retry_after(text)
    assert found is None or found >= 0


def test_what_is_near_and_what_is_secret() -> None:
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0 and retry_after("nan") is None
    assert (
        is_local("http://127.0.0.1:8188")
        and is_local("http://[::1]/")
        and is_local("http://localhost")
    )
    assert not is_local("http://127.example.com") and not is_local("https://example.com")
    assert redact(f"x {SECRET} y Bearer abc", (SECRET, "")) == "x <key> y <key>"
    assert without_secrets("https://me:pw@a.example/x?sig=1") == "https://<hidden>@a.example/x"
