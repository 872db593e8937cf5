"""Files that are either whole or absent, and folders that are either a command's own or left alone.

A folder that a command writes into is claimed first: a list in it, `.rar_tf`, says whose it is and names every file
that the command makes there. What stands in a claimed folder and not in its list is somebody else's, and is neither
replaced nor removed.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence

from absl import logging

from rar_tf.errors import UsageError, brief

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LIST = ".rar_tf"


# Folders that were written before there were lists: by what they are known, and what is the command's in them.
_JOB = (("settings.json", "shard-*-of-*"), ("settings.json", "*.csv", "summary.json", "*.npz", "*.png", "shard-*-of-*"))
_EARLIER: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "train": (
        ("flags.cfg",),
        (
            "flags.cfg",
            "*.csv",
            "tensorboard",
            "checkpoints",
            "model.keras",
            "saved_model",
            "train.json",
            "best.weights.h5",
        ),
    ),
    "evaluate": _JOB,
    "certify": _JOB,
    "reproduce": (
        ("table.md", "shard-*-of-*.md", "fast-*.json", "paper-*.json"),
        ("table.md", "shard-*-of-*.md", "report*", "*.json", "*.png"),
    ),
    "sweep": (("table.md", "*/flags.cfg", "*/settings.json"), ("table.md", "curves.png", "*/flags.cfg")),
}


def require(folder: str | os.PathLike, command: str, *, option: str = "--output_dir") -> None:
    """Raise UsageError where a folder is not `command`'s to write into: it is neither absent, nor empty, nor claimed.

    Args:
      option: the flag that names the folder.
    """
    folder = pathlib.Path(folder)
    with guarded(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file, not a folder: give another {option}")
        owner, there = _owner(folder), _entries(folder)
    if owner not in (None, command):
        raise UsageError(f"{folder} is a folder of `rar_tf {owner}`: give another {option}")
    if owner is None and there and not _earlier(folder, command):
        names = ", ".join(there[:4]) + (", …" if len(there) > 4 else "")
        raise UsageError(
            f"{folder} holds what `rar_tf {command}` did not write ({names}): give another {option}, new or empty"
        )


def claim(folder: str | os.PathLike, command: str, *, option: str = "--output_dir", overwrite: bool = False) -> None:
    """Make a folder a command's own.

    Args:
      overwrite: first remove what the command wrote there before, and nothing else.

    Raises: UsageError as `require`, and where the folder cannot be written.
    """
    require(folder, command, option=option)
    folder = pathlib.Path(folder)
    with guarded(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if _owner(folder) is None:
            _append(folder, _head(command) + "".join(f"{name}\n" for name in _earlier(folder, command)))
        if overwrite:
            for name in _listed(folder):
                remove(folder / name)


@contextlib.contextmanager
def writing(
    folder: str | os.PathLike, command: str, *, option: str = "--output_dir", overwrite: bool = False
) -> Iterator[None]:
    """Claim a folder, and keep other processes from doing so until the block, or this process, ends.

    Where the file system has no locks, nothing is kept.

    Raises: UsageError as `claim`, and where another process writes into the folder; nothing is removed then.
    """
    claim(folder, command, option=option)
    with guarded(folder):
        file = open(pathlib.Path(folder) / LIST, "a", encoding="utf-8")
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{folder}: another process is writing into it: wait for its end, or give another {option}"
            ) from None
        except OSError as error:
            logging.info("%s: no lock (%s)", folder, error.strerror)
        if overwrite:
            claim(folder, command, option=option, overwrite=True)
        yield


def mark(folder: pathlib.Path, command: str) -> None:
    """Give a folder that was just made a list of all that is in it."""
    (folder / LIST).write_text(_head(command) + "".join(f"{name}\n" for name in _entries(folder)), encoding="utf-8")


def own(path: str | os.PathLike) -> bool:
    """Put a file or folder that is about to be written on the list of the claimed folder that it lies in, if any.

    Returns: whether there is one.
    Raises: UsageError where the file is there already and is not on the list.
    """
    path = pathlib.Path(path)
    for folder in list(path.parents)[:3]:
        if not (folder / LIST).is_file():
            continue
        name = path.relative_to(folder).parts[0]
        if name in _listed(folder):
            return True
        if (folder / name).is_file():
            raise UsageError(f"{folder / name} is there and was not written by this package: move it away")
        _append(folder, f"{name}\n")
        return True
    return False


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Give a temporary path beside `path`; what was written there takes `path`'s place when the block ends well.

    The temporary path keeps the file's suffix, may become a file or a folder, and is removed when the block raises.

    Raises: UsageError where the disk refuses, and for somebody else's file in a claimed folder, see `own`; what was
      there before is kept.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not own(path) and path.is_dir() and set(_entries(path)) - set(_listed(path)):
            raise UsageError(f"{path} holds what this package did not write: give another folder")
        try:
            yield temporary
            if temporary.is_file():
                with open(temporary, "rb") as file:
                    os.fsync(file.fileno())
            former = path.with_name(f".former-{os.getpid()}-{path.name}")
            if path.is_dir():
                os.replace(path, former)
            os.replace(temporary, path)
            remove(former)
        finally:
            with contextlib.suppress(OSError):
                remove(temporary)


def remove(path: pathlib.Path) -> None:
    """Remove a file or a whole folder, where it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def guarded(path: str | os.PathLike, words: str = "cannot be written") -> Iterator[None]:
    """Turn what the disk says inside the block into a UsageError that names `path` and the way out."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        said = of_disk(error)
        if said is None:
            raise
        raise UsageError(f"{path}: {words} ({said})") from error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_WORDS = {os.strerror(number): number for number in (*_FULL, *_CLOSED, errno.ENAMETOOLONG, errno.EIO)}


def of_disk(error: BaseException) -> str | None:
    """Return what the disk said and what helps, None for an error that is not the disk's.

    HDF5 and TensorFlow raise errors of their own, with the system's words or its number in their text.
    """
    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    if number is None:
        text = str(error)
        found = re.search(r"\b[Ee]rrno\D{0,3}(\d+)", text)
        number = int(found[1]) if found else next((n for words, n in _WORDS.items() if words in text), None)
    if number is None:
        return brief(error) if isinstance(error, OSError) else None
    said = os.strerror(number)
    if number in _FULL:
        return f"{said}: free some space and give the same command again; what was finished is kept"
    if number in _CLOSED:
        return f"{said}: give a folder that you may write"
    return said


def _owner(folder: pathlib.Path) -> str | None:
    try:
        found = re.match(
            r"# The files that `rar_tf (\w+)`", (folder / LIST).read_text(encoding="utf-8", errors="replace")
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found[1] if found else None


def _head(command: str) -> str:
    return f"# The files that `rar_tf {command}` made here; with --overwrite it removes these and no others.\n"


def _earlier(folder: pathlib.Path, command: str) -> list[str]:
    """What is the command's in a folder from before there were lists."""
    marks, made = _EARLIER.get(command, ((), ()))
    if not any(any(folder.glob(pattern)) for pattern in marks):
        return []
    return sorted({path.relative_to(folder).parts[0] for pattern in made for path in folder.glob(pattern)})


def _entries(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def _listed(folder: pathlib.Path) -> list[str]:
    if not (folder / LIST).is_file():
        return []
    lines = (folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if line and not line.startswith("#") and pathlib.Path(line).name == line]


def _append(folder: pathlib.Path, text: str) -> None:
    """Add to a list; several processes may do so at once."""
    with open(folder / LIST, "a", encoding="utf-8") as file:
        file.write(text)
