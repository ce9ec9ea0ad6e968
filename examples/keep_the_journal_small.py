"""Keep a journal small and sound: retention, archives, a backup, an export, and a check of all that.

Old sessions are hidden first and deleted for good later; long ones lose the pieces of their streams, which the whole
message repeats. Before anything goes for good, the session is exported to the archive. All of it happens while the
system serves.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import asm_actors as asm


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        keep(Path(folder))


def keep(folder: Path) -> None:
    archive = asm.FileArtifactStore(folder / "archive")
    files = asm.FileArtifactStore(folder / "files")
    policy = asm.RetentionPolicy(
        max_completed_session_age_days=90,  # hidden three months after they ended
        hard_delete_after_days=30,  # and gone a month later
        max_events_per_session=8,
        archive_before_prune=True,
        archive_store=archive,
    )
    with asm.ActorSystem.start(folder / "journal", {"mock": asm.ScriptedProvider()}) as system:
        long = system.sessions.run_once("Tell me a story")
        done = system.sessions.run_once("Thank you")
        system.artifacts.put(files, done.session_id, "story.txt", b"Once upon a time")

        before = len(system.sessions.get_session_events(long.session_id))
        report = system.maintenance.execute(policy, artifact_store=files)
        after = system.sessions.get_session_events(long.session_id)
        print(f"pruned {report.events_pruned} events, archived {report.archived} sessions first")
        print(
            f"the long session had {before} events and has {len(after)}; its last one is still number {before}"
        )

        # What a user asks to have deleted is hidden at once, and need not wait for its time to be gone.
        system.sessions.delete_session(done.session_id, reason="the user asked for it")
        listed = [session.id for session in system.sessions.list_sessions()]
        print("hidden:", done.session_id not in listed)
        erased = system.maintenance.delete_for_good(done.session_id)
        print(f"gone: {erased.sessions} session, {erased.runs} run")
        print("its files went with it:", system.maintenance.clean_orphaned_artifacts(files))

        backup = system.maintenance.backup(folder / "backup")
        system.maintenance.export(folder / "all.jsonl.gz")
        print(
            "sound:",
            system.maintenance.verify().is_sound,
            "and healthy:",
            system.maintenance.health_check() == [],
        )

    with asm.ActorSystem.start(folder / "elsewhere") as system:
        brought = system.maintenance.import_(folder / "all.jsonl.gz")
        print(f"elsewhere: {brought.sessions} session with {brought.events} events")
    copy = asm.LmdbStore(backup.path, readonly=True)
    copy.open()
    print("the backup has it too:", copy.has_session(long.session_id))
    copy.close()


if __name__ == "__main__":
    main()
