"""Pykka's own test suite, of the release that is installed, passes on our two actor types."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

# What our actors do otherwise on purpose; `supervisors/DESIGN.md` says why.
DELIBERATE = {
    # The line says "Stopping all actors", and so does Pykka. Ours stops this one.
    "test_base_exception_is_logged[dispatched]",
    "test_base_exception_is_logged[thread]",
}

RUNTIMES = """
from supervisors.actor import Actor as DispatchedActor
from supervisors.future import Future as OurFuture
from supervisors.thread_actor import ThreadActor


def _ours(name, actor_class):
    runtime = Runtime(
        name=name,
        actor_class=actor_class,
        event_class=threading.Event,
        future_class=OurFuture,
        sleep_func=time.sleep,
    )
    return pytest.param(runtime, id=name)


RUNTIMES = {name: _ours(name, each) for name, each in (("dispatched", DispatchedActor), ("thread", ThreadActor))}


"""
FIXTURE = '@pytest.fixture(scope="session", params=RUNTIMES.values())\n'


def give_up(reason):
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


def download(folder, version):
    """Fetch the source distribution, once per pytest cache."""
    name = f"pykka-{version}.tar.gz"
    if not (folder / name).exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
        options = [
            "--no-deps",
            "--no-binary=pykka",
            f"--dest={folder}",
            f"pykka=={version}",
        ]
        done = subprocess.run([*pip, *options], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            give_up(f"no package index with the sources of pykka {version}: {done.stderr[-500:]}")
    return folder / name


@pytest.fixture
def suite(request, tmp_path):
    """The folder that holds Pykka's `tests`, made to run on our actors."""
    try:
        import pytest_mock  # noqa: F401 - Pykka's tests use it
    except ImportError:
        give_up("pytest-mock is not installed")
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir("pykka")) if cache is not None else tmp_path
    with tarfile.open(download(folder, importlib.metadata.version("pykka"))) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.glob("pykka-*/tests")
    conftest = unpacked / "conftest.py"
    text = conftest.read_text()
    assert text.count(FIXTURE) == 1, "Pykka chooses its runtimes otherwise now"
    conftest.write_text(text.replace(FIXTURE, RUNTIMES + FIXTURE))
    # Away from the package's own sources: the installed Pykka is the one that is tested.
    return unpacked.rename(tmp_path / "tests").parent


@pytest.mark.index
def test_pykkas_own_suite_passes_on_our_actors_but_for_the_deliberate_differences(suite):
    report = suite / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir=.",
    ]
    done = subprocess.run(
        [*command, f"--junitxml={report}", "tests"],
        cwd=suite,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    cases = list(ET.parse(report).iter("testcase"))
    failed = {
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    assert failed == DELIBERATE, done.stdout[-3000:]
    assert skipped == []
    for runtime in ("dispatched", "thread"):
        assert sum(f"[{runtime}" in case.get("name") for case in cases) > 100
