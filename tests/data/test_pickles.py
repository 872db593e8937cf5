"""Pickles of arrays are read, and nothing in a pickle is run."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from rar_tf.data.builders import gtsrb, pickles
from rar_tf.errors import UsageError

FEATURES = np.random.default_rng(0).integers(0, 256, (86, 32, 32, 3), np.uint8)
LABELS = (np.arange(86) % 43).astype(np.uint8)


def write(path, content, protocol):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_all_protocols(tmp_path, protocol):
    content = {
        "features": FEATURES,
        "labels": LABELS,
        "sizes": np.asfortranarray(np.ones((3, 2), ">i4") * [[1, 2]]),
        "coords": np.linspace(0, 1, 5),
    }
    arrays = pickles.read_pickle(write(tmp_path / "train.p", content, protocol))
    for name, array in content.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_python_2_pickle(tmp_path):
    # What numpy wrote under Python 2: data as a byte string that Python 3 reads as text.
    data = b"".join(
        [
            b"\x80\x02}q\x00(U\x06labelsq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n"
            b"q\x03K\x00\x85",
            b"U\x01b\x87Rq\x04(K\x01K\x03\x85cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
            b"J\xff\xff\xff\xff",
            b"J\xff\xff\xff\xffK\x00tb\x89U\x03\x01\xc8\xfftbu.",
        ]
    )
    (tmp_path / "train.p").write_bytes(data)
    assert pickles.read_pickle(tmp_path / "train.p")["labels"].tolist() == [1, 200, 255]


def test_gtsrb_from_pickles(tmp_path):
    for name in ("train", "valid", "test"):
        write(tmp_path / f"{name}.p", {"features": FEATURES, "labels": LABELS, "sizes": LABELS}, 2)
    splits = gtsrb.read(tmp_path)
    assert all(split.count == 86 and split.labels.dtype == np.int64 for split in splits)
    np.testing.assert_array_equal(splits.valid.images, FEATURES)
    (tmp_path / "valid.p").unlink()
    with pytest.raises(UsageError, match="valid.p: no such file"):
        gtsrb.read(tmp_path)


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "function, arguments",
    [
        (os.system, ("touch run",)),
        (eval, ("open('run', 'w')",)),
        (subprocess.Popen, (["touch", "run"],)),
        (getattr, ([], "append")),
        (np.load, ("x",)),
        (np.frombuffer, (b"abc",)),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_is_run(tmp_path, monkeypatch, function, arguments, protocol):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "train.p", {"features": Evil(function, *arguments), "labels": LABELS}, protocol)
    with pytest.raises(UsageError, match="train.p: .*refused pickle"):
        pickles.read_pickle(path)
    assert not (tmp_path / "run").exists()


def test_no_hostile_arrays(tmp_path):
    for name, content in {
        "objects": np.array([Evil(print, "run")], dtype=object),
        "text": np.array(["abc"]),
        "records": np.zeros(2, [("a", "i4")]),
    }.items():
        with pytest.raises(UsageError, match="refused pickle"):
            pickles.read_pickle(write(tmp_path / name, {"features": content}, 2))
    # A shape that the data do not fill.
    good = pickle.dumps({"labels": np.arange(3, dtype=np.uint8)}, 2)
    stream = io.BytesIO(good.replace(b"K\x03\x85", b"K\x63\x85"))
    (tmp_path / "long.p").write_bytes(stream.getvalue())
    with pytest.raises(UsageError, match="long.p"):
        pickles.read_pickle(tmp_path / "long.p")


def test_truncated_and_wrong(tmp_path):
    path = write(tmp_path / "train.p", {"features": FEATURES, "labels": LABELS}, 2)
    whole = path.read_bytes()
    for end in (0, 1, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(UsageError, match="train.p: truncated"):
            pickles.read_pickle(path)
    with pytest.raises(UsageError, match="a list, not a dictionary"):
        pickles.read_pickle(write(path, [FEATURES], 2))
    with pytest.raises(UsageError, match="no array labels"):
        pickles.read_pickled_split(write(path, {"features": FEATURES}, 2), (32, 32, 3), 43)
    with pytest.raises(UsageError, match="labels out of range"):
        pickles.read_pickled_split(write(path, {"features": FEATURES, "labels": LABELS + 9}, 2), (32, 32, 3), 43)


def test_no_module_is_imported(tmp_path):
    (tmp_path / "wicked.py").write_text("raise SystemExit('imported')")
    (tmp_path / "train.p").write_bytes(b"cwicked\nthing\n.")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(UsageError, match="refused pickle"):
            pickles.read_pickle(tmp_path / "train.p")
    finally:
        sys.path.remove(str(tmp_path))
