"""RobustModel inside Keras, and runs: what they write, how they resume, how they fail."""

import csv
import json
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import data, files, objectives
from rar_tf.data import pipeline
from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile, optimizers
from rar_tf.experiment import run as experiment
from rar_tf.experiment.callbacks import StepTable, TrainingDiverged
from rar_tf.experiment.checkpoints import Checkpoints
from rar_tf.experiment.monitoring import Monitor
from rar_tf.experiment.settings import Experiment, RunSettings
from rar_tf.models.settings import NetworkSettings
from rar_tf.models.surrogate import is_smooth
from rar_tf.objectives.robust_model import RobustModel
from rar_tf.settings import items

from gradcheck import smooth_network
from runner import command, stop_when

RANDOM = np.random.RandomState(0)
IMAGES, LABELS = RANDOM.uniform(0, 1, [32, 4, 4, 1]).astype("float32"), RANDOM.randint(0, 3, 32)
QUICK = {
    "dataset": "digits",
    "model": "tiny_cnn",
    "method": "ig_sum_norm",
    "batch_size": 8,
    "epsilon": 0.1,
    "attack_steps": 1,
    "ig_steps": 2,
    "attack_ig_steps": 1,
    "eval_examples": 2,
    "ifia_steps": 1,
    "ifia_ig_steps": 2,
    "eval_pgd_steps": 1,
    "learning_rate": [1e-3],
    "log_every": 2,
    "checkpoint_every": 2,
}


class TestInKeras:
    def test_fit_and_evaluate_on_arrays_of_ones_own(self):
        model = rar_tf.IGSumNorm(smooth_network(), epsilon=0.05, steps=2, ig_steps=4, attack_ig_steps=2)
        model.compile("adam", metrics=["accuracy"])
        history = model.fit(
            IMAGES, LABELS[:, None], batch_size=8, epochs=2, verbose=0, validation_data=(IMAGES, LABELS)
        )
        assert {
            "loss",
            "cross_entropy",
            "attribution",
            "accuracy",
            "val_loss",
            "val_natural_accuracy",
            "val_adversarial_accuracy",
        } <= set(history.history)
        assert not model.jit_compile
        results = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
        logits = model.predict(IMAGES, verbose=0)
        assert results["natural_accuracy"] == pytest.approx(np.mean(logits.argmax(1) == LABELS))
        assert results["adversarial_accuracy"] <= results["natural_accuracy"]

    def test_training_lowers_the_loss_and_terms_add_up(self):
        model = rar_tf.IGNorm(smooth_network(), epsilon=0.05, steps=2, ig_steps=4, attack_ig_steps=2, weight_decay=1e-3)
        model.compile(keras.optimizers.Adam(0.01))
        history = model.fit(IMAGES, LABELS, batch_size=8, epochs=15, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        for i in range(15):
            assert history["loss"][i] == pytest.approx(
                history["cross_entropy"][i] + history["attribution"][i] + history["weight_decay"][i], rel=1e-5
            )

    def test_sum_and_mean_differ_by_the_batch(self):
        losses = {}
        for reduction in ("sum", "mean"):
            model = rar_tf.Madry(smooth_network(), epsilon=0.1, reduction=reduction)
            model.compile(keras.optimizers.SGD(0.0))
            losses[reduction] = float(model.minimise(IMAGES, IMAGES, LABELS)["loss"])
        assert losses["sum"] == pytest.approx(32 * losses["mean"], rel=1e-5)

    def test_batch_norm_and_dropout_rest_during_attacks(self):
        network = keras.Sequential(
            [
                keras.layers.Input((4, 4, 1)),
                keras.layers.BatchNormalization(),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(3),
            ]
        )
        model = rar_tf.IGSumNorm(network, epsilon=0.1, steps=3, ig_steps=4, attack_ig_steps=2)
        before = [v.numpy() for v in network.variables]
        images = tf.constant(IMAGES)
        first = model.perturb(images, LABELS, images + 0.01)
        np.testing.assert_array_equal(first, model.perturb(images, LABELS, images + 0.01))
        for old, variable in zip(before, network.variables):
            np.testing.assert_array_equal(old, variable.numpy())

    def test_the_start_is_a_function_of_seed_and_step(self):
        model = rar_tf.Madry(smooth_network(), epsilon=0.1, seed=3)
        starts = [model.start(tf.constant(IMAGES), tf.constant(step, tf.int64)).numpy() for step in (4, 4, 5)]
        np.testing.assert_array_equal(starts[0], starts[1])
        assert np.abs(starts[0] - starts[2]).max() > 0.05
        assert np.abs(starts[0] - IMAGES).max() <= 0.1 + 1e-6

    def test_momentum_is_the_rule_of_tensorflow_1(self):
        # a ← 0.9a + g, w ← w − ηa with g = 1 and a rate that changes after the first step.
        variable = keras.Variable([0.0])
        optimizer = optimizers.build(
            RunSettings(optimizer="momentum", learning_rate=(0.1, 1.0), learning_rate_boundaries=(0,))
        )
        optimizer.build([variable])
        for expected in (-0.1, -0.1 - 1.9, -0.1 - 1.9 - 2.71):
            optimizer.apply([tf.constant([1.0])], [variable])
            assert float(variable[0]) == pytest.approx(expected)

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"optimizer": "adamm"}, "unknown optimizer"),
            ({"learning_rate": (0.1, 0.2)}, "one value more"),
            ({"learning_rate": -0.1}, "must be positive"),
            ({"learning_rate": (0.1, 0.2, 0.3), "learning_rate_boundaries": (5, 5)}, "must increase"),
            ({"learning_rate_warmup": 600, "learning_rate_decay": 500}, "1100 of 1000 steps"),
        ],
    )
    def test_bad_optimizers(self, changes, message):
        with pytest.raises(UsageError, match=message):
            optimizers.build(RunSettings(**changes))

    def test_rates_that_rise_and_fall(self):
        settings = RunSettings(learning_rate=0.4, learning_rate_warmup=4, learning_rate_decay=2, steps=10)
        rate = optimizers.build(settings)._learning_rate
        expected = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.2]
        np.testing.assert_allclose([float(rate(step)) for step in range(10)], expected, rtol=1e-6)
        cosine = optimizers.build(settings.replace(decay_shape="cosine", learning_rate_decay=4))._learning_rate
        np.testing.assert_allclose(
            [float(cosine(step)) for step in (6, 8, 9)], [0.4, 0.2, 0.4 * 0.5 * (1 - np.cos(np.pi / 4))]
        )
        again = optimizers.Ramps.from_config(cosine.get_config())
        assert float(again(9)) == float(cosine(9))
        pieces = settings.replace(learning_rate=(0.4, 0.04), learning_rate_boundaries=(5,))
        assert float(optimizers.build(pieces)._learning_rate(6)) == pytest.approx(0.04)

    def test_the_budget_grows(self):
        model = rar_tf.Madry(smooth_network(), epsilon=0.2, steps=3, epsilon_warmup=4, bounds=(-1.0, 2.0))
        images, labels = tf.constant(IMAGES), tf.constant(LABELS, tf.int64)
        for step, share in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
            step = tf.constant(step, tf.int64)
            start = model.start(images, step)
            perturbed = model.perturb(images, labels, start, model.share(step))
            assert np.abs(start - images).max() == pytest.approx(0.2 * share, rel=0.02)
            assert np.abs(perturbed - images).max() == pytest.approx(0.2 * share, rel=1e-5)


def weights_of(run):
    return [v.numpy() for v in run.network.variables]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def events_of(folder):
    """The steps and names of a run's TensorBoard events."""
    records = (tf.data.TFRecordDataset(str(path)) for path in (folder / "tensorboard").iterdir())
    events = (tf.compat.v1.Event.FromString(record.numpy()) for each in records for record in each)
    return [(event.step, value.tag) for event in events for value in event.summary.value]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of six steps, never interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    return experiment.train(dict(**QUICK, steps=6, model_dir=str(folder)))


class TestRuns:
    def test_what_a_run_leaves_behind(self, finished):
        names = {path.name for path in finished.folder.iterdir()}
        assert names == {
            ".rar_tf",
            "flags.cfg",
            "history.csv",
            "monitor.csv",
            "tensorboard",
            "checkpoints",
            "model.keras",
            "saved_model",
            "train.json",
        }
        rows = list(csv.DictReader((finished.folder / "history.csv").open()))
        assert [row["step"] for row in rows] == ["2", "4", "6"]
        summary = json.loads((finished.folder / "train.json").read_text())
        assert summary["steps"] == 6 and summary["seed"] == 0 and summary["final"]["loss"] == float(rows[-1]["loss"])
        assert [path.name for path in sorted((finished.folder / "checkpoints").iterdir())] == [
            f"step_{step:09d}.npz" for step in (2, 4, 6)
        ]
        tags = {tag for _, tag in events_of(finished.folder)}
        assert {
            "train/loss",
            "train/attribution",
            "train/cross_entropy",
            "train/learning_rate",
            "train/examples_per_second",
            "train/share_waiting_for_data",
            "monitor/natural_accuracy",
            "monitor/adversarial_accuracy",
        } <= tags
        assert "train/step" not in tags

    def test_a_finished_run_is_left_as_it_is_and_anew_only_its_own_files_go(self, finished, tmp_path):
        before, folder = contents(finished.folder), tmp_path / "run"
        again = experiment.train(dict(**QUICK, steps=6, model_dir=str(finished.folder)))
        assert again.finished and not again.written and contents(finished.folder) == before
        shutil.copytree(finished.folder, folder)
        (folder / "notes.txt").write_text("mine")
        anew = experiment.train(dict(**QUICK, steps=2, model_dir=str(folder), overwrite=True))
        assert anew.written and (folder / "notes.txt").read_text() == "mine"
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step_000000002.npz"]
        assert json.loads((folder / "train.json").read_text())["steps"] == 2

    def test_resumed_equals_uninterrupted(self, finished, tmp_path):
        settings = dict(**QUICK, steps=3, model_dir=str(tmp_path))
        experiment.train(settings)
        resumed = experiment.train({**settings, "steps": 6})
        assert_same(weights_of(resumed), weights_of(finished))
        assert_same(
            [v.numpy() for v in resumed.model.optimizer.variables],
            [v.numpy() for v in finished.model.optimizer.variables],
        )

    def test_a_row_of_steps_before_and_after_a_stop_is_the_whole_run_s(self, tmp_path):
        settings = {**QUICK, "method": "natural", "log_every": 4, "checkpoint_every": 3, "steps": 8}
        settings["model_dir"] = str(tmp_path)
        experiment.train(settings)
        rows, events = (tmp_path / "history.csv").read_text(), events_of(tmp_path)
        (path,) = (tmp_path / "tensorboard").iterdir()
        path.write_bytes(path.read_bytes() + b"torn")
        for name in ("checkpoints/step_000000008.npz", "model.keras", "train.json"):
            (tmp_path / name).unlink()
        experiment.train(settings)
        assert json.loads((tmp_path / "train.json").read_text())["resumed_at_step"] == 6
        assert (tmp_path / "history.csv").read_text() == rows
        assert sorted(events_of(tmp_path)) == sorted(events)

    def test_the_best_of_the_evaluations_is_kept_and_a_resumed_run_keeps_the_same(self, tmp_path):
        settings = {**QUICK, "method": "natural", "attack": "none", "eval_examples": 60, "eval_pgd_epsilon": 0.01}
        settings |= {"keep_best": True, "eval_every": 10, "checkpoint_every": 10, "batch_size": 32, "optimizer": "sgd"}
        settings |= {"learning_rate": [0.1, 100.0], "learning_rate_boundaries": [20], "steps": 40}  # then it breaks
        whole = experiment.train({**settings, "model_dir": str(tmp_path / "whole")})
        rows = list(csv.DictReader((whole.folder / "monitor.csv").open()))
        measured = [float(row["adversarial_accuracy"]) for row in rows]
        kept = json.loads((whole.folder / "train.json").read_text())["kept_step"]
        assert kept == 10 * (1 + measured.index(max(measured))) and measured[-1] < max(measured)
        until = experiment.train({**settings, "steps": kept, "model_dir": str(tmp_path / "until")})
        assert_same(weights_of(until), weights_of(whole))
        assert_same(keras.saving.load_model(whole.folder / "model.keras").get_weights(), weights_of(whole))
        resumed = experiment.train({**settings, "model_dir": str(tmp_path / "until")})
        assert_same(weights_of(resumed), weights_of(whole))

    @pytest.mark.parametrize("eval_every", [2, 50])
    def test_a_run_killed_while_it_evaluates_makes_that_evaluation_again(self, tmp_path, monkeypatch, eval_every):
        settings = {**QUICK, "method": "natural", "attack": "none", "keep_best": True, "eval_every": eval_every}
        settings |= {"steps": 4, "model_dir": str(tmp_path / "killed")}

        def killed(self, step, evaluate=Monitor.evaluate):
            if step == 4:
                raise KeyboardInterrupt
            return evaluate(self, step)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Monitor, "evaluate", killed)
            experiment.train(settings)
        resumed = experiment.train(settings)
        whole = experiment.train({**settings, "model_dir": str(tmp_path / "whole")})
        rows = [(run.folder / "monitor.csv").read_text() for run in (resumed, whole)]
        assert rows[0] == rows[1] and rows[0].splitlines()[-1].startswith("4,")
        assert_same(weights_of(resumed), weights_of(whole))

    def test_the_best_of_no_evaluations_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="--eval_every"):
            experiment.train({**QUICK, "keep_best": True, "steps": 2, "model_dir": str(tmp_path)})

    def test_averaged_weights_and_random_terms_resume_too(self, tmp_path):
        settings = {**QUICK, "method": "align_at", "aligned": "path_point", "curvature_weight": 1.0, "align_warmup": 5}
        settings |= {"weight_average": 0.5, "activation": "softplus", "pooling": "average", "steps": 5}
        whole = experiment.train({**settings, "model_dir": str(tmp_path / "whole")})
        experiment.train({**settings, "steps": 2, "model_dir": str(tmp_path / "parts")})
        parts = experiment.train({**settings, "model_dir": str(tmp_path / "parts")})
        assert_same(weights_of(parts), weights_of(whole))
        averages = whole.model.optimizer._model_variables_moving_average
        assert_same(weights_of(whole), [v.numpy() for v in averages])
        again = experiment.train({**settings, "model_dir": str(tmp_path / "whole")})  # from its last checkpoint
        assert_same(weights_of(again), weights_of(whole))

    def test_a_network_of_ones_own_goes_on_from_its_weights(self, finished, tmp_path):
        settings = {**QUICK, "model": str(finished.folder / "model.keras"), "method": "align_at"}
        smooth = {"activation": "softplus", "activation_beta": 5.0, "pooling": "average"}
        smooth |= {"stem": "dark", "stem_epsilon": 0.1}
        as_it_is, converted = (
            experiment.build(Experiment.of({**settings, **options, "model_dir": str(tmp_path)})).network
            for options in ({}, smooth)
        )
        for network in (as_it_is, converted):
            assert_same([v.numpy() for v in network.variables], weights_of(finished))
        assert [layer.name for layer in converted.layers][1] == "stem" and is_smooth(converted.layers[-1])
        assert not is_smooth(as_it_is)
        run = experiment.train({**settings, **smooth, "steps": 2, "model_dir": str(tmp_path)})
        assert np.any(weights_of(run)[0] != weights_of(finished)[0])
        for options, message in (
            ({"pooling": "average"}, "made smooth by activation softplus"),
            ({**smooth, "initializer": "glorot"}, "it has no initializer"),
            ({"dataset": "cifar10"}, "the network maps"),
        ):
            with pytest.raises(UsageError, match=message):
                experiment.build_network(
                    NetworkSettings.of({**settings, **options}), data.get(options.get("dataset", "digits"))
                )

    def test_a_damaged_checkpoint_falls_back(self, finished, tmp_path, caplog):
        settings = dict(**QUICK, steps=4, model_dir=str(tmp_path))
        experiment.train(settings)
        newest = tmp_path / "checkpoints" / "step_000000004.npz"
        newest.write_bytes(newest.read_bytes()[:-2000])
        (tmp_path / "checkpoints" / ".partial-1-step_000000005.npz").write_bytes(b"half")
        resumed = experiment.train({**settings, "steps": 6})
        assert_same(weights_of(resumed), weights_of(finished))
        assert not list((tmp_path / "checkpoints").glob(".partial*"))

    def test_a_checkpoint_of_several_workers_which_has_no_means_goes_on_with_one(self, finished, tmp_path):
        settings = dict(**QUICK, steps=4, model_dir=str(tmp_path))
        run = experiment.train(settings)
        kept = [*run.network.variables, *run.model.optimizer.variables]
        for path in (tmp_path / "checkpoints").iterdir():
            with np.load(path) as file:
                arrays = {name: file[name] for name in file.files[: len(kept)]}
            np.savez(path, **arrays)
        resumed = experiment.train({**settings, "steps": 6})
        assert_same(weights_of(resumed), weights_of(finished))
        assert json.loads((tmp_path / "train.json").read_text())["resumed_at_step"] == 4

    def test_a_flipped_byte_is_noticed(self, tmp_path):
        variable = keras.Variable(np.arange(1000.0))
        checkpoints = Checkpoints(tmp_path, [variable])
        checkpoints.save(1)
        variable.assign(-variable)
        checkpoints.save(2)
        content = bytearray(checkpoints.path(2).read_bytes())
        content[2000] ^= 1
        checkpoints.path(2).write_bytes(content)
        assert checkpoints.restore() == 1
        np.testing.assert_array_equal(variable, np.arange(1000.0))

    def test_old_checkpoints_are_pruned(self, tmp_path):
        checkpoints = Checkpoints(tmp_path, [keras.Variable(0.0)], keep=2)
        for step in range(1, 6):
            checkpoints.save(step)
        assert checkpoints.steps() == [4, 5]

    def test_a_loss_that_is_no_number_ends_the_run(self, tmp_path):
        settings = dict(
            **{**QUICK, "learning_rate": [1e-3, 1e30], "learning_rate_boundaries": [2], "optimizer": "sgd"},
            steps=10,
            model_dir=str(tmp_path),
        )
        with pytest.raises(TrainingDiverged, match="the last good checkpoint is kept"):
            experiment.train(settings)
        with np.load(tmp_path / "checkpoints" / "step_000000002.npz") as file:
            assert all(np.isfinite(file[name]).all() for name in file.files)
        assert Checkpoints(tmp_path / "checkpoints", []).steps()[-1] <= 4

    @pytest.mark.parametrize("steps", [2, 6])
    def test_weights_that_are_no_numbers_make_no_checkpoint_and_no_network(self, tmp_path, steps):
        settings = {**QUICK, "method": "natural", "optimizer": "sgd", "checkpoint_every": 1, "log_every": 1}
        settings |= {"learning_rate": [1e-3, 3e38], "learning_rate_boundaries": [0], "steps": steps}
        settings |= {"model_dir": str(tmp_path), "reduction": "sum"}
        with pytest.raises(UsageError, match="diverged"):  # of step 2 the loss is finite, and the weights are not
            experiment.train(settings)
        assert Checkpoints(tmp_path / "checkpoints", []).steps() == [1] and not (tmp_path / "model.keras").exists()
        with np.load(tmp_path / "checkpoints" / "step_000000001.npz") as file:
            assert all(np.isfinite(file[name]).all() for name in file.files)

    def test_two_trainings_do_not_share_a_folder(self, tmp_path):
        with files.writing(tmp_path, "train"), pytest.raises(UsageError, match="give another --model_dir"):
            experiment.train(dict(**QUICK, steps=2, model_dir=str(tmp_path)))
        assert not (tmp_path / "flags.cfg").exists()

    def test_more_steps_than_asked_for(self, finished):
        with pytest.raises(UsageError, match="trained for 6 steps already"):
            experiment.train(dict(**QUICK, steps=5, model_dir=str(finished.folder)))

    @pytest.mark.parametrize(
        "change,message",
        [
            ({"steps": 0}, "steps must be at least 1"),
            ({"model": "vgg"}, "unknown model 'vgg'; known: small_cnn"),
            ({"model": "absent.keras"}, "absent.keras: no such .keras file"),
            ({"method": "igg"}, "unknown method"),
            ({"epsilon": 0.0}, "epsilon must be positive"),
            ({"init_from": "nowhere.keras"}, "no such file"),
            ({"dataset": "svhn"}, "unknown data set"),
            ({"ig_steps": 3, "attack_ig_steps": 2}, "must divide"),
            ({"model_dir": None}, "model_dir"),
        ],
    )
    def test_bad_settings_write_nothing(self, tmp_path, change, message):
        settings = dict(**{**QUICK, "steps": 2, "model_dir": str(tmp_path / "run"), **change})
        with pytest.raises(UsageError, match=message):
            experiment.train(settings)
        assert not (tmp_path / "run").exists()


def test_several_steps_an_execution_give_the_same_bits(finished, tmp_path):
    run = experiment.train(dict(**QUICK, steps=6, model_dir=str(tmp_path), steps_per_execution=4))
    assert_same(weights_of(run), weights_of(finished))
    assert run.checkpoints.steps()[-1] == 6  # the second execution ends with the data


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_a_run_compiles_its_step_once(tmp_path, monkeypatch, steps_per_execution):
    traces, train_step = [], RobustModel.train_step

    def counted(self, data):
        traces.append(data)
        return train_step(self, data)

    monkeypatch.setattr(RobustModel, "train_step", counted)
    experiment.train(dict(**QUICK, steps=6, model_dir=str(tmp_path), steps_per_execution=steps_per_execution))
    assert len(traces) == 1


@pytest.mark.parametrize("method", ["ig_sum_norm", "advaat", "cacr_wacr", "align_at"])
def test_a_step_never_returns_to_the_host(method):
    run = experiment.build(Experiment.of({**QUICK, "method": method, "steps": 1}))
    batch = next(iter(pipeline.batches(run.record, run.splits.train, 8, seed=0)))
    graph = tf.function(run.model.train_step).get_concrete_function(batch).graph.as_graph_def()
    kinds = {
        node.op for each in (graph.node, *(function.node_def for function in graph.library.function)) for node in each
    }
    assert {"StatelessWhile", "While"} & kinds and not {"PyFunc", "PyFuncStateless", "EagerPyFunc"} & kinds


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_uninterrupted(finished, tmp_path, sign):
    arguments = [f"--{name}={flagfile.text(value)}" for name, value in QUICK.items()]
    train = command("train", *arguments, f"--model_dir={tmp_path}", "--steps=100000")
    status, errors = stop_when(lambda: list(tmp_path.glob("checkpoints/step_*.npz")), train, sign)
    if sign != signal.SIGKILL:
        assert status == 0 and "the same command goes on from there" in errors
    reached = Checkpoints(tmp_path / "checkpoints", []).steps()[-1]
    steps = max(reached + 1, 6)
    resumed = experiment.train(dict(**QUICK, steps=steps, model_dir=str(tmp_path)))
    if steps == 6:
        expected = weights_of(finished)
    else:
        expected = weights_of(experiment.train(dict(**QUICK, steps=steps, model_dir=str(tmp_path / "whole"))))
    assert_same(weights_of(resumed), expected)


def test_rows_beyond_the_checkpoint_and_torn_ones_are_dropped(tmp_path):
    table = StepTable(tmp_path / "history.csv")
    table.cut(0)  # of a file that is not there
    for step in (10, 20, 30):
        table.append({"step": step, "loss": 1 / step})
    with open(table.path, "a") as file:
        file.write("4")
    table.cut(20)
    table.append({"step": 30, "loss": 0.5})
    assert table.path.read_text().split() == ["step,loss", "10,0.1", "20,0.05", "30,0.5"]


def test_options_are_settings():
    flags = flagfile.all_items()
    for name, method in objectives.METHODS.items():
        assert all(item.flag in flags for item in items(method.Settings) if item.name != "bounds"), name
