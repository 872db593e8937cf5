"""SavedModels that need nothing of this package, and the user's own models read back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rar_tf import export, models
from rar_tf.attributions.gradients import gradient
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.errors import UsageError

from runner import python, succeeded

FOREIGN = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
data = np.load(sys.argv[2])
served = model.signatures["serving_default"](images=tf.constant(data["images"]))
maps = model.signatures["integrated_gradients"](images=tf.constant(data["images"]), labels=tf.constant(data["labels"]))
np.savez(sys.argv[3], attributions=maps["attributions"], **served)
assert not any(name.split(".")[0] == "rar_tf" for name in sys.modules)
"""


@pytest.mark.parametrize("name,shape,scale", [("tiny_cnn", (28, 28, 1), 1.0), ("resnet_1", (16, 16, 3), 255.0)])
def test_a_process_without_this_package_gets_the_same(tmp_path, seeded, name, shape, scale):
    network = models.build(name, shape, 5)
    images = np.random.RandomState(0).uniform(0, scale, (3, *shape)).astype("float32")
    labels = np.array([0, 4, 2])
    export.export_saved_model(network, tmp_path / "saved_model")
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    files = (tmp_path / name for name in ("saved_model", "data.npz", "out.npz"))
    succeeded(python("-c", FOREIGN, *files), cwd=tmp_path, PYTHONPATH=None)
    found = np.load(tmp_path / "out.npz")
    logits = network(images).numpy()
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5 * np.abs(logits).max())
    np.testing.assert_allclose(found["probabilities"], tf.nn.softmax(logits), atol=1e-5)
    expected = integrated_gradients(Target(network, tf.constant(labels)), tf.constant(images), steps=50)
    np.testing.assert_allclose(found["attributions"], expected, atol=1e-5 * np.abs(expected).max())


def test_a_saved_model_is_a_network_again(tmp_path, seeded):
    network = models.build("tiny_cnn", (28, 28, 1), 10)
    export.export_saved_model(network, tmp_path / "saved_model")
    loaded = export.load_network(saved_model=str(tmp_path / "saved_model"))
    images = tf.random.stateless_uniform([2, 28, 28, 1], [1, 2])
    np.testing.assert_allclose(loaded(images), network(images), atol=1e-5)

    def curvature(network):
        target = Target(network, tf.constant([1, 2]))
        return gradient(lambda x: tf.reduce_sum(integrated_gradients(target, x, steps=4) ** 2, [1, 2, 3]), images)

    np.testing.assert_allclose(curvature(loaded), curvature(network), atol=1e-5)


def test_keras_files(tmp_path):
    network = models.build("resnet_1", (16, 16, 3), 5)
    network.save(tmp_path / "model.keras")
    images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 2], 0, 255)
    for loaded in (export.load_network(keras_model=str(tmp_path / "model.keras")), export.load_network(str(tmp_path))):
        np.testing.assert_array_equal(loaded(images), network(images))


def test_unsafe_and_damaged_files_are_refused(tmp_path):
    unsafe = keras.Sequential([keras.layers.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    unsafe.save(tmp_path / "unsafe.keras")
    (tmp_path / "damaged.keras").write_bytes(b"not a zip file")
    (tmp_path / "folder").mkdir()
    for arguments, message in (
        ({"keras_model": "unsafe.keras"}, "read safely"),
        ({"keras_model": "damaged.keras"}, "read safely"),
        ({"keras_model": "absent.keras"}, "no such"),
        ({"saved_model": "folder"}, "not a SavedModel"),
    ):
        with pytest.raises(UsageError, match=message):
            export.load_network(**{name: str(tmp_path / value) for name, value in arguments.items()})
    with pytest.raises(UsageError, match="exactly one"):
        export.load_network()
    with pytest.raises(UsageError, match="exactly one"):
        export.load_network("a", "b")


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float64])
def test_a_saved_model_of_other_images_is_refused_in_one_line(tmp_path, dtype):
    module = tf.Module()
    serve = tf.function(lambda images: {"logits": tf.cast(images, tf.float32)[:, 0, 0]})
    tf.saved_model.save(module, str(tmp_path / "m"), serve.get_concrete_function(tf.TensorSpec([None, 4, 4, 3], dtype)))
    with pytest.raises(UsageError, match=f"images of dtype {dtype.name}") as raised:
        export.SavedNetwork(tmp_path / "m")
    assert "\n" not in str(raised.value)
