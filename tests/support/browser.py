"""A headless Chromium, driven through its debugging pipe."""

import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Iterator, Optional

# It asks nobody for anything but the page.
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-default-apps --disable-extensions --disable-sync --no-default-browser-check "
    "--disable-domain-reliability --disable-client-side-phishing-detection --no-pings --metrics-recording-only "
    "--disable-features=OptimizationHints,MediaRouter,Translate,InterestFeedContentSuggestions --remote-debugging-pipe"
).split()


def find_chromium() -> Optional[str]:
    """The browser's path, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page of a browser that has been started with a debugging pipe."""

    def __init__(self, requests: int, answers: int):
        self.requests, self.answers = requests, answers
        self.number, self.rest, self.session = 0, b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict:
        """Call a method of the DevTools protocol and wait for its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.requests, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                self.rest += os.read(self.answers, 1 << 20)
            text, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript on the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str, seconds: float = 120) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, self.evaluate("document.body.innerText")
            time.sleep(0.1)
        return value

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        for character in text:
            self.call("Input.insertText", text=character)


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, ended at the end."""
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()

    def three_and_four() -> None:  # the numbers that the browser expects
        high_in, high_out = os.dup(their_in), os.dup(their_out)
        os.dup2(high_in, 3)
        os.dup2(high_out, 4)

    command = [find_chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, preexec_fn=three_and_four, close_fds=False, stderr=subprocess.DEVNULL)
    try:
        yield Browser(our_out, our_in)
    finally:
        process.terminate()
        process.wait()
        for end in (their_in, our_out, our_in, their_out):
            os.close(end)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A handler that writes no log."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, served as ``python -m http.server`` does."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
