"""Runs the scripts as a user does."""

import os
import subprocess
import sys

from conftest import ROOT


def command(name: str, *arguments) -> list[str]:
    """The command line of scripts/<name>.py."""
    return [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def script(name: str, *arguments, timeout: int = 300, cwd=None, **more: str) -> subprocess.CompletedProcess:
    """The finished process of scripts/<name>.py; `more` are variables of its environment."""
    return subprocess.run(
        command(name, *arguments), capture_output=True, text=True, timeout=timeout, cwd=cwd, env=environment(**more)
    )


def assert_one_line(done: subprocess.CompletedProcess, message: str) -> None:
    """A user's mistake: exit status 2 and one line that says what is wrong."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0], done.stderr
    assert "Traceback" not in done.stderr
