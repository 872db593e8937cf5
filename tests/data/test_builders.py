"""GTSRB and Flower-17 from their official layouts: splits, completeness, broken files, tfds builders."""

import dataclasses
import hashlib
import os
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from rar_tf.data import RECORDS
from rar_tf.data import images as image_io
from rar_tf.data.builders import archives, flower17, gtsrb
from rar_tf.data.records import Request
from rar_tf.errors import UsageError

DATA = pathlib.Path(os.environ.get("RAR_TF_TEST_DATA", "../shared/data"))
HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
TRACKS, FRAMES, TEST = 4, 3, 6


def write_csv(path, rows):
    path.write_text("\r\n".join([HEADER, *(f"{name};9;9;1;1;8;8;{label}" for name, label in rows)]) + "\r\n")


def write_ppm(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 30, 3), np.uint8)).save(path)


@pytest.fixture
def signs(tmp_path, monkeypatch):
    """A GTSRB of 3 classes in the official layout, complete by its own counts."""
    for name, value in {
        "CLASSES": 3,
        "TRAINING": 3 * TRACKS * FRAMES,
        "TEST": TEST,
        "TRACKS": 3 * TRACKS,
        "VALIDATION_TRACKS": 3,
    }.items():
        monkeypatch.setattr(gtsrb, name, value)
    images = tmp_path / "GTSRB" / "Final_Training" / "Images"
    for label in range(3):
        names = [f"{track:05d}_{frame:05d}.ppm" for track in range(TRACKS) for frame in range(FRAMES)]
        for number, name in enumerate(names):
            write_ppm(images / f"{label:05d}" / name, 100 * label + number)
        write_csv(images / f"{label:05d}" / f"GT-{label:05d}.csv", [(name, label) for name in names])
    names = [f"{number:05d}.ppm" for number in range(TEST)]
    for number, name in enumerate(names):
        write_ppm(tmp_path / "GTSRB" / "Final_Test" / "Images" / name, 1000 + number)
    write_csv(tmp_path / "GTSRB" / "Final_Test" / "Images" / "GT-final_test.test.csv", [])
    write_csv(tmp_path / "GT-final_test.csv", [(name, number % 3) for number, name in enumerate(names)])
    return tmp_path


def training_images(root):
    return root / "GTSRB" / "Final_Training" / "Images"


def same(one, other):
    return all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(x, y))


def test_gtsrb_splits(signs):
    splits = gtsrb.read(signs)
    assert [split.count for split in splits] == [27, 9, 6]
    assert np.bincount(splits.valid.labels).tolist() == [3, 3, 3]
    assert splits.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert splits.train.images.shape == (27, 32, 32, 3)
    assert same(splits, gtsrb.read(signs)) and not same(splits, gtsrb.read(signs, seed=1))
    # No physical sign in two splits: each track is wholly in one.
    every = {
        image.tobytes(): (label, track)
        for label in range(3)
        for track in range(TRACKS)
        for frame in range(FRAMES)
        for image in [
            image_io.read_image(
                training_images(signs) / f"{label:05d}" / f"{track:05d}_{frame:05d}.ppm",
                (32, 32),
                antialias=False,
            )
        ]
    }
    where = [{every[image.tobytes()] for image in split.images} for split in splits[:2]]
    assert len(where[1]) == 3 and not where[0] & where[1]


def test_gtsrb_official_counts():
    # 1,306 tracks of 30 frames and one of 29, as the official archive has them.
    tracks = np.repeat(np.arange(1307), 30)[:-1]
    labels = tracks % 43
    paths = [pathlib.Path(f"{track}_{row}") for row, track in enumerate(tracks)]
    parts = gtsrb._split(image_io.Files(paths, labels), tracks, image_io.Files([], np.zeros(0, int)), 0)
    assert [len(part.paths) for part in parts] == [34_799, 4_410, 0]
    held = [{path.name.split("_")[0] for path in part.paths} for part in parts]
    assert len(held[1]) == 147 and not held[0] & held[1] and "1306" in held[0]
    assert (np.bincount(parts[1].labels, minlength=43) >= 30).all()


def test_gtsrb_without_final_test(signs):
    (signs / "GT-final_test.csv").unlink()
    with pytest.raises(UsageError, match="no GT-final_test.csv"):
        gtsrb.read(signs)
    splits = gtsrb.read(signs, allow_partial=True)
    assert [split.count for split in splits] == [21, 9, 6]
    images = [image.tobytes() for split in splits for image in split.images]
    assert len(set(images)) == len(images) == 36


def test_gtsrb_zip_archives_give_the_same(signs, tmp_path_factory):
    packed = tmp_path_factory.mktemp("packed")
    contents = {
        "GTSRB_Final_Training_Images.zip": "GTSRB/Final_Training",
        "GTSRB_Final_Test_Images.zip": "GTSRB/Final_Test",
        "GTSRB_Final_Test_GT.zip": "GT-final_test.csv",
    }
    for name, inside in contents.items():
        with zipfile.ZipFile(packed / name, "w") as archive:
            paths = [signs / inside] if (signs / inside).is_file() else sorted((signs / inside).rglob("*.*"))
            for path in paths:
                archive.write(path, path.relative_to(signs))
    assert same(gtsrb.read(packed), gtsrb.read(signs))
    assert sorted(path.name for path in packed.iterdir()) == sorted(contents)
    archive = packed / "GTSRB_Final_Test_Images.zip"
    archive.write_bytes(archive.read_bytes()[:-3000])
    with pytest.raises(UsageError, match="GTSRB_Final_Test_Images.zip: truncated"):
        gtsrb.read(packed)


def break_image(root):
    path = training_images(root) / "00001" / "00002_00001.ppm"
    path.write_bytes(path.read_bytes()[:50])


def remove_image(root):
    (training_images(root) / "00001" / "00002_00001.ppm").unlink()


def add_image(root):
    write_ppm(training_images(root) / "00001" / "00009_00001.ppm", 1)


def wrong_class(root):
    path = training_images(root) / "00001" / "GT-00001.csv"
    path.write_text(path.read_text().replace("00002_00001.ppm;9;9;1;1;8;8;1", "00002_00001.ppm;9;9;1;1;8;8;2"))


def unreadable_row(root):
    path = root / "GT-final_test.csv"
    path.write_text(path.read_text().replace("00003.ppm;9;9;1;1;8;8;0", "00003.ppm;9"))


@pytest.mark.parametrize(
    "damage, match, count",
    [
        (break_image, "00002_00001.ppm: truncated", 41),
        (remove_image, "GT-00001.csv: row 9: there is no image", 41),
        (add_image, "00009_00001.ppm: an image without a row", 42),
        (wrong_class, "GT-00001.csv: row 9: ClassId 2 of 00002_00001.ppm is not 1", 41),
        (unreadable_row, "GT-final_test.csv: row 5 has no Filename and ClassId", 41),
    ],
)
def test_gtsrb_damage(signs, caplog, damage, match, count):
    damage(signs)
    with pytest.raises(UsageError, match=match):
        gtsrb.read(signs)
    with caplog.at_level("WARNING", logger="absl"):
        splits = gtsrb.read(signs, skip_corrupt=True, allow_partial=True)
    assert sum(split.count for split in splits) == count
    assert any("skipped 1 broken" in message or "skipped 2 broken" in message for message in caplog.messages)


def test_gtsrb_missing_parts(signs):
    for path in (training_images(signs) / "00002").glob("*.ppm"):
        path.unlink()
    with pytest.raises(UsageError, match="00002: a class folder without an image"):
        gtsrb.read(signs)
    (training_images(signs) / "00000" / "GT-00000.csv").unlink()
    with pytest.raises(UsageError, match="GT-00000.csv: no such file"):
        gtsrb.read(signs, allow_partial=True)
    (training_images(signs) / "cats").mkdir()
    with pytest.raises(UsageError, match="no GTSRB training images; put there: GTSRB_Final_Training_Images.zip"):
        gtsrb.read(training_images(signs) / "00000")


# Flower-17


def write_flowers(folder, numbers):
    (folder / "jpg").mkdir(parents=True)
    for number in numbers:
        image = np.full((20, 30, 3), (number - 1) // 80 * 15, np.uint8)
        Image.fromarray(image).save(folder / "jpg" / f"image_{number:04d}.jpg")
    (folder / "jpg" / "files.txt").write_text("".join(f"image_{number:04d}.jpg\n" for number in numbers))
    return folder


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    return write_flowers(tmp_path_factory.mktemp("flowers"), range(1, 1361))


def test_flower_random_split(flowers, monkeypatch):
    monkeypatch.setattr(flower17, "SHAPE", (4, 4, 3))
    splits = flower17.read(flowers)
    assert [split.count for split in splits] == [1224, 0, 136]
    assert np.bincount(splits.train.labels).tolist() == 17 * [72] and np.bincount(splits.test.labels).tolist() == 17 * [
        8
    ]
    np.testing.assert_array_equal(np.round(splits.test.images[:, 0, 0, 0] / 15), splits.test.labels)


def test_flower_official_split(flowers, monkeypatch):
    monkeypatch.setattr(flower17, "SHAPE", (4, 4, 3))
    with pytest.raises(UsageError, match="datasplits.mat"):
        flower17.read(flowers, official_split=1)
    numbers = np.arange(1, 1361).reshape(17, 80)
    parts = {"trn": numbers[:, :40], "val": numbers[:, 40:60], "tst": numbers[:, 60:]}
    savemat(
        flowers / "datasplits.mat",
        {f"{name}{n}": part.reshape(1, -1) for name, part in parts.items() for n in (1, 2)},
    )
    splits = flower17.read(flowers, official_split=2)
    assert [split.count for split in splits] == [680, 340, 340]
    assert (np.bincount(splits.valid.labels) == 20).all()
    with pytest.raises(UsageError, match="datasplits.mat: truncated or corrupt, or without trn3"):
        flower17.read(flowers, official_split=3)


def test_flower_damage(tmp_path):
    folder = write_flowers(tmp_path, [1, 2, 3, 81, 82])
    with pytest.raises(UsageError, match="2 of 17 classes"):
        flower17.read(folder)
    (folder / "jpg" / "image_0002.jpg").write_bytes(b"no image")
    (folder / "jpg" / "image_0082.jpg").unlink()
    with pytest.raises(UsageError, match="files.txt: there is no image image_0082.jpg"):
        flower17.read(folder, allow_partial=True)
    splits = flower17.read(folder, allow_partial=True, skip_corrupt=True)
    assert sum(split.count for split in splits) == 3


def test_flower_archive(tmp_path):
    folder = write_flowers(tmp_path / "unpacked", range(1, 1361, 40))
    with tarfile.open(tmp_path / "17flowers.tgz", "w:gz") as archive:
        archive.add(folder / "jpg", "jpg")
    packed = flower17.read(tmp_path, allow_partial=True)
    assert same(packed, flower17.read(folder, allow_partial=True)) and [split.count for split in packed] == [
        31,
        0,
        3,
    ]
    content = (tmp_path / "17flowers.tgz").read_bytes()
    (tmp_path / "17flowers.tgz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match="17flowers.tgz: truncated"):
        flower17.read(tmp_path, allow_partial=True)


# Archives


def test_tar_members_stay_inside(tmp_path):
    (tmp_path / "evil").write_text("x")
    for name, target in (("up.tar", "../outside"), ("absolute.tar", str(tmp_path / "outside"))):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(tmp_path / "evil", target)
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        archive.addfile(link)
    for name in ("up.tar", "link.tar"):
        with pytest.raises(UsageError, match=f"{name}: unsafe member"):
            archives.unpack(tmp_path / name, tmp_path / "in")
    archives.unpack(tmp_path / "absolute.tar", tmp_path / "in")  # the leading slash is taken away
    assert not (tmp_path / "outside").exists()


def test_zip_members_stay_inside(tmp_path):
    for name in ("../outside", "/outside", "a/../../outside"):
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
            archive.writestr("first", "x")
            archive.writestr(name, "x")
        with pytest.raises(UsageError, match="evil.zip: unsafe member"):
            archives.unpack(tmp_path / "evil.zip", tmp_path / "in")
        assert not (tmp_path / "outside").exists() and not (tmp_path / "in").exists()


def test_no_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK not really")
    with pytest.raises(UsageError, match="neither a zip nor a tar"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "in")
    with pytest.raises(UsageError, match="a.zip: downloaded file has MD5"):
        archives.check_md5(tmp_path / "a.zip", "0" * 32, "a.zip")


# The real samples, and the tfds builders


@pytest.mark.parametrize(
    "name, reader, folder, counts",
    [
        ("gtsrb", gtsrb, "gtsrb_original_sample", [40, 5, 15]),
        ("flower", flower17, "flowers17_original_sample", [31, 0, 3]),
    ],
)
def test_real_samples_with_their_builders(tmp_path, name, reader, folder, counts):
    if not (DATA / folder).exists():
        pytest.skip(f"no {DATA / folder}")
    import tensorflow_datasets as tfds

    with pytest.raises(UsageError, match="allow_partial"):
        reader.read(DATA / folder)
    splits = reader.read(DATA / folder, allow_partial=True)
    assert [split.count for split in splits] == counts
    assert splits.train.images.std() > 30
    builder = reader.SOURCE.builder(RECORDS[name], config="partial", data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=DATA / folder))
    for name, split in zip(("train", "validation", "test"), splits):
        if split.count:
            rows = list(tfds.as_numpy(builder.as_dataset(split=name, shuffle_files=False)))
            np.testing.assert_array_equal(np.stack([row["image"] for row in rows]), split.images)
            assert [row["label"] for row in rows] == split.labels.tolist()


def test_downloads_are_checked_and_read(signs, tmp_path_factory, monkeypatch):
    """The download path, with a manager that hands out local archives."""
    packed = tmp_path_factory.mktemp("packed")
    paths = {}
    for name, inside in gtsrb.ARCHIVES.items():
        paths[gtsrb.URL + name] = packed / f"hashed{len(paths)}"
        with zipfile.ZipFile(paths[gtsrb.URL + name], "w") as archive:
            files = [signs / inside] if (signs / inside).is_file() else sorted((signs / inside).rglob("*.*"))
            for path in files:
                archive.write(path, path.relative_to(signs))

    class Manager:
        def download(self, urls):
            return {name: paths[url] for name, url in urls.items()}

    def read():
        return gtsrb.SOURCE.read_downloads(RECORDS["gtsrb"], Manager(), Request())

    with pytest.raises(UsageError, match="Final_Training_Images.zip: downloaded file has MD5"):
        read()
    sums = {name: hashlib.md5(paths[gtsrb.URL + name].read_bytes()).hexdigest() for name in gtsrb.MD5}
    monkeypatch.setattr(gtsrb, "SOURCE", dataclasses.replace(gtsrb.SOURCE, md5=sums))
    assert same(read(), gtsrb.read(signs))


def test_resizing_of_traffic_signs():
    """Bilinear between the four nearest pixels, as OpenCV does, within a grey level."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    folder = DATA / "gtsrb_original_sample" / "GTSRB" / "Final_Training" / "Images"
    if not folder.exists():
        pytest.skip(f"no {folder}")
    for path in sorted(folder.rglob("*.ppm"))[::6]:
        original = image_io.read_image(path)
        theirs = cv2.resize(original, (32, 32), interpolation=cv2.INTER_LINEAR)
        ours = image_io.read_image(path, (32, 32), antialias=False)
        assert np.abs(ours.astype(int) - theirs).max() <= 1
