"""Claude over Anthropic's Messages API. The only module that uses the ``anthropic`` SDK.

The SDK does the HTTP; the request's body is built in ``anthropic_request``, the answer read in
``anthropic_stream``. Retries are the runtime's, so the SDK's own are switched off. The SDK takes about a
second to import: that, and making its client, happen in a thread when the provider is opened, so that neither
``import asm_actors`` nor the event loop waits for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import evolve

from asm_actors.capabilities.manifest import Manifest
from asm_actors.config import CLAUDE_MODEL
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.normalization.provider_error import ProviderErrorKind
from asm_actors.providers.anthropic_errors import (
    plain_error,
    retry_after_of,
    root_of,
    scrubbed,
    status_error,
    without_secrets,
)
from asm_actors.providers.anthropic_request import build_body, thinking_param
from asm_actors.providers.anthropic_stream import StreamReader, malformed, said, truncated
from asm_actors.providers.base import BaseProvider, TurnRequest
from asm_actors.providers.items import Item
from asm_actors.serialization import check_integer, check_seconds, check_text, invalid

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["AnthropicProvider", "error_from", "retry_after_of"]

_KEY: Final = "ANTHROPIC_API_KEY"
_BASE_URL: Final = "ANTHROPIC_BASE_URL"
_PATH: Final = "/v1/messages"

_NO_KEY: Final = (
    f"no API key: set the environment variable {_KEY}, or pass api_key= to AnthropicProvider"
    " (keys are made at https://platform.claude.com)"
)


class AnthropicProvider(BaseProvider):
    """Claude over the Messages API, streamed.

    Options of one call (``adapter_opts``): ``model max_tokens temperature thinking system_prompt tools
    tool_choice stop_sequences metadata allowed_tools denied_tools``. Which of them a model accepts is the API's
    business; what it refuses is a ``provider_error``. Of a policy it keeps to the tools and the tokens.

    Args:
        model: the model, unless a call names another.
        api_key: the key; by default the environment's ``ANTHROPIC_API_KEY``, read when the provider is
            opened.
        base_url: where the API is; by default ``ANTHROPIC_BASE_URL``, else Anthropic's.
        max_tokens: bound on each answer.
        thinking: ``"adaptive"``, a budget of tokens, the API's own map, or None.
        timeout: seconds one turn may take in all; None for no bound.
        idle_timeout: seconds of silence after which a turn is given up (``provider_timeout``). The API
            sends pings while the model thinks.
        connect_timeout: seconds to wait for a connection.
        structured_output: whether an answer that must fit a schema is asked for with the API's own means; if not, or
            if these cannot tell the schema, the model is told it in words.
        default_headers: sent with each request.
        client: an ``AsyncAnthropic`` (or one of its relatives for other clouds) to use instead of making one;
            key and base URL are then its own, and it is not closed.
        name: the provider's name; the system sets it to the one it is configured under.

    Raises:
        ValidationError: a setting is out of range.
    """

    version: ClassVar[str] = "1"
    description: ClassVar[str | None] = "Claude over Anthropic's Messages API"
    offers: tuple[tuple[str, str], ...] = (
        ("streaming", "sampling"),
        ("tool_use", "tool"),
        ("vision", "resource"),
        ("system_prompts", "prompt"),
        ("interrupt", "sampling"),
    )
    # Under whatever name it is configured: whose rates it has in tables of prices.
    prices_of: ClassVar[str] = "claude"
    honours = ("allowed_tools", "denied_tools", "max_tokens")
    # An answer that broke off cannot be continued: a second try makes another answer.
    resumable = False

    def __init__(
        self,
        model: str = CLAUDE_MODEL,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        max_tokens: int = 4096,
        thinking: Any = None,
        timeout: float | None = 600.0,
        idle_timeout: float = 120.0,
        connect_timeout: float = 10.0,
        structured_output: bool = True,
        default_headers: Mapping[str, str] | None = None,
        client: AsyncAnthropic | None = None,
        name: str = "anthropic",
    ) -> None:
        for setting, value in (
            ("timeout", timeout),
            ("idle_timeout", idle_timeout),
            ("connect_timeout", connect_timeout),
        ):
            if check_seconds(value, setting) == 0:
                raise invalid(setting, "must be more than 0 seconds, or None", value)
        check_integer(max_tokens, "max_tokens", least=1)
        thinking_param(thinking, max_tokens)
        check_text(model, "model")
        for setting, given in (("api_key", api_key), ("base_url", base_url)):
            if given is not None:
                check_text(given, setting)
        self.name = name
        self.model = model
        self.timeout = check_seconds(timeout)
        self._api_key = api_key
        self._base_url = base_url
        self._max_tokens = max_tokens
        self._thinking = thinking
        self._idle_timeout = idle_timeout
        self._connect_timeout = connect_timeout
        self._structured_output = structured_output
        self._headers = _headers(default_headers)
        self._given = client
        self._client: AsyncAnthropic | None = None

    def __repr__(self) -> str:
        where = "" if self.base_url is None else f", base_url={without_secrets(self.base_url)!r}"
        return f"{type(self).__name__}(name={self.name!r}, model={self.model!r}{where})"

    @property
    def base_url(self) -> str | None:
        """Where the API is; None for Anthropic's own address."""
        return self._base_url or os.environ.get(_BASE_URL) or None

    def capabilities(self) -> Manifest:
        """Say what it can do, and its own bound on an answer."""
        manifest = super().capabilities()
        return evolve(manifest, config={**manifest.config, "max_tokens": self._max_tokens})

    def check(self) -> None:
        """See that there is a key.

        Raises:
            ProviderError: ``provider_authentication_failed``, with what to do about it.
        """
        if self._given is None and not self._key():
            raise AsmError(
                ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
                _NO_KEY,
                provider_error=said(ProviderErrorKind.AUTHENTICATION, "no API key"),
            )

    async def open(self) -> None:
        """Make the client.

        Raises:
            ProviderError: there is no key.
        """
        self.check()
        if self._client is not None:
            return
        client = await asyncio.to_thread(self._make_client)
        if not self._adopt(client) and self._given is None:
            await client.close()  # two streams opened at once, and the other was faster

    async def aclose(self) -> None:
        """Close the connections, unless the client was given."""
        client, self._client = self._client, None
        if client is not None and self._given is None:
            await client.close()

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Item, None]:
        """Answer one turn.

        Raises:
            ValidationError: the request is malformed; nothing was sent.
            ProviderError: the API refused, failed, or broke off.
        """
        if self._client is None and request.output_schema is not None:
            await self.open()  # it also loads the SDK, off the event loop
        body = build_body(
            request,
            model=self.model,
            max_tokens=self._max_tokens,
            thinking=self._thinking,
            output_format=self._output_format(request.output_schema),
        )
        if self._client is None:
            await self.open()
        tools = tuple(tool["name"] for tool in body.get("tools", ()) if "name" in tool)
        reader = StreamReader(tools)
        async with aclosing(self._events(body)) as events:
            async for event in events:
                for item in reader.feed(event):
                    yield item
                if reader.done:
                    return
        if reader.started:
            raise truncated("it ended before message_stop")
        raise truncated("it ended before it began")

    def _output_format(self, schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if schema is None or not self._structured_output:
            return None
        import anthropic

        try:
            # The API knows a part of JSON Schema; what else a schema asks for is told in its descriptions.
            known = anthropic.transform_schema(dict(schema))
        except (AttributeError, TypeError, ValueError, RecursionError):  # an older SDK; or not to be told so
            return None
        return {"type": "json_schema", "schema": known}

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Post the request and yield the events of the answer as plain maps, errors mapped."""
        from anthropic import AsyncStream

        assert self._client is not None
        try:
            # ``post`` and not ``messages.create``: it leaves the events as the maps they are on the wire, instead
            # of building a model object for each, and does not depend on which fields this SDK knows.
            stream = await self._client.post(
                _PATH, cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
            )
            try:
                kind = stream.response.headers.get("content-type", "")
                if "text/event-stream" not in kind:
                    raise malformed(f"it is {kind or 'of no type'}, not text/event-stream")
                async for event in stream:
                    yield event
            finally:
                await stream.close()
        except AsmError:
            raise
        except Exception as error:  # the SDK's are translated, all others go on up and crash the provider
            mapped = error_from(error, secret=self._key())
            if mapped is None:
                raise
            raise mapped from error

    def secrets(self) -> tuple[str, ...]:
        """Texts of its configuration that must not reach the journal: the key, and headers that say who it is."""
        named = {"authorization", "proxy-authorization", "x-api-key", "cookie"}
        headers = (value for name, value in self._headers.items() if name.lower() in named)
        given = (getattr(self._given, name, None) for name in ("api_key", "auth_token"))
        return tuple(text for text in (self._key(), *given, *headers) if text)

    def _key(self) -> str | None:
        return self._api_key or os.environ.get(_KEY) or None

    def _adopt(self, client: AsyncAnthropic) -> bool:
        if self._client is None:
            self._client = client
        return self._client is client

    def _make_client(self) -> AsyncAnthropic:
        import anthropic

        if self._given is not None:
            return self._given.with_options(max_retries=0)
        return anthropic.AsyncAnthropic(
            api_key=self._key(),
            base_url=self.base_url,
            max_retries=0,
            timeout=anthropic.Timeout(self._idle_timeout, connect=self._connect_timeout),
            default_headers=self._headers,
        )


def _headers(given: Mapping[str, str] | None) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise invalid("default_headers", "must be a map of texts", given)
    return {
        check_text(name, "a name of default_headers"): check_text(value, "a value of default_headers")
        for name, value in given.items()
    }


def error_from(error: Exception, *, secret: str | None = None) -> AsmError | None:
    """Return our error for one of the SDK, of its HTTP library or of its decoding; None for any other.

    Args:
        error: what was raised while a request was sent or its answer read.
        secret: a text that must not appear in the result, such as the key.
    """
    import anthropic

    family = frozenset(kind.__name__ for kind in type(error).__mro__)
    if isinstance(error, anthropic.APIStatusError):
        return status_error(error, secret)
    # The HTTP library below the SDK has changed its name once already; those of its base classes have not.
    if isinstance(error, anthropic.APITimeoutError) or "TimeoutException" in family:
        return plain_error(ErrorCode.PROVIDER_TIMEOUT, "the provider did not answer in time")
    if isinstance(error, anthropic.APIConnectionError) or "HTTPError" in family:
        text = scrubbed(f"the provider cannot be reached: {root_of(error)}", secret)
        return plain_error(ErrorCode.PROVIDER_UNAVAILABLE, text, ProviderErrorKind.CONNECTION_ERROR)
    text = scrubbed(str(error), secret)
    if isinstance(error, anthropic.APIResponseValidationError | ValueError):
        return malformed(text[:200])
    if "CredentialsError" in family:
        return plain_error(ErrorCode.PROVIDER_AUTHENTICATION_FAILED, text)
    if isinstance(error, anthropic.AnthropicError):
        return plain_error(ErrorCode.PROVIDER_ERROR, text, ProviderErrorKind.UNKNOWN)
    return None
