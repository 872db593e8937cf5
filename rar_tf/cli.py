"""The command line: a command, its flags and its help, and a user's mistake as one line with exit status 2."""

import contextlib
import importlib
import logging as python_logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags, logging  # noqa: E402

from rar_tf import files  # noqa: E402
from rar_tf.errors import UsageError  # noqa: E402
from rar_tf.experiment import flagfile  # noqa: E402
from rar_tf.provenance import THREADS  # noqa: E402
from rar_tf.version import __version__  # noqa: E402

FLAGS = flags.FLAGS
COMMANDS = ("train", "evaluate", "certify", "prepare_data", "export", "report", "sweep", "benchmark", "reproduce")
TOLD = "RAR_TF_TOLD"  # in the environment of a command that another one runs, which has said what is odd
INTERRUPTED = 130  # the exit status that shells give SIGINT


def main() -> None:
    """Run the command that the first argument names: `rar_tf train --flagfile=…`."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "--version":
        return print(f"rar_tf {__version__}")
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
    """Parse the command line for a command and run it; a user's mistake ends with one line on stderr and status 2.

    A command is a module with `main()`; with `READS`, the records of settings that its help shows, by headline; with
    `check(given)`, which refuses what can be seen without the data and returns what is odd, in sentences; and with
    `reads(given)`, the records of settings, or the flags by name, that it reads, so that another flag of the command
    line is not ignored in silence.
    """
    command = importlib.import_module(f"rar_tf.commands.{name}")
    if hasattr(command, "READS"):
        flagfile.define_flags()
    arguments = sys.argv[1:]
    if "--version" in arguments:
        return print(f"rar_tf {__version__}")
    if {"-h", "--help", "--helpfull", "--helpshort"} & set(arguments):
        return print(helptext(name, command, full="--helpfull" in arguments))
    try:
        _parse(arguments)
        _say_plainly()
        given = flagfile.given() if hasattr(command, "READS") else {}
        with _without_noise():
            odd = command.check(given) if hasattr(command, "check") else None
            _import_tensorflow()
        if TOLD not in os.environ:
            for sentence in (*(odd or ()), *_unread(name, command, given, arguments)):
                logging.warning("%s", sentence)
        command.main()
    except (flags.Error, UsageError) as error:
        _fail(error)
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, and the same command goes on with it", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        said = files.of_disk(error)
        if said is None and type(error).__name__ == "ResourceExhaustedError":
            said = "out of memory: give a smaller --batch_size, --eval_batch_size, --sample_batch or --ig_chunk"
        if said is None:
            raise
        place = getattr(error, "filename", None)
        _fail(f"{place}: {said}" if place else said)


def call(name: str, *arguments: str) -> None:
    """Run a command in a process of its own, shown before it; end with its status where it fails."""
    print(f"\n$ rar_tf {name} {shlex.join(arguments)}", flush=True)
    status = subprocess.call([sys.executable, "-m", "rar_tf", name, *arguments], env={**os.environ, TOLD: name})
    if status:
        sys.exit(status)


def in_parts(name: str, count: int) -> None:
    """Run the command that is running in `count` processes, each on its part; end with the status of one that fails.

    The first shows its progress, which is that of all.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = [sys.executable, "-m", "rar_tf", name, *sys.argv[1:], "--processes=1"]
    threads = max(1, (os.cpu_count() or 1) // count)  # of each, so that they do not stand in each other's way
    environment = {THREADS: str(threads), **os.environ, TOLD: name}
    with contextlib.ExitStack() as stack:
        messages = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(count)]
        running = []
        try:
            for number, message in enumerate(messages):
                part = [*arguments, f"--shard={number}/{count}"]
                running.append(
                    subprocess.Popen(
                        part, stdout=subprocess.DEVNULL, stderr=message if number else None, env=environment
                    )
                )
            failed = [number for number, process in enumerate(running) if process.wait()]
        finally:
            for process in running:
                process.terminate()
        if failed:
            messages[failed[0]].seek(0)
            for line in messages[failed[0]].read().splitlines()[-1:]:
                print(line, file=sys.stderr)
            sys.exit(running[failed[0]].returncode)


def _parse(arguments):
    rest = FLAGS(["rar_tf", *flagfile.expand(arguments)])
    if len(rest) > 1:
        raise UsageError(f"not a flag: {rest[1]} (flags are --name=value; see --help)")


def _unread(name, command, given, arguments):
    """Sentences about flags of the command line that the command does not read."""
    if not hasattr(command, "reads"):
        return []
    known = flagfile.all_items() if hasattr(command, "READS") else [flag.name for flag in _own(command)]
    return flagfile.unread(_names(arguments), known, name, command.reads(given))


def _names(arguments):
    """The flags that a command line gives itself, not by its flag files."""
    names = [argument.lstrip("-").partition("=")[0] for argument in arguments if argument.startswith("-")]
    return [name.removeprefix("no") if name not in FLAGS and name.startswith("no") else name for name in names]


def _fail(error):
    words = (word if len(word) <= 300 else f"{word[:150]}…" for word in flagfile.said(error).split())
    print(f"error: {' '.join(words)}", file=sys.stderr)
    sys.exit(getattr(error, "exit_status", 2))


class _Sentences(python_logging.Formatter):
    """Warnings as a user reads them: what kind, and the sentence."""

    def format(self, record):
        return f"{record.levelname.lower()}: {record.getMessage()}"


def _say_plainly():
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(_Sentences())
    if not FLAGS["verbosity"].present:  # absl's own default is to tell everything
        logging.set_verbosity(logging.WARNING)


_NOISE = (
    "All log messages before absl::InitializeLog()",
    "oneDNN custom operations are on",
    "rebuild TensorFlow with",
    "Could not find cuda drivers",
    "optimized to use available CPU instructions",
    "failed call to cuInit",
    "Unable to register",
    "computation placer already registered",
)


@contextlib.contextmanager
def _without_noise():
    """Keep from stderr what TensorFlow's C++ prints at its import on every machine without a GPU; show other lines."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines():
                if not any(noise in line for noise in _NOISE):
                    print(line, file=sys.stderr)


def _import_tensorflow():
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs now, not in the middle of something
    tf.get_logger().setLevel("ERROR")  # its advice on tracing is for who writes the functions


def helptext(name: str, command, *, full: bool = False) -> str:
    """Return what `--help` prints: what the command does, then its flags by headline, with their defaults.

    Args:
      full: the flags of all commands that flag files may hold, not its own alone.
    """
    groups = {"flagfile": [("flagfile", "a file with a flag a line; others after it on the command line win")]}
    known = flagfile.all_items() if hasattr(command, "READS") else {}
    own = [flag for flag in _own(command) if flag.name not in known]
    groups["this command"] = [(_form(flag), f"{flag.help}{_default(flag)}") for flag in own]
    shown: set[str] = set()
    for headline, records in getattr(command, "READS", {}).items():
        names = [flag for flag in flagfile.flags_of(records) if flag not in shown]
        shown.update(names)
        groups[headline] = [(_form(FLAGS[flag]), FLAGS[flag].help) for flag in names]
    if full and shown:
        groups["other commands' settings"] = [(_form(FLAGS[f]), FLAGS[f].help) for f in known if f not in shown]
    parts = [f"rar_tf {name} [--flag=value …]\n\n{(command.__doc__ or '').strip()}"]
    for headline, lines in groups.items():
        if lines:
            parts.append(f"{headline}:\n" + "\n".join(_entry(*line) for line in lines))
    parts.append("-h, --help: this; --helpfull: with every flag that flag files may hold; --version.")
    return "\n\n".join(parts)


def _own(command):
    """The flags that a command's module defines."""
    return FLAGS.flags_by_module_dict().get(command.__name__, ())


def _form(flag):
    return f"[no]{flag.name}" if flag.boolean else flag.name


def _default(flag):
    return "" if flag.default in (None, [], "") else f" (default: {flag.default_as_str.strip(chr(39))})"


def _entry(name, words):
    body = textwrap.fill(words, 92, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False)
    return f"  --{name}\n{body}"
