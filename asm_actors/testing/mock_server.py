"""A mock model server on loopback: the npm program ``llmock`` of ``@copilotkit/aimock`` as a child process.

It speaks Anthropic's Messages API and OpenAI's APIs over real HTTP, so that tests and examples exercise the
real client, the real wire and real faults without a key and without the network::

    with MockModelServer([answer("hello", "Hello from the mock.")]) as server:
        provider = AnthropicProvider(api_key="sk-any", base_url=server.base_url)

**Fixtures** are maps ``{"match": …, "response": …}``; the first that matches answers. Of ``match`` most
useful are ``userMessage`` (part of the last user message), ``hasToolResult``, ``turnIndex``,
``sequenceIndex`` (the n-th request that this matches, from 0), ``toolName`` and ``model``; ``{}`` matches
all. A ``response`` is

- text: ``{"content": "…", "reasoning": "…", "usage": {"prompt_tokens": 5, "completion_tokens": 7}}``,
- tool calls: ``{"toolCalls": [{"name": "…", "arguments": {…}}]}``, perhaps with ``content``,
- an error: ``{"error": {"message": "…", "type": "rate_limit_error"}, "status": 429, "retryAfter": 2}``.

A fixture may also hold ``latency`` (milliseconds between chunks), ``chunkSize`` (characters),
``truncateAfterChunks`` or ``disconnectAfterMs`` (the connection is cut), and ``chaos``: ``dropRate`` (500),
``malformedRate``, ``disconnectRate``, ``rateLimitRate`` (429), each a probability, and ``latencyMs``.
:func:`answer`, :func:`tool_calls` and :func:`failure` write the usual ones.

Needs Node.js and npm; :func:`npm_available` says whether they are there. The package is installed once into a
cache folder. The child ends when this process does, however it ends: it watches its standard input.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from asm_actors.errors import AsmError, ErrorCode

__all__ = [
    "AIMOCK",
    "MockModelServer",
    "answer",
    "failure",
    "install_npm_package",
    "npm_available",
    "tool_calls",
]

AIMOCK: Final = ("@copilotkit/aimock", "1.43.0")
"""The npm package that holds the server, and the version these tests were written against."""

_CHAOS_FLAGS: Final = {
    "drop": "--chaos-drop",
    "malformed": "--chaos-malformed",
    "disconnect": "--chaos-disconnect",
    "rate_limit": "--chaos-ratelimit",
}
_CHAOS_FIELDS: Final = {
    "drop": "dropRate",
    "malformed": "malformedRate",
    "disconnect": "disconnectRate",
    "rate_limit": "rateLimitRate",
}
# Node exits when its standard input ends, and that is a pipe whose other end dies with this process.
_WATCH: Final = (
    "data:text/javascript,for(const name of ['end','error'])process.stdin.on(name,()=>process.exit(0));"
    "process.stdin.resume()"
)
_LISTENING: Final = re.compile(r"listening on (http://\S+)")


def npm_available() -> bool:
    """Tell whether Node.js and npm are on the path."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


def install_npm_package(name: str, version: str, cache: Path | str | None = None) -> Path:
    """Return the folder of an npm package, installed if it is not in the cache yet.

    Several processes may ask at once: one installs, the others wait.

    Args:
        name: the package.
        version: its exact version.
        cache: where packages are kept; by default ``$ASM_NPM_CACHE``, else ``~/.cache/asm-actors/npm``.

    Raises:
        StorageError: ``dependency_not_available``: there is no npm, or it failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise AsmError(
            ErrorCode.DEPENDENCY_NOT_AVAILABLE, "npm is not on the path: install Node.js 20 or later"
        )
    root = Path(cache or os.environ.get("ASM_NPM_CACHE") or Path.home() / ".cache" / "asm-actors" / "npm")
    root.mkdir(parents=True, exist_ok=True)
    home = root.absolute() / re.sub(r"[^\w.-]+", "_", f"{name}-{version}".lstrip("@"))
    package = home / "node_modules" / name
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not package.is_dir():
            _install(npm, f"{name}@{version}", home)
    return package


def _install(npm: str, spec: str, home: Path) -> None:
    # Into a folder of its own that is renamed when complete: an interrupted install leaves no half package.
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".install-") as folder:
        fresh = Path(folder) / "package"
        fresh.mkdir()
        options = ["--prefix", str(fresh), "--no-audit", "--no-fund", "--loglevel=error"]
        ran = subprocess.run(  # noqa: S603 - the words are ours
            [npm, "install", *options, spec],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise AsmError(
                ErrorCode.DEPENDENCY_NOT_AVAILABLE,
                f"npm could not install {spec}",
                details={"exit_code": ran.returncode, "stderr": ran.stderr[-2000:]},
            )
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)


def answer(
    user_message: str, content: str, *, usage: tuple[int, int] | None = None, **more: Any
) -> dict[str, Any]:
    """Return the fixture that answers a message with text.

    Args:
        user_message: a part of the user's last message; empty matches all.
        content: the answer.
        usage: tokens of the request and of the answer.
        **more: ``reasoning`` and further fields of the response; ``latency``, ``chunkSize``,
            ``truncateAfterChunks``, ``disconnectAfterMs``, ``chaos`` and ``match`` (merged) of the fixture.
    """
    response: dict[str, Any] = {"content": content}
    if usage is not None:
        response["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return _fixture(user_message, response, more)


def tool_calls(user_message: str, *calls: tuple[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the fixture that answers a message with tool calls, as long as no result is in.

    Args:
        user_message: a part of the user's last message.
        *calls: pairs of a tool's name and its arguments.
        **more: as for :func:`answer`.
    """
    response = {"toolCalls": [{"name": name, "arguments": dict(arguments)} for name, arguments in calls]}
    return _fixture(user_message, response, {"match": {"hasToolResult": False}, **more})


def failure(
    user_message: str, status: int, kind: str, message: str, *, retry_after: float | None = None, **more: Any
) -> dict[str, Any]:
    """Return the fixture that answers a message with an HTTP error.

    Args:
        user_message: a part of the user's last message.
        status: the HTTP status.
        kind: the API's name of the error, such as ``overloaded_error``.
        message: its text.
        retry_after: seconds for the ``Retry-After`` header; a 429 always has one.
        **more: as for :func:`answer`.
    """
    response: dict[str, Any] = {"error": {"message": message, "type": kind}, "status": status}
    if retry_after is not None:
        response["retryAfter"] = retry_after
    return _fixture(user_message, response, more)


_FIXTURE_FIELDS: Final = frozenset(
    {"latency", "chunkSize", "truncateAfterChunks", "disconnectAfterMs", "streamingProfile", "chaos"}
)


def _fixture(user_message: str, response: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    match = ({"userMessage": user_message} if user_message else {}) | more.pop("match", {})
    outer = {name: more.pop(name) for name in _FIXTURE_FIELDS & more.keys()}
    return {"match": match, "response": response | more, **outer}


class MockModelServer:
    """The server, from :meth:`start` to :meth:`stop`; a context manager.

    Args:
        fixtures: what it answers, see the module; more can be added while it runs.
        latency: seconds between the chunks of a stream.
        chunk_size: characters of a chunk.
        chaos: probabilities, from 0 to 1, of ``drop`` (500), ``malformed``, ``disconnect`` and ``rate_limit``
            (429).
        api_keys: keys that it accepts; by default any.
        cache: where the npm package is kept, see :func:`install_npm_package`.
        start_timeout: seconds it may take to listen.
    """

    def __init__(
        self,
        fixtures: Iterable[Mapping[str, Any]] = (),
        *,
        latency: float = 0.0,
        chunk_size: int = 20,
        chaos: Mapping[str, float] | None = None,
        api_keys: Iterable[str] = (),
        cache: Path | str | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        unknown = set(chaos or {}) - _CHAOS_FLAGS.keys()
        if unknown:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR, f"chaos is any of {sorted(_CHAOS_FLAGS)}, not {sorted(unknown)}"
            )
        self._fixtures = [dict(fixture) for fixture in fixtures]
        self._flags = ["--latency", str(round(latency * 1000)), "--chunk-size", str(chunk_size)]
        for name, rate in (chaos or {}).items():
            self._flags += [_CHAOS_FLAGS[name], str(rate)]
        self._keys = ",".join(api_keys)
        self._cache = cache
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._log: list[str] = []
        self._address: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Address for Anthropic clients, such as ``http://127.0.0.1:43217``.

        Raises:
            ConcurrencyError: ``invalid_operation``: it is not running.
        """
        if self._address is None:
            raise AsmError(ErrorCode.INVALID_OPERATION, "the mock model server is not running")
        return self._address

    @property
    def openai_base_url(self) -> str:
        """Address for OpenAI clients: with ``/v1``."""
        return f"{self.base_url}/v1"

    @property
    def pid(self) -> int | None:
        """The child's process id, None if there is none."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> str:
        """What the server printed."""
        return "".join(self._log)

    def start(self) -> None:
        """Start the child and wait until it listens. Starting twice is starting once.

        Raises:
            StorageError: ``dependency_not_available``: Node.js is absent, or the server did not come up, such as for
                a malformed fixture; ``details["log"]`` is what it printed.
        """
        if self._process is not None:
            return
        node = shutil.which("node")
        if node is None:
            raise AsmError(
                ErrorCode.DEPENDENCY_NOT_AVAILABLE, "node is not on the path: install Node.js 20 or later"
            )
        package = install_npm_package(*AIMOCK, self._cache)
        with tempfile.TemporaryDirectory(prefix="asm-mock-") as folder:
            (Path(folder) / "fixtures.json").write_text(json.dumps({"fixtures": self._fixtures}))
            checks = ["--validate-on-load"] if self._fixtures else []
            command = [node, "--import", _WATCH, str(package / "dist" / "cli.js"), "--port", "0"]
            environment = {name: text for name, text in os.environ.items() if name != "AIMOCK_API_KEYS"}
            if self._keys:
                environment["AIMOCK_API_KEYS"] = self._keys
            self._process = subprocess.Popen(  # noqa: S603
                [*command, "--fixtures", folder, *checks, *self._flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                start_new_session=True,
            )
            self._await_listening(self._process)

    def _await_listening(self, process: subprocess.Popen[str]) -> None:
        listening = threading.Event()

        def read() -> None:
            # Reads to the end, so that the child never blocks on a full pipe.
            assert process.stdout is not None
            for line in process.stdout:
                self._log.append(line)
                found = _LISTENING.search(line)
                if found:
                    self._address = found[1]
                    listening.set()
            listening.set()

        self._reader = threading.Thread(target=read, name="mock-model-server-log", daemon=True)
        self._reader.start()
        listening.wait(self._start_timeout)
        if self._address is None:
            log = self.log
            self.stop()
            raise AsmError(
                ErrorCode.DEPENDENCY_NOT_AVAILABLE,
                "the mock model server did not start",
                details={"log": log[-2000:]},
            )

    def stop(self) -> None:
        """End the child and its process group; returns when they are gone. Asking twice is asking once."""
        process, self._process, self._address = self._process, None, None
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2.0)
                break
        if self._reader is not None:
            self._reader.join(2.0)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def requests(self, **query: Any) -> list[dict[str, Any]]:
        """Return the requests it served, oldest first; ``query``, such as ``status=429``, narrows them.

        Each is a map with ``path headers body response`` and more; ``body`` is in the server's own form. An
        answer that was cut by its fixture has ``response.interrupted``; a client that went away leaves no trace.
        """
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        found: list[dict[str, Any]] = self._call("GET", f"/journal?{asked}")
        return found

    def add(self, *fixtures: Mapping[str, Any]) -> None:
        """Add fixtures behind those that are there."""
        self._call("POST", "/fixtures", {"fixtures": [dict(fixture) for fixture in fixtures]})

    def reset(self) -> None:
        """Forget all fixtures and requests."""
        self._call("POST", "/reset", {})

    def fail_next(
        self, status: int, kind: str = "api_error", message: str = "The mock was told to fail"
    ) -> None:
        """Answer the next request with an error, whatever it matches."""
        self._call("POST", "/error", {"status": status, "body": {"message": message, "type": kind}})

    def set_chaos(self, **rates: float) -> None:
        """Replace the probabilities of ``drop malformed disconnect rate_limit``; without any, faults end."""
        self._call("POST", "/chaos", {_CHAOS_FIELDS[name]: rate for name, rate in rates.items()})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if self._keys:
            headers["x-api-key"] = self._keys.partition(",")[0]
        request = urllib.request.Request(  # noqa: S310 - the address is ours, on loopback
            f"{self.base_url}/__aimock{path}", data=data, headers=headers, method=method
        )
        # No proxy, whatever the environment says: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10.0) as response:
            return json.loads(response.read())
