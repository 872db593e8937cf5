"""docs/certification.md: its example runs as it stands, and its columns and flags exist."""

import re

import numpy as np

from rar_tf.certification import CERTIFICATES
from rar_tf.certification.upper_bound import euclidean_bound
from rar_tf.experiment import flagfile

import tiny_networks
from conftest import ROOT

TEXT = (ROOT / "docs" / "certification.md").read_text()


def test_example_from_python():
    network = tiny_networks.convolutional("relu")
    images = np.random.default_rng(0).random((2, 5, 4, 2)).astype(np.float32)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    names = {"network": network, "images": images, "labels": network(images).numpy().argmax(1)}
    exec(compile(code.replace("10_000", "500"), "docs/certification.md", "exec"), names)
    assert len(names["found"].rows) == 4 and names["found"].summary()["num_certifiable"] == 2
    matrix = names["operator"].dense()
    assert names["xi"] >= np.linalg.norm(matrix, 2) * (1 - 1e-5)
    np.testing.assert_allclose(euclidean_bound(names["xi"], 0.1, 40), 0.1 * np.linalg.norm(matrix, 2), rtol=1e-3)


def test_every_column_is_explained_and_every_flag_exists():
    for certificate in CERTIFICATES.values():
        settings = certificate.Settings(bounds=(0, 1), image_shape=(2, 2, 1), threshold=0.5)
        for column in [*certificate.columns(settings), "seconds"]:
            assert re.search(rf"`{column.replace('_0.5', '_T')}`|`--{column}`", TEXT), column
    flags = flagfile.all_items()
    for flag in re.findall(r"`--(\w+)", TEXT):
        assert flag in flags, flag
