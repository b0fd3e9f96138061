"""The market's events, decoded as web3 decodes them."""

from typing import Any

from eth_abi import encode
from eth_abi.tools import get_abi_strategy
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3
from web3._utils.events import get_event_data

from protocol.chain.artifacts import artifact
from protocol.chain.event_codec import EventCodec
from protocol.chain.signatures import canonical_type, signature

ABI = artifact("JobMarket").abi
EVENTS = [entry for entry in ABI if entry["type"] == "event"]
CODEC = EventCodec(ABI)
WEB3 = Web3()


def plain(value: Any) -> Any:
    """web3's attribute dictionaries as dictionaries."""
    return {k: plain(v) for k, v in value.items()} if hasattr(value, "items") else value


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_everyEvent_isWhatWeb3MakesOfIt(data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(EVENTS), label="event")
    kinds = [canonical_type(one) for one in entry["inputs"]]
    values = [data.draw(get_abi_strategy(kind)) for kind in kinds]
    both = list(zip(entry["inputs"], kinds, values, strict=True))
    topics = [encode([kind], [value]) for one, kind, value in both if one["indexed"]]
    loose = [(kind, value) for one, kind, value in both if not one["indexed"]]
    body = encode([kind for kind, _ in loose], [value for _, value in loose])
    first = bytes(Web3.keccak(text=signature(entry)))
    raw = {
        "topics": ["0x" + topic.hex() for topic in (first, *topics)],
        "data": "0x" + body.hex(),
        "address": "0x" + "11" * 20,
        "logIndex": "0x3",
        "transactionIndex": "0x0",
        "transactionHash": "0x" + "22" * 32,
        "blockHash": "0x" + "33" * 32,
        "blockNumber": "0x7",
    }
    event = CODEC.decode(raw)
    theirs = get_event_data(
        WEB3.codec, entry, {**raw, "topics": [first, *topics], "data": body, "blockNumber": 7}
    )
    assert (event.name, event.block, event.log) == (entry["name"], 7, 3)
    assert event.transaction == raw["transactionHash"]
    assert event.args == plain(theirs["args"])
    assert list(event.args) == [one["name"] for one in entry["inputs"]]
