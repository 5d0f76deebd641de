"""`webhook`: an HTTP POST for each event. Needs the extra `webhook` (httpx2).

The environment chooses nothing: no proxy, no other certificates, no .netrc. Secrets go to the
receiver that is configured and, where that redirects, to nobody else.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import ssl
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from pydantic import Field, field_validator, model_validator

from dmwatch.errors import DmwatchError
from dmwatch.events import Event
from dmwatch.handlers.answers import MOVED, judge
from dmwatch.handlers.base import Drop, Handler, HandlerSettings, Retry
from dmwatch.handlers.paths import AbsolutePath
from dmwatch.handlers.secrets import Secret
from dmwatch.handlers.templates import check, fill
from dmwatch.spans import LongSpan

try:
    import httpx2
except ImportError:
    raise DmwatchError(
        "the handler 'webhook' cannot be loaded",
        because="httpx2 is not installed",
        hint="pip install 'dmwatch[webhook]', into the environment that dmwatch runs from",
    ) from None

for _name in ("httpx2", "httpcore2"):
    # they tell whole addresses of each request, and headers of a proxy: those can be secrets
    logging.getLogger(_name).setLevel(logging.WARNING)

LARGEST = 16 * 1024
"""So much of an answer is read."""
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_USED_LATER = (
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "httpcore2._backends.anyio",
    "httpcore2._async.http_proxy",
    "encodings.idna",
)
"""Modules that are otherwise imported by the first request: nothing is imported for an event."""


class WebhookSettings(HandlerSettings):
    """What can be chosen about `webhook`."""

    url: str | Secret = Field(description="where to POST; a secret where the address itself is one")
    token: Secret | None = Field(default=None, description="sent as Authorization: Bearer")
    headers: dict[str, str | Secret] = Field(default_factory=dict, description="more headers")
    template: str | None = Field(
        default=None, description="the body, with $summary and the like; none: the event as JSON"
    )
    content_type: str = Field(
        default="application/json", description="of the body; in JSON the fields are escaped"
    )
    ca_file: AbsolutePath | None = Field(
        default=None, description="PEM: only these authorities are trusted; none: the system's"
    )
    proxy: str | Secret | None = Field(
        default=None, description="http://host:port; the environment is not asked"
    )
    redirects: int = Field(default=3, ge=0, le=10, strict=True, description="so many are followed")
    connect_timeout: LongSpan = Field(default=10.0, description="for connecting alone")

    @field_validator("url", "proxy")
    @classmethod
    def _address(cls, url: str | Secret | None) -> str | Secret | None:
        if isinstance(url, str):
            _parsed(url)
        return url

    @field_validator("content_type")
    @classmethod
    def _one_line(cls, content_type: str) -> str:
        if not content_type.strip() or not _is_sendable(content_type):
            raise ValueError('expected a text on one line in ASCII, as in "application/json"')
        return content_type

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str | Secret]) -> dict[str, str | Secret]:
        for name, value in headers.items():
            if not _NAME.fullmatch(name):
                raise ValueError("expected names of headers without spaces and colons")
            if isinstance(value, str) and not _is_sendable(value):
                raise ValueError(f"expected a text on one line in ASCII as header {name}")
        return headers

    @field_validator("template")
    @classmethod
    def _fillable(cls, template: str | None) -> str | None:
        return None if template is None else check(template)

    @model_validator(mode="after")
    def _one_authorization(self) -> WebhookSettings:
        if self.token and "authorization" in map(str.lower, self.headers):
            raise ValueError("expected either a token or a header Authorization")
        return self

    @property
    def is_json(self) -> bool:
        """The body is JSON."""
        kind = self.content_type.partition(";")[0].strip().lower()
        return kind == "application/json" or kind.endswith("+json")


class WebhookHandler(Handler[WebhookSettings]):
    """Posts events."""

    Settings = WebhookSettings
    _client: httpx2.AsyncClient | None = None
    _url: httpx2.URL
    _secret_headers: dict[str, str]

    async def open(self) -> None:
        """Read the secrets, load certificates; nothing is sent.

        Raises:
            DmwatchError: a secret or the file of authorities cannot be read.
        """
        found = await asyncio.to_thread(_Resolved, self.settings)
        self._url, self._secret_headers, self._hidden = found.url, found.headers, found.hidden
        self._client = httpx2.AsyncClient(
            verify=found.context,
            proxy=found.proxy,
            trust_env=False,
            timeout=httpx2.Timeout(None, connect=self.settings.connect_timeout),
            limits=httpx2.Limits(max_connections=2, max_keepalive_connections=1),
        )

    async def handle(self, event: Event) -> None:
        """Post the event.

        Raises:
            Retry: no connection, 5xx, 429.
            Drop: 4xx, or a redirect that is not followed.
        """
        body = self._body(event)
        headers = self._headers(event)
        url = self._url
        for _ in range(self.settings.redirects + 1):
            try:
                moved = await self._post(url, body, headers)
            except httpx2.TransportError as error:
                raise Retry(reason=self._masked(f"{origin(url)}: {_said(error)}")) from None
            if moved is None:
                return
            url = self._follow(url, moved)
        raise Drop(f"{origin(self._url)} redirects more than {self.settings.redirects} times")

    async def close(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(self, url: httpx2.URL, body: bytes, headers: dict[str, str]) -> str | None:
        """Post once; gives where it was redirected to, or None where the event was taken."""
        if self._client is None:
            raise Retry(reason="it is closed")
        secret = self._secret_headers if _trusted(self._url, url) else {}
        request = self._client.build_request("POST", url, content=body, headers=headers | secret)
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code in MOVED:
                return response.headers.get("location", "")
            said = "" if response.is_success else self._masked(await _begin(response))
            judge(response.status_code, response.headers, said, origin(url))
        finally:
            await response.aclose()
        return None

    def _follow(self, url: httpx2.URL, location: str) -> httpx2.URL:
        try:
            to = _parsed(str(url.join(location)) if location else "")
        except (ValueError, httpx2.InvalidURL):
            raise Drop(f"{origin(url)} redirects to what is no address") from None
        if url.scheme == "https" and to.scheme != "https":
            raise Drop(f"{origin(url)} redirects to {origin(to)}, away from TLS")
        return to

    def _headers(self, event: Event) -> dict[str, str]:
        plain = {
            name: text for name, text in self.settings.headers.items() if isinstance(text, str)
        }
        own = {
            "Content-Type": self.settings.content_type,
            "User-Agent": f"dmwatch/{_VERSION}",
            "Accept-Encoding": "identity",
            # events come at least once: by this a receiver knows one that it has already
            "Idempotency-Key": event.id,
        }
        chosen = set(map(str.lower, self.settings.headers))
        return {name: text for name, text in own.items() if name.lower() not in chosen} | plain

    def _body(self, event: Event) -> bytes:
        template = self.settings.template
        if template is None:
            return event.json_line().encode()
        return fill(template, event, as_json=self.settings.is_json).encode()

    def _masked(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text


_VERSION = version("dmwatch")


class _Resolved:
    """Settings with their secrets read. Blocks."""

    def __init__(self, settings: WebhookSettings) -> None:
        self.hidden: list[str] = []
        for module in _USED_LATER:
            importlib.import_module(module)
        self.url = self._address(settings.url)
        self.proxy = None if settings.proxy is None else self._address(settings.proxy)
        self.headers = {
            name: self._header(secret)
            for name, secret in settings.headers.items()
            if isinstance(secret, Secret)
        }
        if settings.token is not None:
            self.headers["Authorization"] = f"Bearer {self._header(settings.token)}"
        self.context = _context(settings.ca_file)
        # the longest first: what holds another is replaced as a whole
        self.hidden.sort(key=len, reverse=True)

    def _address(self, url: str | Secret) -> httpx2.URL:
        try:
            found = _parsed(url if isinstance(url, str) else self._read(url))
        except ValueError as error:
            raise DmwatchError("the webhook's address cannot be used", because=str(error)) from None
        # an answer may repeat a part of it: "cannot POST /hook/KEY"
        self.hidden += _telling(found)
        return found

    def _header(self, secret: Secret) -> str:
        text = self._read(secret)
        if not _is_sendable(text):
            raise DmwatchError("a webhook's secret cannot be sent as a header: it is not one line")
        return text

    def _read(self, secret: Secret) -> str:
        text = secret.read().get_secret_value().strip()
        self.hidden.append(text)
        return text


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        because = error.strerror or "it holds no certificates"
        raise DmwatchError(f"{ca_file} cannot be used as ca_file", because=because) from None


def _parsed(url: str) -> httpx2.URL:
    try:
        found = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError):
        found = httpx2.URL("")
    if found.scheme not in {"http", "https"} or not found.host:
        raise ValueError('expected an address as in "https://alerts.example/hook"')
    return found


def origin(url: httpx2.URL) -> str:
    """Scheme, host and port: what of an address may be shown. Paths can be secrets."""
    port = f":{url.port}" if url.port is not None else ""
    return f"{url.scheme}://{url.host}{port}"


_TELLING = 8
"""A part of an address that is shorter is no key, and would be masked in any text."""


def _telling(url: httpx2.URL) -> Iterator[str]:
    """What of an address is not shown: all but its origin, as it stands or in parts."""
    path = url.raw_path.decode("ascii")
    for part in (url.username, url.password, path, *re.split("[/?&=;]", path)):
        yield from {text for text in (part, unquote(part)) if len(text) >= _TELLING}


def _trusted(configured: httpx2.URL, url: httpx2.URL) -> bool:
    """Whether secrets may go there: the same receiver, or the same host by TLS instead."""
    if origin(configured) == origin(url):
        return True
    upgraded = configured.scheme == "http" and url.scheme == "https"
    return upgraded and configured.host == url.host and {configured.port, url.port} == {None}


async def _begin(response: httpx2.Response) -> str:
    found = b""
    async for chunk in response.aiter_raw():
        found += chunk
        if len(found) >= LARGEST:
            break
    return found[:LARGEST].decode("utf-8", "replace")


def _is_sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _said(error: BaseException) -> str:
    """What lies at the bottom of it: `Connection refused` instead of `All attempts failed`."""
    deepest = error
    while (below := deepest.__cause__ or deepest.__context__) is not None:
        deepest = below
    while isinstance(deepest, BaseExceptionGroup):
        deepest = deepest.exceptions[0]
    said = getattr(deepest, "strerror", None) or deepest
    return f"{type(deepest).__name__}: {said}".removesuffix(": ")
