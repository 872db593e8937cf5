"""Official archives: looked for, checked, and unpacked inside a folder of their own."""

import contextlib
import hashlib
import os
import pathlib
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from rar_tf.errors import UsageError, brief

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


def unpack(archive: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Unpack a zip or tar archive, refusing members that would land outside the folder.

    Raises: UsageError for a truncated or corrupt archive, or a member with an unsafe path, link or kind.
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for name in file.namelist():
                    _check_inside(archive, folder, name)
                file.extractall(folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                for member in file.getmembers():
                    member.name = member.name.lstrip("/")
                    _check_inside(archive, folder, member.name)
                    if not (member.isreg() or member.isdir()):
                        raise UsageError(
                            f"{archive}: unsafe member {member.name!r}, neither a file nor a folder, not unpacked"
                        )
                # Pythons before 3.10.12 and 3.11.4 have no filter; the checks above hold for them too.
                if hasattr(tarfile, "data_filter"):
                    file.extractall(folder, filter="data")
                else:
                    file.extractall(folder)
        else:
            raise UsageError(f"{archive}: truncated, or neither a zip nor a tar archive")
    except _BROKEN as error:
        raise UsageError(f"{archive}: truncated or corrupt archive ({brief(error)})") from error


def _check_inside(archive: pathlib.Path, folder: pathlib.Path, name: str) -> None:
    target = (folder / name.replace("\\", "/")).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise UsageError(f"{archive}: unsafe member {name!r} outside the archive's folder, not unpacked")


@contextlib.contextmanager
def opened(folder: str | os.PathLike, archives: Mapping[str, str]) -> Iterator[list[pathlib.Path]]:
    """Yield the folders in which to look for files: the given one, and its archives, unpacked for the while.

    Args:
      archives: name of each archive -> a path that it unpacks to; archives whose path is there already stay packed.

    Raises: UsageError for a folder that is not there, or an archive that `unpack` refuses.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    packed = [
        folder / name
        for name, inside in archives.items()
        if (folder / name).exists() and not (folder / inside).exists()
    ]
    with contextlib.ExitStack() as stack:
        roots = [folder]
        for archive in packed:
            target = stack.enter_context(tempfile.TemporaryDirectory(prefix="rar_tf-"))
            unpack(archive, target)
            roots.append(pathlib.Path(target))
        yield roots


def locate(roots: list[pathlib.Path], *paths: str) -> pathlib.Path | None:
    """Return the first of these relative paths that exists under one of the folders, None where none does."""
    for path in paths:
        for root in roots:
            if (root / path).exists():
                return root / path
    return None


def check_md5(path: str | os.PathLike, expected: str, name: str) -> None:
    """Raise a UsageError if a downloaded file's MD5 sum is not the expected one."""
    with open(path, "rb") as file:
        found = (
            hashlib.file_digest(file, "md5").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.md5(file.read()).hexdigest()
        )
    if found != expected:
        raise UsageError(f"{name}: downloaded file has MD5 {found}, not {expected}")
