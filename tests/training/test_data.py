"""Text to shards to batches: deterministic, verified, and no sequence twice in an epoch."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.training.corpus import CorpusSettings, collect_texts, prepare_corpus, split_texts
from protocol.training.data import Schedule, open_dataset
from protocol.training.errors import DataError, NoText
from protocol.training.tokens import byte_encoder, load_bpe, train_bpe


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 7), st.integers(0, 9))
def test_no_sequence_comes_twice_in_an_epoch(
    tasks: int, micro_batches: int, sequences: int, seed: int
) -> None:
    per_round = tasks * micro_batches * sequences
    rounds = 3
    schedule = Schedule(seed, per_round * rounds, tasks, micro_batches, sequences)
    epochs = [
        [
            number
            for round_ in range(epoch * rounds, (epoch + 1) * rounds)
            for task in range(tasks)
            for micro_batch in range(micro_batches)
            for number in schedule.sequences_of(round_, task, micro_batch)
        ]
        for epoch in range(2)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(per_round * rounds))
    if per_round * rounds > 12:
        assert epochs[0] != epochs[1]
        assert epochs[0] != sorted(epochs[0])


def test_order_follows_the_seed() -> None:
    orders = {tuple(Schedule(seed, 1000, 3, 1, 8).sequences_of(0, 0, 0)) for seed in range(20)}
    assert len(orders) == 20


def test_batch_is_text_and_its_successor(job: Any) -> None:
    batch = job.dataset.batch(1, 2, 0)
    assert batch.dtype == torch.int64
    assert batch.shape == (job.manifest.batch.sequences, job.manifest.sequence_length + 1)
    text = b"".join(path.read_bytes() for path in job.authored.files.values())
    for row in batch:
        stored = b"".join(int(token).to_bytes(2, "little") for token in row)
        assert stored in text


def test_batches_of_other_places_differ(job: Any) -> None:
    places = [(r, t, m) for r in range(2) for t in range(3) for m in range(2)]
    batches = {tuple(job.dataset.batch(*place).flatten().tolist()) for place in places}
    assert len(batches) == len(places)


def test_evaluation_batches_cover_the_evaluation_set(job: Any) -> None:
    batches = job.dataset.evaluation_batches()
    assert sum(len(batch) for batch in batches) == job.manifest.evaluation.sequences
    assert {len(batch) for batch in batches} == {job.manifest.batch.sequences}
    assert len({tuple(row.tolist()) for batch in batches for row in batch}) == 8


@pytest.mark.parametrize("where", ["training", "evaluation"])
@pytest.mark.parametrize(
    "change", [lambda b: b[:-2], lambda b: b + b"\0\0", lambda b: b"\1" + b[1:]]
)
def test_shard_that_is_not_the_jobs_is_refused(
    job: Any, tmp_path: Path, where: str, change: Any
) -> None:
    shard = job.manifest.evaluation.shard
    if where == "training":
        shard = job.manifest.data.shards[0]
    forged = tmp_path / "forged"
    forged.write_bytes(change(job.path_of(shard.cid).read_bytes()))
    with pytest.raises(DataError):
        open_dataset(job.manifest, lambda cid: forged if cid == shard.cid else job.path_of(cid))


def test_token_outside_the_vocabulary_is_refused(job: Any) -> None:
    small = dataclasses.replace(job.manifest.model, vocabulary=100)
    with pytest.raises(DataError, match="vocabulary of 100"):
        open_dataset(dataclasses.replace(job.manifest, model=small), job.path_of)


def test_missing_shard_is_refused(job: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(job.manifest, lambda _cid: tmp_path / "nothing")


def test_folder_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "nul.py").write_bytes(b"a\0b")
    (tmp_path / "empty.py").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("text, but not asked for")
    (tmp_path / "link.py").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(NoText, match="no text"):
        prepare_corpus(tmp_path, tmp_path / "out", CorpusSettings(16))
    with pytest.raises(NoText):
        collect_texts(tmp_path / "missing", CorpusSettings(16))


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(NoText, match="too short"):
        prepare_corpus(tmp_path, tmp_path / "out", CorpusSettings(16))


def test_documents_are_kept_apart(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"{i}.py").write_text(f"document {i}")
    texts = collect_texts(tmp_path, CorpusSettings(16))
    training, held = split_texts(texts, 20)
    assert sorted(training + held) == sorted(texts)
    assert len(held) == 2
    few = collect_texts(tmp_path, CorpusSettings(16, most_bytes=100))
    assert 5 < len(few) < 12
    assert set(few) < set(texts)


def test_one_document_gives_its_end_to_the_evaluation() -> None:
    assert split_texts(["0123456789"], 20) == (["012345678"], ["9"])


def test_many_shards_hold_the_same_tokens_as_one(text_folder: Path, tmp_path: Path) -> None:
    one = prepare_corpus(text_folder, tmp_path / "one", CorpusSettings(16))
    many = prepare_corpus(text_folder, tmp_path / "many", CorpusSettings(16, shard_tokens=5000))
    assert len(many.training) > 3
    assert all(shard.tokens <= 5000 for shard, _ in many.training)
    joined = b"".join(path.read_bytes() for _, path in many.training)
    assert joined == one.training[0][1].read_bytes()[: len(joined)]


def test_byte_tokens_are_bytes() -> None:
    encoder = byte_encoder()
    text = "def f():\n\treturn 'é€😀'  \r\n"
    assert list(encoder.encode(text)) == encoder.tokenizer.encode(text).ids
    assert encoder.decode(list(encoder.encode(text))) == text
    assert (encoder.end, encoder.tokens) == (256, 257)


def test_bpe_round_trips_and_is_the_same_every_time(text_folder: Path) -> None:
    texts = collect_texts(text_folder, CorpusSettings(16))
    encoder = train_bpe(texts, 300)
    assert encoder.tokens == 300
    assert load_bpe(encoder.file).decode(encoder.encode(texts[0])) == texts[0]
    assert train_bpe(texts, 300).file == encoder.file
    assert len(encoder.encode(texts[0])) < len(texts[0].encode())


@pytest.mark.parametrize("file", [b"", b"{}", b"\xff", b'{"model":{"type":"BPE"}}'])
def test_file_that_is_no_tokenizer_is_refused(file: bytes) -> None:
    with pytest.raises(DataError):
        load_bpe(file)
