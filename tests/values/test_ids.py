"""How sessions, runs and events get their names."""

from __future__ import annotations

import os
import re
import threading
from itertools import pairwise

import pytest

from asm_actors.ids import RandomIds, SequentialIds, event_id, normalized_event_id

SOURCES = [RandomIds, SequentialIds]


@pytest.mark.parametrize("source", SOURCES)
def test_names_have_their_prefix_and_32_hex_digits(source):
    ids = source()
    assert re.fullmatch(r"ses_[0-9a-f]{32}", ids.session())
    assert re.fullmatch(r"run_[0-9a-f]{32}", ids.run())
    assert re.fullmatch(r"evt_[0-9a-f]{32}", event_id(ids.block(), 0))
    assert re.fullmatch(r"nevt_[0-9a-f]{32}", normalized_event_id(ids.block(), 0))


@pytest.mark.parametrize("source", SOURCES)
def test_names_do_not_repeat(source):
    ids = source()
    names = [ids.session() for _ in range(500)] + [ids.run() for _ in range(500)]
    names += [event_id(base, k) for base in [ids.block() for _ in range(500)] for k in range(3)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("source", SOURCES)
def test_blocks_fit_128_bits_and_lie_far_apart(source):
    ids = source()
    blocks = [ids.block() for _ in range(100)]
    assert all(0 <= block < 1 << 128 for block in blocks)
    steps = {(after - before) % (1 << 128) for before, after in pairwise(blocks)}
    assert steps == {1 << 32}


@pytest.mark.parametrize(
    ("base", "index", "name"),
    [
        (0, 0, "evt_" + "0" * 32),
        (0, 255, "evt_" + "0" * 30 + "ff"),
        ((1 << 128) - 1, 0, "evt_" + "f" * 32),
        ((1 << 128) - 1, 1, "evt_" + "0" * 32),
    ],
)
def test_event_ids_count_on_from_the_block_and_wrap(base, index, name):
    assert event_id(base, index) == name
    assert normalized_event_id(base, index) == "n" + name


def test_sequential_names_are_the_same_in_every_replay():
    def names():
        ids = SequentialIds()
        return [ids.session(), ids.session(), ids.run(), ids.block(), ids.block()]

    assert names() == names()
    assert names() == [
        "ses_" + "0" * 31 + "1",
        "ses_" + "0" * 31 + "2",
        "run_" + "0" * 31 + "1",
        1 << 32,
        2 << 32,
    ]


def test_random_names_lie_in_an_index_in_the_order_of_time(monkeypatch):
    now = 1_800_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now)
    early = RandomIds().session()
    now += 1_000_000
    late = [RandomIds().session() for _ in range(20)]
    assert early < min(late)
    assert {name[4:16] for name in late} == {f"{now // 1_000_000:012x}"}
    assert len({name[16:] for name in late}) == 20


def test_two_random_sources_start_at_different_blocks():
    assert RandomIds().block() != RandomIds().block()


def test_a_forked_child_draws_its_own_names():
    ids = RandomIds()
    ids.session()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, f"{ids.session()} {ids.block()}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        session, block = told.read().split()
    os.waitpid(child, 0)
    assert session != ids.session()
    assert abs(int(block) - ids.block()) > 1 << 64


def test_threads_never_share_a_block():
    ids = RandomIds()
    ids.block()
    drawn: list[list[int]] = [[] for _ in range(4)]

    def draw(mine):
        mine.extend(ids.block() for _ in range(500))

    threads = [threading.Thread(target=draw, args=(mine,)) for mine in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({block for mine in drawn for block in mine}) == 2_000
