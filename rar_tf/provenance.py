"""By which command, when, with which versions, on which device and how many threads a file was made."""

import datetime
import functools
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from rar_tf.version import __version__

THREADS = "TF_NUM_INTRAOP_THREADS"  # in the environment: how many TensorFlow takes


def made() -> dict:
    """Return what a record says of its making: date (UTC), command, git revision, versions, device, threads."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command(),
        "git_revision": git_revision(),
        "versions": versions(),
        "device": device(),
        "threads": threads(),
    }


def in_words(record: Mapping[str, Any]) -> str:
    """Return in a phrase which network a record is of, and when it was made: "tiny_cnn, commit 1a2b3c4d5e, 2026-01-31".

    Args:
      record: a summary, or settings from which one is being made now.
    """
    known = record.get("made") or made()
    places = (record.get(name) for name in ("model_dir", "keras_model", "saved_model"))
    network = record.get("training", {}).get("model") or next(filter(None, places), None)
    parts = [pathlib.PurePath(network).name] if network else []
    parts += [f"commit {known['git_revision'][:10]}"] if known.get("git_revision") else []
    parts += [known["date"][:10]] if known.get("date") else []
    return ", ".join(parts)


def command() -> str:
    """Return the command line of this process, without the interpreter and the folders of the script."""
    first, *rest = sys.orig_argv[1:] or [""]
    return shlex.join(rest if first == "-m" else [pathlib.Path(first).name, *rest])


def versions() -> dict[str, str]:
    """Return the versions that decide numbers."""
    import keras
    import numpy
    import tensorflow

    libraries = {"tensorflow": tensorflow, "keras": keras, "numpy": numpy}
    found = {name: library.__version__ for name, library in libraries.items()}
    return {"rar_tf": __version__, **found, "python": platform.python_version()}


def device() -> str:
    """Return what TensorFlow computes on: the GPUs by name, "CPU" where it has none."""
    import tensorflow

    details = tensorflow.config.experimental.get_device_details
    gpus = [details(each).get("device_name", "GPU") for each in tensorflow.config.list_physical_devices("GPU")]
    return ", ".join(gpus) or "CPU"


def threads() -> int:
    """Return on how many CPU threads TensorFlow runs an operation: sums that they share are rounded by their number."""
    import tensorflow

    told = os.environ.get(THREADS, "")
    given = tensorflow.config.threading.get_intra_op_parallelism_threads() or (int(told) if told.isdecimal() else 0)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return given or len(usable)


@functools.cache
def git_revision() -> str | None:
    """Return the revision of the checkout that this package runs from, None outside of one."""
    package = pathlib.Path(__file__).resolve().parent
    if not (package.parent / ".git").exists():  # an installation inside of somebody else's repository
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(package), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
