"""Reports: one log line and one call of the hook for each."""

from __future__ import annotations

import logging

import pytest

from supervisors.exits import KILLED, Crashed
from supervisors.reports import (
    AutoShutdownReached,
    ChildAbandoned,
    ChildStarted,
    ChildTerminated,
    IntensityReached,
    OddShutdown,
    StartFailure,
    UnexpectedMessage,
    emit,
)

ERROR = ValueError("no such key")
LOGGER = "supervisors.reports"


@pytest.mark.parametrize(
    ("report", "level", "line", "error"),
    [
        (ChildStarted("S", "a", "ref", 0), logging.DEBUG, "S: child 'a' started as ref", None),
        (
            ChildTerminated("S", "a", "ref", Crashed(ERROR), True),
            logging.ERROR,
            "S: child 'a' crashed: ValueError('no such key'); restarting",
            ERROR,
        ),
        (
            ChildTerminated("S", "a", "ref", KILLED, False),
            logging.ERROR,
            "S: child 'a' killed; not restarted",
            None,
        ),
        (
            StartFailure("S", "a", ERROR),
            logging.ERROR,
            "S: child 'a' could not be started: no such key",
            ERROR,
        ),
        (
            OddShutdown("S", "a", KILLED, 1),
            logging.ERROR,
            "S: child 'a' was told to stop but ended killed",
            None,
        ),
        (
            OddShutdown("S", "Worker", KILLED, 3),
            logging.ERROR,
            "S: child 'Worker' (3 of them) was told to stop but ended killed",
            None,
        ),
        (
            ChildAbandoned("S", "a", "ref"),
            logging.ERROR,
            "S: child 'a' cannot be ended; ref was left behind",
            None,
        ),
        (
            IntensityReached("S", "a", 1, 5.0),
            logging.ERROR,
            "S: more than 1 restarts in 5.0 s, last of child 'a'; giving up",
            None,
        ),
        (
            AutoShutdownReached("S", "a"),
            logging.INFO,
            "S: significant child 'a' ended; shutting down",
            None,
        ),
        (UnexpectedMessage("S", "hm"), logging.WARNING, "S: unexpected message dropped: 'hm'", None),
    ],
)
def test_a_report_is_one_log_line_with_the_value_attached_and_one_call_of_the_hook(
    caplog, report, level, line, error
):
    caplog.set_level(logging.DEBUG, logger=LOGGER)
    heard = []
    emit(report, heard.append)
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (level, line)
    assert record.report == report
    assert (record.exc_info[1] if record.exc_info else None) is error
    assert heard == [report]


def test_the_hook_hears_what_the_log_does_not_show(caplog):
    caplog.set_level(logging.CRITICAL, logger=LOGGER)
    heard = []
    emit(ChildStarted("S", "a", "ref", 0), heard.append)
    assert caplog.records == []
    assert len(heard) == 1


def test_a_hook_that_raises_is_logged_once_and_nothing_else(caplog):
    caplog.set_level(logging.DEBUG, logger=LOGGER)

    def hook(report):
        raise ERROR

    emit(UnexpectedMessage("S", "hm"), hook)
    assert [record.getMessage() for record in caplog.records] == [
        "S: unexpected message dropped: 'hm'",
        "The report hook failed on UnexpectedMessage",
    ]
    assert caplog.records[1].exc_info[1] is ERROR
