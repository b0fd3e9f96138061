"""Text to tokens and back: bytes, or a byte-level BPE trained on the corpus.

Used when a job is written and when its model is tried out, never inside a task. Both kinds are a
tokenizers-library file, so that an exported model carries its tokenizer with it.
INVARIANT: in the `bytes` kind, token i below 256 is byte i, and 256 ends a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from protocol.training.errors import DataError

END_TEXT: Final = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """A tokenizer with its end token; `kind` is `bytes` or `bpe`, as in the manifest."""

    kind: str
    tokenizer: Any
    end: int
    tokens: int

    @property
    def token_bytes(self) -> int:
        """Bytes a token takes in a shard."""
        return 2 if self.tokens <= 1 << 16 else 4

    @property
    def file(self) -> bytes:
        """The tokenizer's file, to publish and to export."""
        return str(self.tokenizer.to_str()).encode("utf-8")

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text, without an end token."""
        if self.kind == "bytes":
            # The same tokens as the library's, without its per-character objects.
            return text.encode("utf-8")
        ids: Sequence[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; bytes that are no UTF-8 become replacement characters."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text


def byte_encoder() -> TextEncoder:
    """Return the tokenizer whose tokens are bytes."""
    from tokenizers.models import BPE

    vocabulary = {character: byte for byte, character in enumerate(_byte_alphabet())}
    tokenizer = _byte_level(BPE(vocabulary, []))
    tokenizer.add_special_tokens([END_TEXT])
    return _wrap("bytes", tokenizer)


def train_bpe(texts: Iterable[str], vocabulary: int = 1024) -> TextEncoder:
    """Train a byte-level BPE of `vocabulary` tokens, the end token included."""
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    tokenizer = _byte_level(BPE(), regex=True)
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_TEXT],
        initial_alphabet=_byte_alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrap("bpe", tokenizer)


def load_bpe(file: bytes) -> TextEncoder:
    """Read a published tokenizer. Raises `DataError` when the bytes are none."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(file.decode("utf-8"))
    except Exception as error:
        raise DataError(
            f"These {len(file)} bytes are no tokenizer file",
            why=str(error),
            fix="Fetch the tokenizer the manifest names again.",
        ) from error
    return _wrap("bpe", tokenizer)


def _byte_level(model: Any, regex: bool = False) -> Any:
    from tokenizers import Tokenizer, decoders, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _wrap(kind: str, tokenizer: Any) -> TextEncoder:
    end = tokenizer.token_to_id(END_TEXT)
    if end is None:
        raise DataError(
            f"The tokenizer has no {END_TEXT} token",
            fix="Train it with this release, or add the token.",
        )
    return TextEncoder(kind, tokenizer, int(end), int(tokenizer.get_vocab_size()))


def _byte_alphabet() -> list[str]:
    """Return the visible character that stands for each byte, as GPT-2 chose them."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(stand_ins)) for byte in range(256)]
