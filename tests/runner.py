"""Runs the scripts as a user does, and other code in processes of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from conftest import ROOT


def command(name: str, *arguments) -> list[str]:
    """The command line of scripts/<name>.py."""
    return python(ROOT / "scripts" / f"{name}.py", *arguments)


def python(*arguments) -> list[str]:
    """The command line of this Python."""
    return [sys.executable, *map(str, arguments)]


def environment(**more: str | None) -> dict[str, str]:
    """This process's variables with this checkout to import from, and others; those that are None are left out."""
    values = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return {name: value for name, value in values.items() if value is not None}


def script(name: str, *arguments, **options) -> subprocess.CompletedProcess:
    """The finished process of scripts/<name>.py; options as `finished` has them."""
    return finished(command(name, *arguments), **options)


def finished(line: list[str], *, timeout: int = 600, cwd=None, **more: str | None) -> subprocess.CompletedProcess:
    """The finished process of a command line; `more` are variables of its environment."""
    return subprocess.run(line, capture_output=True, text=True, timeout=timeout, cwd=cwd, env=environment(**more))


def succeeded(line: list[str], **options) -> str:
    """What a command line printed that ended well; options as `finished` has them."""
    done = finished(line, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def started(line: list[str], **more: str | None) -> subprocess.Popen:
    """The process of a command line, at work."""
    return subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**more))


def wait_for(happened: Callable[[], object], process: subprocess.Popen, timeout: int = 600) -> None:
    """Return as soon as something has happened; a process that ends before, or takes too long, fails the test."""
    deadline = time.monotonic() + timeout
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"it ended, or took too long: {process.communicate()[1][-3000:]}")
        time.sleep(0.005)


def stop_when(happened: Callable[[], object], line: list[str], sign: signal.Signals = signal.SIGKILL):
    """Send a command a signal as soon as something has happened; return its exit status and standard error."""
    process = started(line)
    wait_for(happened, process)
    process.send_signal(sign)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def assert_one_line(done: subprocess.CompletedProcess, message: str) -> None:
    """A user's mistake: exit status 2 and one line that says what is wrong."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0], done.stderr
    assert "Traceback" not in done.stderr
