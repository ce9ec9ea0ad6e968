"""The records of artifacts in an LMDB journal.

One table: ``i`` and an id lead to a record; ``k`` and a key to the id of the one that has it; ``s``, a session's id
and the time of creation to an id. Artifacts are few and come one by one, so each is written in its place at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from zlib import crc32

from asm_actors.journal.codec import pack_values, unpack_values, unreadable
from asm_actors.journal.lmdb_env import Environment, Transaction
from asm_actors.journal.lmdb_layout import ARTIFACTS, mark_prefix, name_key
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.lmdb_view import LmdbView
from asm_actors.journal.store_artifacts import key_is_taken
from asm_actors.maintenance.artifact import Artifact

__all__ = ["LmdbArtifacts"]

_ID: Final = b"i"
_KEY: Final = b"k"
_SESSION: Final = b"s"
_CHECKSUM: Final = struct.Struct(">I")
# Years before 1970 sort before those after it.
_TIME_SHIFT: Final = 1 << 63
# The order of these names is stored: new ones go at the end.
_FIELDS: Final = (
    "id",
    "session_id",
    "key",
    "byte_size",
    "checksum_sha256",
    "storage_backend",
    "storage_ref",
    "created_us",
    "deleted_us",
)


class LmdbArtifacts(LmdbView):
    """Part of the LMDB store; `StoreArtifacts` tells what each method does."""

    def _writable(self) -> Environment:
        raise NotImplementedError

    def save_artifacts(self, artifacts: Sequence[Artifact]) -> None:
        """Write records."""
        environment = self._writable()
        table = environment.tables[ARTIFACTS]

        def work(txn: Transaction) -> None:
            for artifact in artifacts:
                before = _load(txn.get(name_key(_ID, artifact.id), db=table), artifact.id)
                if before is not None:
                    _unlink(txn, table, before)
                if artifact.deleted_us is None:
                    taken = txn.get(name_key(_KEY, artifact.key), db=table)
                    if taken is not None and bytes(taken) != artifact.id.encode():
                        raise key_is_taken(artifact, bytes(taken).decode())
                    txn.put(name_key(_KEY, artifact.key), artifact.id.encode(), db=table)
                txn.put(_session_key(artifact), artifact.id.encode(), db=table)
                txn.put(name_key(_ID, artifact.id), _dump(artifact), db=table)

        environment.write(work)

    def drop_artifacts(self, artifact_ids: Iterable[str]) -> int:
        """Remove records."""
        environment = self._writable()
        table, wanted = environment.tables[ARTIFACTS], list(artifact_ids)

        def work(txn: Transaction) -> int:
            count = 0
            for artifact_id in wanted:
                found = _load(txn.get(name_key(_ID, artifact_id), db=table), artifact_id)
                if found is not None:
                    count += 1
                    _unlink(txn, table, found)
                    txn.delete(name_key(_ID, artifact_id), db=table)
            return count

        return environment.write(work)

    def artifact(self, artifact_id: str) -> Artifact | None:
        """Return a record."""
        with self._view(_nothing) as (_, tables):
            return _load(tables.get(ARTIFACTS, name_key(_ID, artifact_id)), artifact_id)

    def artifact_by_key(self, key: str) -> Artifact | None:
        """Return the record under a key."""
        with self._view(_nothing) as (_, tables):
            found = tables.get(ARTIFACTS, name_key(_KEY, key))
            return None if found is None else _named(tables, bytes(found).decode())

    def artifacts(
        self,
        session_id: str | None = None,
        *,
        include_deleted: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Artifact]:
        """Return records."""
        found: list[Artifact] = []
        with self._view(_nothing) as (_, tables):
            for artifact in _all(tables, after) if session_id is None else _of(tables, session_id):
                if limit is not None and len(found) >= limit:
                    break
                if include_deleted or artifact.deleted_us is None:
                    found.append(artifact)
        return found


def _nothing(*_: object) -> None:
    """Artifacts are never in memory."""


def _session_key(artifact: Artifact) -> bytes:
    when = (artifact.created_us + _TIME_SHIFT).to_bytes(8, "big")
    return name_key(mark_prefix(_SESSION, artifact.session_id) + when, artifact.id)


def _unlink(txn: Transaction, table: Any, artifact: Artifact) -> None:
    """Remove what leads to a record, but not the record."""
    key = name_key(_KEY, artifact.key)
    if artifact.deleted_us is None and txn.get(key, db=table) == artifact.id.encode():
        txn.delete(key, db=table)
    txn.delete(_session_key(artifact), db=table)


def _named(tables: Tables, artifact_id: str) -> Artifact:
    found = _load(tables.get(ARTIFACTS, name_key(_ID, artifact_id)), artifact_id)
    if found is None:
        raise unreadable(ARTIFACTS, artifact_id, "it is missing")
    return found


def _all(tables: Tables, after: str | None) -> Iterator[Artifact]:
    cursor = tables.cursor(ARTIFACTS)
    start = name_key(_ID, after or "")
    found = cursor.set_range(start)
    if found and after is not None and bytes(cursor.key()) == start:
        found = cursor.next()
    while found and bytes(cursor.key()[:1]) == _ID:
        artifact = _load(cursor.value(), bytes(cursor.key()))
        assert artifact is not None
        yield artifact
        found = cursor.next()


def _of(tables: Tables, session_id: str) -> Iterator[Artifact]:
    cursor = tables.cursor(ARTIFACTS)
    prefix = mark_prefix(_SESSION, session_id)
    found = cursor.set_range(prefix)
    while found and bytes(cursor.key()[: len(prefix)]) == prefix:
        yield _named(tables, bytes(cursor.value()).decode())
        found = cursor.next()


def _dump(artifact: Artifact) -> bytes:
    payload = pack_values([getattr(artifact, name) for name in _FIELDS])
    return _CHECKSUM.pack(crc32(payload)) + payload


def _load(value: bytes | memoryview | None, key: object) -> Artifact | None:
    if value is None:
        return None
    payload = bytes(value[_CHECKSUM.size :])
    if len(value) < _CHECKSUM.size or _CHECKSUM.unpack_from(value)[0] != crc32(payload):
        raise unreadable(ARTIFACTS, key, "its checksum is wrong")
    values = unpack_values(payload, ARTIFACTS, key)
    return Artifact(**dict(zip(_FIELDS, values, strict=False)))
