"""Where the bytes of artifacts lie: the contract on files and on objects, and what is particular to each."""

from __future__ import annotations

import os
import stat

import pytest

from asm_actors.errors import AsmError, ErrorCode, StorageError
from asm_actors.maintenance.file_artifacts import FileArtifactStore, file_name
from asm_actors.maintenance.s3_artifacts import S3ArtifactStore
from asm_actors.testing.artifact_contract import ArtifactStoreContract


class TestFileArtifactStore(ArtifactStoreContract):
    @pytest.fixture
    def artifacts(self, tmp_path):
        return FileArtifactStore(tmp_path / "deep" / "artifacts")


class TestS3ArtifactStore(ArtifactStoreContract):
    @pytest.fixture
    def artifacts(self, service):
        return S3ArtifactStore("bucket", "some/prefix/", client=service)


def test_a_file_is_named_by_its_key_and_a_digest():
    assert file_name("reports/2026 (final).txt").startswith("reports_2026_final_txt-")
    assert len(file_name("x" * 200)) == 32 + 1 + 16
    assert file_name("a/b") != file_name("a_b")
    assert len(file_name("🎉")) == 16


def test_files_are_for_their_user_only_and_nothing_else_lies_there(tmp_path):
    store = FileArtifactStore(tmp_path / "artifacts")
    store.put("key", b"x")
    assert [path.name for path in store.root.iterdir()] == [file_name("key")]
    assert stat.S_IMODE(store.path_of("key").stat().st_mode) == 0o600
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_a_put_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    store = FileArtifactStore(tmp_path)
    store.put("key", b"before")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="No space left") as caught:
        store.put("key", b"after")
    assert caught.value.code is ErrorCode.STORAGE_ERROR
    assert store.get("key") == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_root_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        FileArtifactStore(tmp_path / "file" / "below")


def test_a_file_that_cannot_be_read_is_no_absent_one(tmp_path):
    store = FileArtifactStore(tmp_path)
    store.path_of("key").mkdir()
    with pytest.raises(StorageError) as caught:
        store.get("key")
    assert caught.value.code is ErrorCode.STORAGE_ERROR
    with pytest.raises(StorageError):
        store.delete("key")


def test_objects_lie_below_the_prefix(service):
    store = S3ArtifactStore("bucket", "asm/", client=service)
    assert store.put("key", b"x") == "s3://bucket/asm/key"
    assert service.objects == {("bucket", "asm/key"): b"x"}


@pytest.mark.parametrize("failing", [RuntimeError("the line is cut"), ConnectionError()])
def test_what_a_client_raises_is_a_storage_error(service, failing):
    store = S3ArtifactStore("bucket", client=service)
    service.failing = failing
    for attempt in (lambda: store.put("k", b"x"), lambda: store.get("k"), lambda: store.delete("k")):
        with pytest.raises(StorageError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.STORAGE_ERROR
        assert caught.value.__cause__ is failing


def test_a_client_that_answers_nonsense_is_a_storage_error(service, monkeypatch):
    monkeypatch.setattr(service, "get_object", lambda **_: {})
    with pytest.raises(StorageError):
        S3ArtifactStore("bucket", client=service).get("k")


def test_deleting_an_absent_object_is_no_error_even_if_the_service_says_so(service):
    service.failing = service.ClientError("404")
    S3ArtifactStore("bucket", client=service).delete("k")


def test_a_client_must_have_the_methods():
    with pytest.raises(AsmError) as caught:
        S3ArtifactStore("bucket", client=object())
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
