"""Several RPC endpoints of one chain behind one provider: the next one where one fails or lags.

Requests go to one endpoint until it does not answer properly (refused, timed out, broken off, rate
limited), then to the next that does not lag. Every endpoint must serve the same chain, and is asked
before its first use. INVARIANT: an endpoint that serves another chain is never believed and never
skipped silently.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import structlog
from web3.providers.base import JSONBaseProvider
from web3.providers.rpc import HTTPProvider
from web3.types import RPCEndpoint, RPCResponse

from protocol.chain.errors import WrongChain

log = structlog.get_logger()

TOLERATED: Final = 3
"""Blocks by which an endpoint may differ from the best head seen: news travels."""
LOOK_SECONDS: Final = 2.0
"""How often the heads of all endpoints are compared."""
FORGET_SECONDS: Final = 600.0
"""A best head that nobody has reached again for so long was no lag: the chain is shorter now."""
_ANSWER_SECONDS: Final = 10.0
_LOOK_TIMEOUT: Final = 2.0
_LIMITED: Final = -32005  # EIP-1474: limit exceeded


class Unanswered(requests.ConnectionError):
    """No endpoint gave a proper answer."""


class Endpoints(JSONBaseProvider):
    """A web3 provider over the endpoints in `urls`, separated by commas; the first is preferred."""

    def __init__(
        self, urls: str, chain_id: int | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.urls = [url.strip() for url in urls.split(",") if url.strip()]
        self.chain_id = chain_id
        self._clock = clock
        self._providers = [_provider(url, _ANSWER_SECONDS) for url in self.urls]
        self._lookouts = [_provider(url, _LOOK_TIMEOUT) for url in self.urls]
        self._checked: set[int] = set()
        self._current = 0
        self._looked = float("-inf")
        self._behind: dict[int, int] = {}  # blocks, at the last look
        self._best, self._best_at = -1, float("-inf")

    @property
    def name(self) -> str:
        """The endpoint in use, without the key that its path may hold."""
        return shown(self.urls[self._current])

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Ask the endpoint in use, then the others; raises Unanswered, WrongChain."""
        failures = []
        for index in self._order():
            behind = self._behind.get(index, 0)
            if index != self._current and behind > TOLERATED:
                failures.append(f"{shown(self.urls[index])}: it is {behind} blocks behind")
                continue
            try:
                answer = self._ask(self._providers, index, method, params)
            except Unanswered as error:
                failures.append(f"{shown(self.urls[index])}: {error}")
                continue
            if index != self._current:
                log.warning("using another endpoint", url=shown(self.urls[index]), why=failures[-1])
                self._current = index
            return answer
        raise Unanswered("; ".join(failures))

    def ask_others(self, method: str, params: list[Any], block: int) -> Iterator[Any]:
        """Yield what every other endpoint says that answers and can know of block `block`."""
        for index in self._order()[1:]:
            head = self._head_of(index)
            if head is None or head + TOLERATED < block:
                continue
            try:
                answer = self._ask(self._lookouts, index, RPCEndpoint(method), params)
            except Unanswered:
                continue
            if "result" in answer:
                yield answer["result"]

    def look_around(self) -> None:
        """Compare the heads of all endpoints, and leave one that lags for the best."""
        now = self._clock()
        if len(self.urls) == 1 or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        heads = {i: head for i, (_, head) in enumerate(self.heads()) if head is not None}
        if not heads:
            return
        best = max(heads, key=heads.__getitem__)
        self.note(heads[best])
        self._behind = {index: heads[best] - head for index, head in heads.items()}
        behind = heads[best] - heads.get(self._current, -1)
        if behind > TOLERATED:
            log.warning("leaving an endpoint that lags", url=self.name, blocks=behind)
            self._current = best

    def heads(self) -> list[tuple[str, int | None]]:
        """Every endpoint as people may see it, and its newest block, None where it is silent."""
        return [(shown(url), self._head_of(index)) for index, url in enumerate(self.urls)]

    def note(self, head: int) -> int:
        """Take note of a head; returns by how many blocks it is behind the best one seen."""
        now = self._clock()
        if head >= self._best or now - self._best_at > FORGET_SECONDS:
            self._best, self._best_at = head, now
        return self._best - head

    def _head_of(self, index: int) -> int | None:
        try:
            answer = self._ask(self._lookouts, index, RPCEndpoint("eth_blockNumber"), [])
            return int(answer["result"], 16)
        except (Unanswered, KeyError, ValueError, TypeError):
            return None

    def _order(self) -> list[int]:
        count = len(self.urls)
        return [(self._current + step) % count for step in range(count)]

    def _ask(
        self, providers: list[HTTPProvider], index: int, method: RPCEndpoint, params: Any
    ) -> RPCResponse:
        """Ask one endpoint, which has shown before which chain it serves."""
        if index not in self._checked:
            self._check(index, _ask(providers[index], RPCEndpoint("eth_chainId"), []))
        return _ask(providers[index], method, params)

    def _check(self, index: int, answer: RPCResponse) -> None:
        try:
            found = int(answer["result"], 16)
        except (KeyError, ValueError, TypeError):
            raise Unanswered("it does not say which chain it serves") from None
        if self.chain_id is None:
            self.chain_id = found
        if found != self.chain_id:
            raise WrongChain(shown(self.urls[index]), self.chain_id, found)
        self._checked.add(index)


def shown(urls: str) -> str:
    """URLs as people may see them: paths and passwords of endpoints are often secret keys."""
    return ", ".join(_bare(url.strip()) for url in urls.split(",") if url.strip())


def _bare(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _provider(url: str, seconds: float) -> HTTPProvider:
    return HTTPProvider(
        url, request_kwargs={"timeout": seconds}, exception_retry_configuration=None
    )


def _ask(provider: HTTPProvider, method: RPCEndpoint, params: Any) -> RPCResponse:
    """One request to one endpoint; raises Unanswered for whatever is no JSON-RPC answer."""
    try:
        answer = provider.make_request(method, params)
    except requests.HTTPError as error:
        status = None if error.response is None else error.response.status_code
        why = "it limits our requests" if status == 429 else f"status {status}"
        raise Unanswered(why) from error
    except (requests.RequestException, ValueError) as error:
        raise Unanswered(type(error).__name__) from error
    if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
        raise Unanswered("a reply that is no answer")
    problem = answer.get("error")
    # Of logs it may also mean that these were too many: whoever asked asks for less.
    limited = isinstance(problem, dict) and problem.get("code") == _LIMITED
    if limited and method != "eth_getLogs":
        raise Unanswered("it limits our requests")
    return answer
