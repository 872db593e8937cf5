"""What the tests share."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # two processes of tests share a GPU

import keras  # noqa: E402
import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("RAR_TF_TEST_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_finish():
    """Collect garbage less often: tracing makes many objects, and most of them live as long as their graph."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)


@pytest.fixture
def float64():
    """Keras layers built in double precision."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def seeded():
    """Fresh weights that are the same at every call."""
    keras.utils.set_random_seed(7)
