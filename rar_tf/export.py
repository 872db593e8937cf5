"""Networks as files: SavedModels that need nothing of this package, and the user's own models read back."""

import os
import pathlib

import keras
import tensorflow as tf
from absl import logging

from rar_tf import files, inputs, models
from rar_tf.attributions.path_integral import integrated_gradients
from rar_tf.attributions.targets import Target
from rar_tf.errors import UsageError, brief
from rar_tf.files import atomic_write
from rar_tf.models.applications import with_preprocessing

EXPORTED_IG_STEPS = 50


def export_saved_model(network: keras.Model, path: str | os.PathLike) -> None:
    """Write a SavedModel with the signatures `serving_default` and `integrated_gradients`.

    serving_default: images float32 [N, H, W, C] in the data's pixel range -> logits [N, K], probabilities [N, K].
    integrated_gradients: images, labels int64 [N] -> attributions [N, H, W, C] of the label's logit from black, right
    Riemann sum of 50 steps. Both work in a process without this package.
    """
    inputs.check_network(network)
    if not getattr(network, "inputs", None):
        raise UsageError("a network is exported that knows its input's shape: build it as Sequential or functional")
    images = tf.TensorSpec([None, *network.inputs[0].shape[1:]], tf.float32, name="images")
    labels = tf.TensorSpec([None], tf.int64, name="labels")

    def serve(images):
        logits = network(images, training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def attribute(images, labels):
        return {"attributions": integrated_gradients(Target(network, labels), images, steps=EXPORTED_IG_STEPS)}

    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serving_default", serve, input_signature=[images])
    archive.add_endpoint("integrated_gradients", attribute, input_signature=[images, labels])
    with atomic_write(path) as temporary:
        archive.write_out(str(temporary), verbose=False)
        files.mark(temporary, "export")


class SavedNetwork:
    """The logits of the user's own SavedModel, callable as a network; it cannot be cloned, so it has no surrogate."""

    def __init__(self, path: str | os.PathLike):
        try:
            self.model = tf.saved_model.load(str(path))
        except Exception as error:  # TensorFlow raises whatever a damaged or foreign file happens to provoke
            raise UsageError(f"--saved_model={path}: not a SavedModel that can be read ({brief(error)})") from error
        if "serving_default" not in self.model.signatures:
            raise UsageError(
                f"{path}: the SavedModel has no signature serving_default; it has "
                f"{', '.join(self.model.signatures) or 'none'}"
            )
        self.signature = self.model.signatures["serving_default"]
        inputs = self.signature.structured_input_signature[1]
        if len(inputs) != 1:
            raise UsageError(f"{path}: serving_default must take one input, the images; it takes {', '.join(inputs)}")
        self.kinks = sorted(_operations(self.signature.graph) & _KINKS)
        self.input_name, spec = next(iter(inputs.items()))
        if spec.dtype != tf.float32:
            raise UsageError(
                f"{path}: serving_default takes images of dtype {spec.dtype.name}, and images are float32 here: export "
                "the network with float32 images"
            )
        self.input_shape = tuple(spec.shape)
        outputs = list(self.signature.structured_outputs)
        self.output_name = "logits" if "logits" in outputs else outputs[0]
        if len(outputs) > 1 and self.output_name != "logits":
            logging.warning("%s: no output is called logits; %r of %s is taken for them", path, outputs[0], outputs)

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the logits [N, K] of images [N, H, W, C]."""
        return self.signature(**{self.input_name: images})[self.output_name]


_KINKS = {"Relu", "Relu6", "LeakyRelu", "Selu", "MaxPool", "MaxPoolV2"}


def _operations(graph) -> set[str]:
    """The kinds of operations of a graph and of the functions that it calls."""
    definition = graph.as_graph_def()
    bodies = (definition.node, *(function.node_def for function in definition.library.function))
    return {node.op for body in bodies for node in body}


def load_keras(path: str | os.PathLike) -> keras.Model:
    """Return the network of a .keras file, read in Keras's safe mode.

    Raises: UsageError where the file is missing, damaged, or needs code that safe mode refuses.
    """
    models.register_layers()
    path = pathlib.Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such .keras file")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged or foreign file happens to provoke
        raise UsageError(f"{path}: not a Keras model that can be read safely ({brief(error)})") from error


def preprocessed(network, mode: str | None, bounds: tuple[float, float]):
    """Return a network of pixels in `bounds`: itself where it is one already, else with its preprocessing before it.

    Raises: UsageError as `models.applications.with_preprocessing`.
    """
    return network if mode is None else with_preprocessing(network, mode, bounds)


def load_network(model_dir: str | None = None, keras_model: str | None = None, saved_model: str | None = None):
    """Return the network of a run's directory, of a .keras file or of a SavedModel; exactly one must be given."""
    given = [place for place in (model_dir, keras_model, saved_model) if place is not None]
    if len(given) != 1:
        raise UsageError("give exactly one of --model_dir, --keras_model and --saved_model")
    if saved_model is not None:
        return SavedNetwork(saved_model)
    return load_keras(given[0] if model_dir is None else pathlib.Path(given[0]) / "model.keras")
