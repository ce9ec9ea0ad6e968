"""What opening and writing say when the disk, the permissions or the file are not as they must be."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal import lmdb_presence, writer_lock
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.testing.store_builders import more, new_session, numbers, put, raises

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def journal(tmp_path):
    """A journal with one session of five events."""
    store = LmdbStore(tmp_path / "journal")
    store.open()
    put(store, new_session("a", 5))
    store.close()
    return tmp_path / "journal"


def opened(path, **options):
    store = LmdbStore(path, **options)
    store.open()
    return store


def refused(path, **options):
    with pytest.raises(AsmError) as caught:
        opened(path, **options)
    return caught.value


@contextmanager
def files_up_to(size):
    """Let no file of this process grow beyond so many bytes: to the writer that is a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


# --- No room


def test_a_full_disk_refuses_commits_and_recovers_by_itself(journal):
    store = opened(journal)
    size = (journal / "data.mdb").stat().st_size
    big = [more("a", 200, 5 + 200 * k) for k in range(40)]
    with files_up_to(size + (1 << 15)):
        answers = []
        with pytest.raises(AsmError) as caught:
            for append in big:
                answers += put(store, append)
        error = caught.value
        assert error.code is ErrorCode.STORAGE_WRITE_FAILED
        assert "Make room on the disk" in error.message
        # What was acknowledged can be read, and trying again fails again.
        assert store.head("a") == 5 + 200 * len(answers)
        with raises(ErrorCode.STORAGE_WRITE_FAILED):
            store.commit([big[len(answers)]])
    for append in big[len(answers) :]:
        put(store, append)
    assert numbers(store.read_session("a")) == list(range(1, 8006))
    assert store.verify().problems == ()
    store.close()
    store.open()
    assert store.head("a") == 8005
    store.close()


def test_a_full_disk_at_the_first_opening_says_so_and_leaves_no_lock(tmp_path):
    with files_up_to(4096):
        error = refused(tmp_path / "journal")
    assert error.code in (ErrorCode.STORAGE_CONNECTION_FAILED, ErrorCode.STORAGE_WRITE_FAILED)
    store = opened(tmp_path / "journal")
    put(store, new_session("a", 1))
    store.close()


def test_a_bounded_map_refuses_commits_and_the_rest_serves(tmp_path):
    store = opened(tmp_path / "journal", map_size=1 << 18, max_map_size=1 << 18)
    with pytest.raises(AsmError, match="limited to 262144 bytes") as caught:
        put(store, new_session("a", 20_000))
    assert caught.value.code is ErrorCode.STORAGE_WRITE_FAILED
    put(store, new_session("a", 5))
    assert store.verify().problems == ()
    store.close()


def test_a_backup_without_room_leaves_nothing(journal, tmp_path):
    store = opened(journal)
    with files_up_to(8192), raises(ErrorCode.STORAGE_WRITE_FAILED):
        store.backup(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal"]
    with files_up_to((journal / "data.mdb").stat().st_size // 2), raises(ErrorCode.STORAGE_WRITE_FAILED):
        store.compact()
    assert numbers(store.read_session("a")) == [1, 2, 3, 4, 5]
    put(store, more("a", 1, 5))
    store.close()


def test_a_full_disk_at_the_first_opening_leaves_no_half_journal(tmp_path):
    with files_up_to(4096):
        error = refused(tmp_path / "journal")
    assert error.retryable
    assert "Make room on the disk" in error.message
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == ["writer.lock"]


def no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["mkdir", "fsync", "link"])
def test_no_room_for_anything_that_a_first_opening_makes_is_an_error_that_can_be_tried_again(
    tmp_path, monkeypatch, name
):
    with monkeypatch.context() as patch:
        patch.setattr(os, name, no_room)
        error = refused(tmp_path / "journal")
    assert error.code is ErrorCode.STORAGE_CONNECTION_FAILED
    assert error.retryable
    assert "Make room on the disk" in error.message
    opened(tmp_path / "journal").close()


def test_no_room_for_the_writers_name_keeps_nobody_from_opening(journal, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(writer_lock.os, "write", no_room)
        store = opened(journal)
    assert numbers(store.read_session("a")) == [1, 2, 3, 4, 5]
    assert refused(journal).code is ErrorCode.JOURNAL_LOCKED
    store.close()


def test_the_lock_file_has_its_room_on_the_disk_before_it_is_mapped(journal):
    (journal / "lock.mdb").unlink()
    opened(journal).close()
    found = (journal / "lock.mdb").stat()
    assert found.st_blocks * 512 >= found.st_size


# --- No permission


def test_a_lock_file_that_a_reader_may_not_write_is_refused_with_the_reason(journal, monkeypatch):
    real = os.open

    def forbidden(path, *rest):
        if Path(path).name == "readers.lock":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", forbidden)
    error = refused(journal, readonly=True)
    assert error.code is ErrorCode.STORAGE_CONNECTION_FAILED
    assert "read and write lock.mdb and readers.lock" in error.message


def test_who_may_only_read_the_readers_lock_shares_it(journal, monkeypatch):
    real = os.open
    opened(journal, readonly=True).close()

    def forbidden(path, flags, *rest):
        if Path(path).name == "readers.lock" and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", forbidden)
        reader = opened(journal, readonly=True)
    handle = os.open(journal / "readers.lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
    reader.close()


def test_a_directory_that_this_user_may_not_search_is_refused(journal, monkeypatch):
    def forbidden(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(lmdb_presence.Path, "stat", forbidden)
    for readonly in (False, True):
        error = refused(journal, readonly=readonly)
        assert error.code is ErrorCode.STORAGE_CONNECTION_FAILED
        assert "needs the right to read" in error.message


@pytest.mark.skipif(IS_ROOT, reason="nothing is forbidden to root")
@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_that_this_user_may_not_read_is_refused(journal, readonly):
    (journal / "data.mdb").chmod(0)
    assert refused(journal, readonly=readonly).code is ErrorCode.STORAGE_CONNECTION_FAILED
    (journal / "data.mdb").chmod(0o600)
    opened(journal, readonly=readonly).close()


@pytest.mark.skipif(IS_ROOT, reason="nothing is forbidden to root")
def test_a_directory_that_this_user_may_not_write_is_refused(journal):
    for path in journal.iterdir():
        path.chmod(0o400)
    journal.chmod(0o500)
    error = refused(journal)
    assert error.code is ErrorCode.STORAGE_CONNECTION_FAILED
    assert "write" in error.message or "locked" in error.message
    journal.chmod(0o700)
    for path in journal.iterdir():
        path.chmod(0o600)
    opened(journal).close()


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "journal").write_text("mine")
    error = refused(tmp_path / "journal")
    assert error.code is ErrorCode.STORAGE_CONNECTION_FAILED
    assert (tmp_path / "journal").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / "file" / "journal").code is ErrorCode.STORAGE_CONNECTION_FAILED


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "journal" / "data.mdb").mkdir(parents=True)
    assert refused(tmp_path / "journal").code is ErrorCode.STORAGE_CONNECTION_FAILED


# --- Not a journal, or a damaged one


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + bytes(9000), bytes(20_000)])
@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_that_is_no_lmdb_is_refused_and_left_alone(tmp_path, content, readonly):
    (tmp_path / "journal").mkdir()
    file = tmp_path / "journal" / "data.mdb"
    file.write_bytes(content)
    error = refused(tmp_path / "journal", readonly=readonly)
    assert error.code is ErrorCode.STORAGE_READ_FAILED
    assert "backup" in error.message
    assert file.read_bytes() == content


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.2])
@pytest.mark.parametrize("readonly", [False, True])
def test_a_cut_file_is_refused_and_left_alone(journal, keep, readonly):
    file = journal / "data.mdb"
    with file.open("r+b") as handle:
        handle.truncate(int(file.stat().st_size * keep) // 4096 * 4096)
    before = file.read_bytes()
    error = refused(journal, readonly=readonly)
    assert error.code is ErrorCode.STORAGE_READ_FAILED
    assert "backup" in error.message
    assert file.read_bytes() == before


def test_a_page_that_the_library_cannot_read_is_an_error_with_the_way_out(journal):
    file = journal / "data.mdb"
    content = bytearray(file.read_bytes())
    # Every page but the two that begin the file: page number, padding, flags. No page has all of these flags.
    for page in range(2, len(content) // 4096):
        content[page * 4096 + 10 : page * 4096 + 12] = b"\x00\x00"
    file.write_bytes(content)
    for call in (lambda: opened(journal), lambda: LmdbStore(journal).repair()):
        with pytest.raises(AsmError) as caught:
            call()
        assert caught.value.code is ErrorCode.STORAGE_READ_FAILED
        assert "backup" in caught.value.message
    assert file.read_bytes() == bytes(content)


def test_a_second_writer_is_told_who_has_it(journal):
    store = opened(journal)
    error = refused(journal)
    assert error.code is ErrorCode.JOURNAL_LOCKED
    assert error.details["pid"] == os.getpid()
    store.close()


def test_a_refused_opening_can_be_tried_again(journal):
    file = journal / "data.mdb"
    content = file.read_bytes()
    store = LmdbStore(journal)
    file.write_bytes(b"hello")
    with raises(ErrorCode.STORAGE_READ_FAILED):
        store.open()
    file.write_bytes(content)
    store.open()
    assert numbers(store.read_session("a")) == [1, 2, 3, 4, 5]
    store.close()
