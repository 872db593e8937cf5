"""The command line: a command, its flags, and a user's mistake as one line with exit status 2."""

import contextlib
import importlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging  # noqa: E402

from rar_tf.errors import UsageError  # noqa: E402
from rar_tf.experiment import flagfile  # noqa: E402

FLAGS = flags.FLAGS
COMMANDS = ("train", "evaluate", "certify", "prepare_data", "export", "report", "sweep", "benchmark", "reproduce")


def main() -> None:
    """Run the command that the first argument names: `rar_tf train --flagfile=…`."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        asked = name in ("", "-h", "--help")
        print(
            f"usage: rar_tf {'|'.join(COMMANDS)} [--flag=value …]; --help after a command explains it",
            file=sys.stdout if asked else sys.stderr,
        )
        sys.exit(0 if asked else 2)
    del sys.argv[1]
    run(name)


def run(name: str) -> None:
    """Parse the command line for a command and run it; a user's mistake ends with one line on stderr and status 2."""
    command = importlib.import_module(f"rar_tf.commands.{name}")
    sys.modules["__main__"].__doc__ = command.__doc__  # what --help shows
    for flag in FLAGS.flags_by_module_dict().get(command.__name__, ()):
        FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(lambda _: _guarded(command.main), flags_parser=_parse)


def call(name: str, *arguments: str) -> None:
    """Run a command in a process of its own, shown before it; end with its status where it fails."""
    print(f"\n$ rar_tf {name} {shlex.join(arguments)}", flush=True)
    status = subprocess.call([sys.executable, "-m", "rar_tf", name, *arguments])
    if status:
        sys.exit(status)


def in_parts(name: str, count: int) -> None:
    """Run the command that is running in `count` processes, each on its part; end with the status of one that fails.

    The first shows its progress, which is that of all.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = [sys.executable, "-m", "rar_tf", name, *sys.argv[1:], "--processes=1"]
    with contextlib.ExitStack() as stack:
        messages = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(count)]
        running = []
        try:
            for number, message in enumerate(messages):
                part = [*arguments, f"--shard={number}/{count}"]
                running.append(subprocess.Popen(part, stdout=subprocess.DEVNULL, stderr=message if number else None))
            failed = [number for number, process in enumerate(running) if process.wait()]
        finally:
            for process in running:
                process.terminate()
        if failed:
            messages[failed[0]].seek(0)
            for line in messages[failed[0]].read().splitlines()[-1:]:
                print(line, file=sys.stderr)
            sys.exit(running[failed[0]].returncode)


def _parse(argv):
    try:
        rest = FLAGS([argv[0], *flagfile.expand(argv[1:])])
        if len(rest) > 1:
            raise UsageError(f"not a flag: {rest[1]} (flags are --name=value; see --help)")
        return rest
    except (flags.Error, UsageError) as error:
        _fail(error)


_NOISE = (
    "All log messages before absl::InitializeLog()",
    "oneDNN custom operations are on",
    "rebuild TensorFlow with",
    "Could not find cuda drivers",
    "optimized to use available CPU instructions",
    "failed call to cuInit",
)


def _import_tensorflow():
    """Import TensorFlow without the lines that its C++ prints on every machine without a GPU; others are shown."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines():
                if not any(noise in line for noise in _NOISE):
                    print(line, file=sys.stderr)


def _guarded(main):
    _import_tensorflow()
    logging.use_absl_handler()
    if not FLAGS["verbosity"].present:  # absl's own default is to tell everything
        logging.set_verbosity(logging.WARNING)
    try:
        return main()
    except UsageError as error:
        _fail(error)


def _fail(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(getattr(error, "exit_status", 2))
