"""What the scripts share: flags made from `rar_tf.config.Settings`, checked flag files, and errors of one line."""

import os
import pathlib
import sys
import tempfile
import typing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging  # noqa: E402

from rar_tf.config import (
    FIELDS,  # noqa: E402
    TYPES,
    Settings,
)
from rar_tf.errors import UsageError  # noqa: E402

FLAGS = flags.FLAGS
flags.disclaim_key_flags()  # they are the calling script's, so that its --help shows them


def define_flags() -> None:
    """Define one flag for every setting."""
    for name, field in FIELDS.items():
        kind = typing.get_args(TYPES[name])[0] if type(None) in typing.get_args(TYPES[name]) else TYPES[name]
        default = None if type(None) in typing.get_args(TYPES[name]) else getattr(Settings(), name)
        text, choices = field.metadata["help"], field.metadata["choices"]
        if typing.get_origin(kind) is list:
            item = typing.get_args(kind)[0]
            flags.DEFINE(_ListParser(item), name, default, text, serializer=_ListSerializer(","))
        elif kind is bool:
            flags.DEFINE_boolean(name, default, text)
        elif kind is int:
            flags.DEFINE_integer(name, default, text)
        elif kind is float:
            flags.DEFINE_float(name, default, text)
        elif choices:
            flags.DEFINE_enum(name, default, choices, text)
        else:
            flags.DEFINE_string(name, default, text)


class _ListParser(flags.ArgumentParser):
    """Comma-separated numbers."""

    syntactic_help = "comma-separated numbers"

    def __init__(self, item: type):
        self.item = item

    def parse(self, argument):
        if isinstance(argument, list):
            return argument
        return [self.item(part) for part in argument.split(",") if part.strip()]

    def flag_type(self):
        return f"list of {self.item.__name__}"


class _ListSerializer(flags.ListSerializer):
    def serialize(self, value):
        return ",".join(map(str, value))


def settings(**changes) -> Settings:
    """Return the parsed flags as settings, some of them changed."""
    return Settings(**{name: getattr(FLAGS, name) for name in FIELDS}).replace(**changes)


def given() -> set[str]:
    """Return the names of the settings that the command line or its flag files gave."""
    return {name for name in FIELDS if FLAGS[name].present}


def read_settings(path: str | os.PathLike) -> Settings:
    """Return the settings that a flag file gives.

    Raises: UsageError where the file is missing or a line of it is no flag.
    """
    values = flags.FlagValues()
    for name in FIELDS:
        flag = FLAGS[name]
        flags.DEFINE(
            flag.parser,
            name,
            FIELDS[name].default_factory()
            if isinstance(getattr(Settings(), name), list)
            else getattr(Settings(), name),
            flag.help,
            values,
            flag.serializer,
        )
    try:
        values(["flagfile", *expand(["--flagfile=" + os.fspath(path)])])
    except flags.Error as error:
        raise UsageError(f"{path}: {error}") from error
    return Settings(**{name: getattr(values, name) for name in FIELDS})


def expand(arguments: list[str], folder: pathlib.Path | None = None) -> list[str]:
    """Return the arguments with each --flagfile=FILE replaced by the file's lines, nested ones too.

    A nested file is looked for beside the file that names it, then in the working directory. Comments start with # or
    // at the beginning of a line.

    Raises: UsageError for a file that is missing or a line that is no flag.
    """
    expanded = []
    arguments = list(arguments)
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or name != "flagfile":
            expanded.append(argument)
            continue
        if not equals:
            if not arguments:
                raise UsageError("--flagfile needs a file")
            value = arguments.pop(0)
        expanded += _read(value, folder)
    return expanded


def _read(name, folder):
    candidates = [folder / name] if folder and (folder / name).is_file() else [pathlib.Path(name).expanduser()]
    path = candidates[0]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read flag file {name}: {getattr(error, 'strerror', None) or error}") from error
    kept = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith(("#", "//")):
            continue
        if not line.startswith("-") or any(c.isspace() for c in line.split("=")[0]):
            raise UsageError(f"{path}:{number}: not a flag (--name=value): {line}")
        if " #" in line:
            raise UsageError(f"{path}:{number}: a comment must have a line of its own: {line}")
        kept.append(line)
    return expand(kept, path.parent)


def run(main) -> None:
    """Parse the command line and call main(); a user's mistake ends with one line on stderr and exit status 2."""
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def _parse(argv):
    try:
        rest = FLAGS([argv[0], *expand(argv[1:])])
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
    sys.exit(2)
