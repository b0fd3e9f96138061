"""Openings outlive their process: whole or not at all, and never replaced."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from protocol.role.openings import SAFE_BLOCKS, OpeningStore, make_opening, new_salt
from protocol.rules.history import MarketHistory
from protocol.rules.records import Ending, JobId, Stage
from protocol.rules.sealing import SealContext, seal, witness_hash
from tests.support.rounds import address, digest
from tests.support.sights import CHAIN_ID, MARKET, Scene, opening_of

ME = address(1001)
FIRST = opening_of(ME, Stage.WORK, 2)
RIVAL = opening_of(ME, Stage.WORK, 2, salt=2)


def test_saved_opening_is_read_by_the_next_process(tmp_path: Path) -> None:
    OpeningStore(tmp_path).save(FIRST)
    other = opening_of(ME, Stage.PANEL, 2, 1)
    OpeningStore(tmp_path).save(other)
    assert OpeningStore(tmp_path).all() == {FIRST.key: FIRST, other.key: other}


def test_same_process_keeps_the_first_opening(tmp_path: Path) -> None:
    store = OpeningStore(tmp_path)
    store.save(FIRST)
    store.save(RIVAL)
    assert store.all()[FIRST.key] == FIRST


def test_two_processes_keep_the_first_opening(tmp_path: Path) -> None:
    """Both started before either saved; the one whose seal may be out already must win."""
    early, late = OpeningStore(tmp_path), OpeningStore(tmp_path)
    early.save(FIRST)
    late.save(RIVAL)
    assert late.all()[FIRST.key] == FIRST
    assert OpeningStore(tmp_path).all()[FIRST.key] == FIRST


def test_crash_before_the_file_is_in_place_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", crash)
    store = OpeningStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.save(FIRST)
    assert FIRST.key not in store.all()
    monkeypatch.undo()
    again = OpeningStore(tmp_path)
    assert again.all() == {}
    again.save(RIVAL)
    assert OpeningStore(tmp_path).all() == {RIVAL.key: RIVAL}


def test_file_is_synced_before_it_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), sync(handle)))
    monkeypatch.setattr(os, "link", lambda a, b: (order.append("link"), link(a, b)))
    OpeningStore(tmp_path).save(FIRST)
    assert order == ["fsync", "link", "fsync"]


def test_openings_go_when_no_window_can_ask_for_them(tmp_path: Path) -> None:
    """A round's stay until its history is forgotten, a job's last ones until its end is old."""
    scene = Scene()
    openings = [opening_of(ME, Stage.WORK, 2, round_=number) for number in range(4)]
    store = OpeningStore(tmp_path)
    for opening in openings:
        store.save(opening)
    shown = store.all()
    scene.past.forgotten = 2
    store.tidy(scene.market, 1000)
    kept = {opening.key: opening for opening in openings[2:]}
    assert shown == store.all() == OpeningStore(tmp_path).all() == kept
    scene.past.ending, scene.past.ended_at = Ending.COMPLETED, 1000
    store.tidy(scene.market, 1000 + SAFE_BLOCKS)
    assert store.all() == kept
    store.tidy(scene.market, 1001 + SAFE_BLOCKS)
    assert store.all() == OpeningStore(tmp_path).all() == {}
    assert list(tmp_path.iterdir()) == []


def test_openings_of_a_job_that_has_not_been_read_stay(tmp_path: Path) -> None:
    store = OpeningStore(tmp_path)
    store.save(FIRST)
    store.tidy(MarketHistory(), 10**6)
    assert OpeningStore(tmp_path).all() == {FIRST.key: FIRST}


def test_openings_are_for_their_owner_only(tmp_path: Path) -> None:
    OpeningStore(tmp_path).save(FIRST)
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_panel_seals_the_witness_others_its_hash() -> None:
    root, cid, witness, salt = (digest(name) for name in ("r", "c", "w", "s"))
    context = SealContext(CHAIN_ID, MARKET, JobId(1), 0, 2, Stage.WORK, ME)
    h = witness_hash(JobId(1), 0, 2, witness)
    work = make_opening(context, 0, root, cid, witness, salt)
    assert work.hash == seal(context, root, cid, h, salt)
    assert work.outcome.h == h
    for stage in (Stage.PANEL, Stage.UPDATE_PANEL):
        panel = dataclasses.replace(context, stage=stage)
        vote = make_opening(panel, 1, root, cid, witness, salt)
        assert vote.hash == seal(panel, root, cid, witness, salt)
        assert vote.outcome.h == h


def test_salts_do_not_repeat() -> None:
    assert len({new_salt() for _ in range(100)}) == 100
