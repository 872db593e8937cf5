"""Runs scripts in forks of one process that has imported everything: the same outcome, at a tenth of the cost.

Each script has a process of its own, with its own flags, streams and working directory; what it shares with the others
is only what importing TensorFlow leaves, which starts no device.
"""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "rar_tf.cli",
        "rar_tf.experiment.run",
        "rar_tf.evaluation.report",
        "rar_tf.certification.run",
        "rar_tf.certification.certificates.upper_bound",
        "rar_tf.certification.certificates.uniform_smoothing",
        "rar_tf.sweeps.tables",
        "rar_tf.data.prepare",
    ]
)


def script(name: str, *arguments, cwd=None, timeout: int = 600, setup=None) -> subprocess.CompletedProcess:
    """The finished process of a command.

    Args:
      setup: a function of a module that the fork calls first.
    """
    line = [name, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        process = _CONTEXT.Process(target=_run, args=(line, folder, str(cwd or folder), setup))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            raise AssertionError(f"{line} took more than {timeout} s")
        streams = [(pathlib.Path(folder) / each).read_text(errors="replace") for each in ("out", "err")]
    return subprocess.CompletedProcess(line, process.exitcode, *streams)


def succeeded(name: str, *arguments, **options) -> str:
    """What a command printed that ended well; options as `script` has them."""
    done = script(name, *arguments, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _run(line, folder, cwd, setup):
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    os.chdir(cwd)
    sys.argv = ["rar_tf", *line]
    if setup is not None:
        setup()
    from rar_tf import cli

    cli.main()
