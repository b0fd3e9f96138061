"""From a folder of text to token shards, on the requester's machine.

INVARIANTS: the same files give the same shards, whatever order the file system lists them in; no
document is in both splits; a document ends with the end token, so that a model learns to stop.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.storage.unixfs import cid_of_file
from protocol.training.data import shard_root
from protocol.training.errors import NoText
from protocol.training.manifest_parts import Data, Shard
from protocol.training.tokens import TextEncoder, byte_encoder, train_bpe

_MAX_FILE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """How text becomes shards. `tokenizer` is `bytes`, or `bpe` with `bpe_vocabulary` tokens.

    Every `evaluation_every`-th document is set aside; about `most_bytes` of text are used.
    """

    sequence_length: int
    patterns: tuple[str, ...] = ("*.py",)
    tokenizer: str = "bytes"
    bpe_vocabulary: int = 1024
    evaluation_every: int = 20
    most_bytes: int = 8 << 20
    shard_tokens: int = 1 << 24


@dataclass(frozen=True, slots=True)
class Corpus:
    """Shards on disk with their files: the training ones and the one for evaluation."""

    encoder: TextEncoder
    training: tuple[tuple[Shard, Path], ...]
    evaluation: tuple[Shard, Path]
    documents: int

    @property
    def data(self) -> Data:
        """The training part of the manifest."""
        return Data(self.encoder.token_bytes, tuple(shard for shard, _ in self.training))


def prepare_corpus(folder: Path, out: Path, settings: CorpusSettings) -> Corpus:
    """Collect, split, tokenise and pack the text of a folder into shards below `out`.

    Raises `NoText` when there is no text, or too little for one sequence in either split.
    """
    texts = collect_texts(folder, settings)
    training, held = split_texts(texts, settings.evaluation_every)
    if settings.tokenizer == "bpe":
        encoder = train_bpe(training, settings.bpe_vocabulary)
    else:
        encoder = byte_encoder()
    # A shard that holds no whole sequence would be refused by every reader.
    least = settings.sequence_length + 1
    packed = pack_shards(training, encoder, out, "train", settings.shard_tokens)
    usable = tuple(entry for entry in packed if entry[0].tokens >= least)
    held_out = pack_shards(held, encoder, out, "evaluation", settings.shard_tokens)
    if not usable or held_out[0][0].tokens < least:
        raise NoText(
            f"The text in {folder} is too short",
            why=f"Training and evaluation need {least} tokens each.",
            fix="Add text, or choose a shorter sequence_length.",
        )
    return Corpus(encoder, usable, held_out[0], len(texts))


def collect_texts(folder: Path, settings: CorpusSettings) -> list[str]:
    """Read the UTF-8 files below a folder whose names match, in the order of their paths.

    Links, files over 16 MiB, and files that are not text are passed over. When there is more
    than `most_bytes`, files are picked by the hash of their path. Raises `NoText`.
    """
    found = {}
    for path in _walk(folder, settings.patterns):
        if text := _read_text(path):
            found[path.relative_to(folder).as_posix()] = text
    if not found:
        raise NoText(
            f"The folder {folder} holds no text to train on",
            why=f"No non-empty UTF-8 file matches {', '.join(settings.patterns)}.",
            fix="Name a folder with such files, or other patterns.",
        )
    picked: list[str] = []
    total = 0
    for name in sorted(found, key=lambda name: hashlib.sha256(os.fsencode(name)).digest()):
        total += len(found[name].encode("utf-8"))
        if picked and total > settings.most_bytes:
            break
        picked.append(name)
    return [found[name] for name in sorted(picked)]


def _walk(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(parent, name)
            if any(fnmatch.fnmatchcase(name, p) for p in patterns) and not path.is_symlink():
                yield path


def _read_text(path: Path) -> str:
    """Return the text of a file, empty when it is none."""
    if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
        return ""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text


def split_texts(texts: Sequence[str], every: int) -> tuple[list[str], list[str]]:
    """Set every n-th document aside for evaluation; a single document gives its last tenth."""
    if len(texts) < 2:
        cut = len(texts[0]) * 9 // 10
        return [texts[0][:cut]], [texts[0][cut:]]
    step = min(every, len(texts))
    held = [text for i, text in enumerate(texts) if i % step == step - 1]
    return [text for i, text in enumerate(texts) if i % step != step - 1], held


def pack_shards(
    texts: Iterable[str], encoder: TextEncoder, folder: Path, stem: str, most: int
) -> list[tuple[Shard, Path]]:
    """Write documents end to end into little-endian shards of at most `most` tokens each."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = np.dtype("<u2" if encoder.token_bytes == 2 else "<i4")
    written: list[tuple[Shard, Path]] = []
    for number, tokens in enumerate(_cut(texts, encoder, dtype, most)):
        path = folder / f"{stem}-{number:05d}.tokens"
        path.write_bytes(tokens.tobytes())
        shard = Shard(cid_of_file(path), shard_root(path), tokens.nbytes, tokens.size)
        written.append((shard, path))
    return written


def _cut(
    texts: Iterable[str], encoder: TextEncoder, dtype: np.dtype[np.generic], most: int
) -> Iterator[NDArray[np.generic]]:
    parts: list[NDArray[np.generic]] = []
    held = 0
    for text in texts:
        encoded = encoder.encode(text)
        body = np.frombuffer(encoded, np.uint8) if isinstance(encoded, bytes) else encoded
        tokens = np.append(body, encoder.end).astype(dtype)
        while held + tokens.size >= most:
            yield np.concatenate([*parts, tokens[: most - held]])
            tokens, parts, held = tokens[most - held :], [], 0
        parts.append(tokens)
        held += tokens.size
    if held:
        yield np.concatenate(parts)
