"""Raw logs of one contract as typed events.

The decoder of each event is made once: web3's own goes through the ABI again for every log, which
takes ten times as long. A test compares the two.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from eth_abi.decoding import ContextFramesBytesIO
from eth_abi.registry import registry
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from protocol.chain.signatures import canonical_type, signature
from protocol.rules.history import Event

Entry = dict[str, Any]
Shape = Callable[[Any], Any]
_checksummed = lru_cache(maxsize=65536)(to_checksum_address)


class EventCodec:
    """Decodes the events that `abi` declares."""

    def __init__(self, abi: Sequence[Entry]) -> None:
        events = [entry for entry in abi if entry["type"] == "event"]
        self._decoders = {keccak(text=signature(e)): _EventDecoder(e) for e in events}

    def decode(self, raw: Mapping[str, Any]) -> Event:
        """A typed event from a log as the RPC gives it."""
        topics = [bytes.fromhex(topic[2:]) for topic in raw["topics"]]
        decoder = self._decoders[topics[0]]
        return Event(
            name=decoder.name,
            args=decoder.arguments(topics[1:], bytes.fromhex(raw["data"][2:])),
            block=int(raw["blockNumber"], 16),
            log=int(raw["logIndex"], 16),
            transaction=raw["transactionHash"],
        )


class _EventDecoder:
    """Topics and data of one event, in the order in which the contract declares them."""

    def __init__(self, entry: Entry) -> None:
        self.name: str = entry["name"]
        inputs: Sequence[Entry] = entry["inputs"]
        self._indexed = [_Values([one]) for one in inputs if one["indexed"]]
        self._data = _Values([one for one in inputs if not one["indexed"]])
        self._order = [one["name"] for one in inputs]

    def arguments(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        found = self._data.decode(data)
        for values, topic in zip(self._indexed, topics, strict=True):
            found |= values.decode(topic)
        return {name: found[name] for name in self._order}


class _Values:
    """Named values in the ABI's encoding."""

    def __init__(self, inputs: Sequence[Entry]) -> None:
        self._names = [one["name"] for one in inputs]
        self._shapes = [_shape(one) for one in inputs]
        self._decoder = registry.get_tuple_decoder(*map(canonical_type, inputs))

    def decode(self, data: bytes) -> dict[str, Any]:
        if not self._names:
            return {}
        values = self._decoder(ContextFramesBytesIO(data))  # type: ignore[no-untyped-call]  # no types
        named = zip(self._names, self._shapes, values, strict=True)
        return {name: shape(value) for name, shape, value in named}


def _shape(entry: Entry) -> Shape:
    """How a decoded value is shown: checksummed addresses, structs by the names of their fields."""
    kind: str = entry["type"]
    assert not kind.endswith("]"), "no event of the market carries a list"
    if kind == "address":
        return _checksummed
    if kind == "tuple":
        fields = [(part["name"], _shape(part)) for part in entry["components"]]
        return lambda value: {n: shape(v) for (n, shape), v in zip(fields, value, strict=True)}
    return lambda value: value
