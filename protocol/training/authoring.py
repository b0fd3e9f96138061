"""Writing a job: from a few settings and a folder of text to a manifest and files to publish.

Runs once, on the requester's machine. Everything a task would otherwise take from a mathematics
library is computed here and rounded to binary32, so that no task ever does.
INVARIANT: equal settings and equal text give an equal manifest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from protocol.storage.cid import Cid
from protocol.storage.unixfs import cid_of_bytes
from protocol.training.bundle import Bundle, write_bundle
from protocol.training.canonical import round_to_float32
from protocol.training.corpus import Corpus, CorpusSettings, prepare_corpus
from protocol.training.data import open_dataset
from protocol.training.genesis import genesis_state
from protocol.training.manifest import Manifest
from protocol.training.manifest_parts import (
    AdamWRow,
    Aggregation,
    Batch,
    Evaluation,
    Genesis,
    NumericProfile,
    ProgramRef,
    Tokenizer,
)
from protocol.training.model import VALIDATION_LOSS, parameters_of
from protocol.training.model_config import Gpt2Config
from protocol.training.program import evaluate
from protocol.training.program_text import NAME, program_root

MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What a requester chooses; the defaults are the demonstration job.

    The learning rate rises linearly over `warmup` steps to `learning_rate`, then falls along a
    cosine to `final_rate` times that at the last step. `vocabulary` 0 means the tokenizer's,
    rounded up to a multiple of 16. The large `epsilon` is what lets so few steps take so high a
    rate: it keeps AdamW from moving parameters whose gradient is all noise.
    """

    name: str = "demo"
    layers: int = 4
    width: int = 128
    heads: int = 4
    vocabulary: int = 0
    activation: str = "gelu_pytorch_tanh"
    sequence_length: int = 64
    sequences: int = 8
    micro_batches: int = 1
    rounds: int = 6
    tasks: int = 6
    learning_rate: float = 1.5e-2
    warmup: int = 1
    final_rate: float = 0.1
    betas: tuple[float, float] = (0.8, 0.95)
    epsilon: float = 1e-3
    weight_decay: float = 0.1
    norm_clip: float = 1.0
    evaluation_sequences: int = 32
    seed: int = 0
    b: int = 14
    kb: int = 1024
    tokenizer: str = "bytes"
    bpe_vocabulary: int = 1024
    patterns: tuple[str, ...] = ("*.py",)
    most_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Authored:
    """A job ready to post: its manifest, its first state, and every file to publish."""

    manifest: Manifest
    manifest_path: Path
    genesis: Bundle
    files: Mapping[Cid, Path]


def author_job(folder: Path, out: Path, settings: JobSettings) -> Authored:
    """Turn the text in `folder` into a job whose files lie in `out`.

    Raises `NoText` when there is too little text, `ManifestError` when the settings do not make
    a valid manifest (its path names the setting).
    """
    corpus = prepare_corpus(folder, out / "data", _corpus_settings(settings))
    draft = _draft(settings, corpus)
    # Refused before a model of that size is drawn.
    draft.encode()
    paths = {shard.cid: path for shard, path in (*corpus.training, corpus.evaluation)}
    state = genesis_state(draft, settings.seed)
    dataset = open_dataset(draft, paths.__getitem__)
    state[VALIDATION_LOSS] = evaluate(draft, parameters_of(draft, state), dataset)
    bundle = write_bundle(state, out / "genesis")
    manifest = dataclasses.replace(draft, genesis=Genesis(bundle.root, bundle.cid))
    manifest_path = out / MANIFEST_NAME
    manifest_path.write_bytes(manifest.encode())
    files = paths | {Cid.raw(manifest.digest()): manifest_path, bundle.cid: bundle.index_path}
    files |= dict(zip(bundle.shard_cids, bundle.shard_paths, strict=True))
    if manifest.tokenizer.cid is not None:
        tokenizer_path = out / TOKENIZER_NAME
        tokenizer_path.write_bytes(corpus.encoder.file)
        files[manifest.tokenizer.cid] = tokenizer_path
    return Authored(manifest, manifest_path, bundle, files)


def adamw_table(settings: JobSettings) -> tuple[AdamWRow, ...]:
    """Compute one row of optimiser scalars per round, each rounded to binary32 once."""
    first, second = settings.betas
    rows = []
    for step in range(settings.rounds):
        rate = learning_rate(settings, step)
        values = (
            1 - rate * settings.weight_decay,
            first,
            1 - first,
            second,
            1 - second,
            rate / (1 - first ** (step + 1)),
            1 / math.sqrt(1 - second ** (step + 1)),
            settings.epsilon,
        )
        rows.append(AdamWRow(*(round_to_float32(value) for value in values)))
    return tuple(rows)


def learning_rate(settings: JobSettings, step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    span = max(1, settings.rounds - 1 - settings.warmup)
    falling = (1 + math.cos(math.pi * min(1.0, (step - settings.warmup) / span))) / 2
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * falling)


def _corpus_settings(settings: JobSettings) -> CorpusSettings:
    return CorpusSettings(
        sequence_length=settings.sequence_length,
        patterns=settings.patterns,
        tokenizer=settings.tokenizer,
        bpe_vocabulary=settings.bpe_vocabulary,
        most_bytes=settings.most_bytes,
    )


def _draft(settings: JobSettings, corpus: Corpus) -> Manifest:
    """Return the manifest with a genesis that is still to be computed."""
    tokenizer = Tokenizer("bytes")
    if corpus.encoder.kind == "bpe":
        tokenizer = Tokenizer("bpe", cid_of_bytes(corpus.encoder.file))
    return Manifest(
        name=settings.name,
        model=_model(settings, corpus.encoder.tokens),
        tokenizer=tokenizer,
        profile=NumericProfile(b=settings.b, kb=settings.kb),
        program=ProgramRef(NAME, program_root()),
        data=corpus.data,
        sequence_length=settings.sequence_length,
        batch=Batch(settings.sequences, settings.micro_batches),
        rounds=settings.rounds,
        tasks=settings.tasks,
        order_seed=settings.seed,
        optimiser=adamw_table(settings),
        aggregation=Aggregation("mean", round_to_float32(settings.norm_clip)),
        evaluation=Evaluation(corpus.evaluation[0], settings.evaluation_sequences),
        genesis=Genesis(bytes(32), Cid.raw(bytes(32))),
    )


def _model(settings: JobSettings, tokens: int) -> Gpt2Config:
    return Gpt2Config(
        vocabulary=settings.vocabulary or -(-tokens // 16) * 16,
        positions=settings.sequence_length,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        activation=settings.activation,
        layer_norm_epsilon=round_to_float32(1e-5),
        attention_scale=round_to_float32(1 / math.sqrt(settings.width / settings.heads)),
    )
