"""Bad and odd inputs over scripts and API: the expected outcome of each stands here before anything runs.

Every input ends in one of three ways: it works; it works and a warning says what is odd; or one line says what is
wrong and, where a flag mends it, which one. Never a traceback, and never a number that means nothing. A third of the
cases are drawn from a seed, which FUZZ_SEED in the environment changes.
"""

import json
import os
import random
import re
import shutil

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import rar_tf
from rar_tf import export
from rar_tf.cli import COMMANDS
from rar_tf.experiment import flagfile
from rar_tf.experiment import run as experiment

import forks
import toys

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("FUZZ_SEED", 20260725))


def no(words):
    """One line on stderr with these words, status 2."""
    return 2, words


def ok(words=""):
    """Status 0, these words on stdout, no warning."""
    return 0, words


def odd(words):
    """Status 0, and a warning with these words."""
    return 1, words


TINY = "--model=tiny_cnn --steps=2 --batch_size=8 --eval_examples=2 --ifia_steps=1 --ifia_ig_steps=2 --eval_pgd_steps=1"
TINY += " --log_every=1 --attack_steps=1"
QUICK = "--num_examples=4 --ifia_steps=2 --ifia_ig_steps=2 --eval_pgd_steps=1 --ifia_k=8 --ifia_metric_k=8 "
QUICK += "--ifia_epsilon=0.1 --eval_pgd_epsilon=0.1"
DATA = "--dataset={w}/digits8 --pixel_range=0,1"
NET = "--keras_model={w}/network.keras"
EVALUATE = f"evaluate {NET} {DATA} {QUICK}"
CERTIFY = f"certify {NET} {DATA} --num_examples=2 --num_samples=50 --sample_batch=50 --certify_ig_steps=2"

# (name, command, outcome); {w} is the workplace, {o} a new folder of the case's own.
SCRIPTS = [
    # The command line itself.
    ("no command", "", ok("usage: rar_tf")),
    ("help", "-h", ok("usage: rar_tf")),
    ("version", "--version", ok("rar_tf ")),
    ("unknown command", "trian", no("usage: rar_tf")),
    *((f"help of {name}", f"{name} --help", ok("--flagfile")) for name in COMMANDS),
    *((f"short help of {name}", f"{name} -h", ok("--flagfile")) for name in COMMANDS),
    *((f"version of {name}", f"{name} --version", ok("rar_tf ")) for name in COMMANDS),
    *((f"unknown flag of {name}", f"{name} --nonsense=1", no("nonsense")) for name in COMMANDS),
    *(
        (
            f"a word after {name}",
            f"{name} nonsense" + " --dataset=digits" * (name == "prepare_data"),
            no("not a flag: nonsense"),
        )
        for name in COMMANDS
    ),
    *((f"absent flag file of {name}", f"{name} --flagfile=absent.cfg", no("absent.cfg")) for name in COMMANDS),
    *((f"recursive flag file of {name}", f"{name} --flagfile={{w}}/own.cfg", no("names itself")) for name in COMMANDS),
    ("binary flag file", "train --flagfile={w}/noise.bin", no("noise.bin")),
    ("a folder as flag file", "train --flagfile={w}", no("flag file")),
    ("an over-long flag file", f"train --flagfile={'x' * 5000}", no("too long")),
    ("a flag file without a value", "train --flagfile", no("--flagfile needs a file")),
    # Training.
    ("nan rate", "train --learning_rate=nan --model_dir={o}", no("learning_rate must be finite")),
    ("infinite rate", "train --learning_rate=inf --model_dir={o}", no("learning_rate must be finite")),
    ("negative rate", "train --learning_rate=-1 --model_dir={o}", no("learning_rate must be positive")),
    ("no rate", "train --learning_rate= --model_dir={o}", no("learning_rate needs at least one value")),
    ("no steps", "train --steps=0 --model_dir={o}", no("steps must be at least 1")),
    ("batch 0", "train --batch_size=0 --model_dir={o}", no("batch_size must be at least 1")),
    ("huge batch", "train --batch_size=100000 --model_dir={o}", no("batch_size=100000 is more than")),
    ("negative seed", "train --seed=-1 --model_dir={o}", no("seed must be in 0")),
    ("large seed", "train --seed=99999999999 --model_dir={o}", no("seed must be in 0")),
    ("epsilon of grey levels", f"train {TINY} --method=madry --epsilon=8 --model_dir={{o}}", no("pixel range 0 … 1")),
    ("epsilon 0", "train --epsilon=0 --model_dir={o}", no("epsilon must be positive")),
    ("empty model_dir", "train --model_dir=", no("model_dir is empty")),
    ("empty output_dir", f"{EVALUATE} --output_dir=", no("output_dir is empty")),
    ("model_dir is a file", "train --model_dir={w}/noise.bin", no("is a file, not a folder")),
    ("over-long model_dir", f"train --model_dir={{o}}/{'x' * 300}", no("too long")),
    ("somebody's model", f"train {TINY} --model_dir={{w}}/theirs", no("did not write (history.csv, model.keras)")),
    ("somebody's documents", f"train {TINY} --model_dir={{w}}/documents", no("did not write (letter.txt)")),
    ("other flags", "train --model_dir={w}/run --epsilon=0.2", no("belongs to other flags")),
    ("unread flag", f"train {TINY} --radius=2 --model_dir={{o}}", odd("train does not read --radius")),
    ("unread folder", f"train {TINY} --output_dir=x --model_dir={{o}}", odd("train writes to --model_dir")),
    ("unread by the method", f"train {TINY} --beta=2 --model_dir={{o}}", odd("train does not read --beta")),
    ("k above the map", f"train {TINY} --ifia_k=785 --model_dir={{o}}", no("--ifia_k) must be in 1 … 784")),
    ("top_k above half", f"train {TINY} --method=r2et --top_k=500 --model_dir={{o}}", no("at most half of the 784")),
    ("unknown layer", f"train {TINY} --method=rar --layer=nope --model_dir={{o}}", no("no layer 'nope'")),
    ("absent weights", f"train {TINY} --init_from=absent.keras --model_dir={{o}}", no("no such file")),
    ("weights of another network", f"train {TINY} --init_from={NET[14:]} --model_dir={{o}}", no("do not fit")),
    ("truncated weights", f"train {TINY} --init_from={{w}}/truncated.keras --model_dir={{o}}", no("truncated.keras")),
    (
        "multi_worker alone",
        f"train {TINY} --strategy=multi_worker --model_dir={{o}}",
        no("or TF_CONFIG in the environment"),
    ),
    (
        "batch over replicas",
        f"train {TINY} --strategy=mirrored --logical_cpus=3 --model_dir={{o}}",
        no("divide among 3"),
    ),
    ("own data without range", "train --dataset={w}/digits8 --model_dir={o}", no("--pixel_range=LOW,HIGH")),
    ("range the wrong way", "train --dataset={w}/digits8 --pixel_range=1,0 --model_dir={o}", no("pixel_range must be")),
    ("range of one number", "train --dataset={w}/digits8 --pixel_range=1 --model_dir={o}", no("pixel_range must be")),
    ("range of words", "train --dataset={w}/digits8 --pixel_range=a,b --model_dir={o}", no("pixel_range")),
    (
        "range of a known data set",
        "train --dataset=digits --pixel_range=0,255 --model_dir={o}",
        no("--pixel_range out"),
    ),
    ("size of words", "train --dataset={w}/photos --pixel_range=0,1 --image_size=ab --model_dir={o}", no("image_size")),
    (
        "size of one number",
        "train --dataset={w}/photos --pixel_range=0,1 --image_size=8 --model_dir={o}",
        no("image_size"),
    ),
    (
        "negative size",
        "train --dataset={w}/photos --pixel_range=0,1 --image_size=-8,8 --model_dir={o}",
        no("image_size"),
    ),
    ("empty data set", "train --dataset= --model_dir={o}", no("dataset is empty")),
    ("unknown data set", "train --dataset=svhn --model_dir={o}", no("unknown data set 'svhn'")),
    ("absent folder", "train --dataset={w}/absent --pixel_range=0,1 --model_dir={o}", no("absent")),
    ("floats under 0-255", "train --dataset={w}/digits8 --pixel_range=0,255 --model_dir={o}", no("--pixel_range=0,1")),
    ("one class", f"train {TINY} --dataset={{w}}/one.npz --pixel_range=0,1 --model_dir={{o}}", no("two classes")),
    ("corrupt npz", "train --dataset={w}/corrupt.npz --pixel_range=0,1 --model_dir={o}", no("corrupt.npz")),
    ("nan pixels", "train --dataset={w}/nan.npz --pixel_range=0,1 --model_dir={o}", no("NaN")),
    ("float labels", "train --dataset={w}/labels.npz --pixel_range=0,1 --model_dir={o}", no("labels must be integers")),
    (
        "tiny images",
        f"train {TINY} --dataset={{w}}/dots.npz --pixel_range=0,1 --ifia_k=1 --ifia_metric_k=1 "
        "--model=resnet_2 --model_dir={o}",
        no(""),
    ),
    ("binary history", f"train {TINY} --model_dir={{w}}/binary_history", no("history.csv: not a table")),
    # A model directory that holds a checkpoint of another name goes on without it.
    ("a checkpoint of another name", f"train {TINY} --epsilon=0.1 --model_dir={{w}}/other_name", ok("finished|wrote")),
    # Networks, evaluation.
    ("no network", f"evaluate {DATA} --output_dir={{o}}", no("give exactly one of --model_dir")),
    ("two networks", f"{EVALUATE} --model_dir={{w}}/run --output_dir={{o}}", no("give exactly one of --model_dir")),
    ("no data set", f"evaluate {NET} --output_dir={{o}}", no("give --dataset")),
    ("no output_dir", EVALUATE, no("give --output_dir")),
    ("unfinished run", "evaluate --model_dir={w}/unfinished", no("its training is not finished")),
    ("no run", "evaluate --model_dir={w}/documents", no("holds no model.keras")),
    ("absent keras file", f"evaluate --keras_model=absent.keras {DATA} --output_dir={{o}}", no("no such .keras file")),
    (
        "truncated keras file",
        f"evaluate --keras_model={{w}}/truncated.keras {DATA} --output_dir={{o}}",
        no("truncated.keras"),
    ),
    ("absent SavedModel", f"evaluate --saved_model=absent {DATA} --output_dir={{o}}", no("--saved_model=absent")),
    (
        "truncated SavedModel",
        f"evaluate --saved_model={{w}}/broken_saved {DATA} --output_dir={{o}}",
        no("not a SavedModel"),
    ),
    (
        "a folder as SavedModel",
        f"evaluate --saved_model={{w}}/documents {DATA} --output_dir={{o}}",
        no("not a SavedModel"),
    ),
    ("other input shape", f"evaluate {NET} --dataset=digits {QUICK} --output_dir={{o}}", no("takes images of shape")),
    ("one logit", f"evaluate --keras_model={{w}}/one_logit.keras {DATA} --output_dir={{o}}", no("one logit an image")),
    ("softmax", f"{EVALUATE.replace('network', 'softmax')} --output_dir={{o}}", odd("probabilities")),
    ("half precision", f"evaluate --keras_model={{w}}/half.keras {DATA} --output_dir={{o}}", no("float16")),
    ("two inputs", f"evaluate --keras_model={{w}}/two_inputs.keras {DATA} --output_dir={{o}}", no("takes one input")),
    ("diverged weights", f"evaluate --keras_model={{w}}/nan.keras {DATA} --output_dir={{o}}", no("NaN or infinite")),
    (
        "too few outputs",
        f"evaluate --keras_model={{w}}/few.keras {DATA} --output_dir={{o}}",
        no("the network has 3 outputs"),
    ),
    ("k above the map", f"{EVALUATE} --ifia_k=65 --output_dir={{o}}", no("--ifia_k) must be in 1 … 64")),
    (
        "epsilon of grey levels",
        f"{EVALUATE} --ifia_epsilon=8 --output_dir={{o}}",
        no("epsilon (--ifia_epsilon, by default --epsilon) 8 is as large as the pixel range 0 … 1"),
    ),
    ("restarts 0", f"{EVALUATE} --ifia_restarts=0 --output_dir={{o}}", no("--ifia_restarts) must be at least 1")),
    ("shard of words", f"{EVALUATE} --shard=a/b --output_dir={{o}}", no("--shard must be i/n")),
    ("shard outside", f"{EVALUATE} --shard=2/2 --output_dir={{o}}", no("i must be in 0 … n − 1")),
    ("shard of none", f"{EVALUATE} --shard=0/0 --output_dir={{o}}", no("i must be in 0 … n − 1")),
    ("negative shard", f"{EVALUATE} --shard=-1/2 --output_dir={{o}}", no("--shard must be i/n")),
    ("empty shard", f"{EVALUATE} --shard=0/100 --output_dir={{o}}", no("empty")),
    ("merging nothing", f"{EVALUATE} --merge --output_dir={{o}}", no("no shard")),
    ("somebody's folder", f"{EVALUATE} --output_dir={{w}}/documents", no("did not write (letter.txt)")),
    ("a training's folder", f"{EVALUATE} --output_dir={{w}}/run", no("is a folder of `rar_tf train`")),
    ("a certification's folder", f"{EVALUATE} --output_dir={{w}}/certified", no("is a folder of `rar_tf certify`")),
    (
        "settings that are a list",
        f"{EVALUATE} --output_dir={{w}}/list",
        no("settings.json: not a file of this package"),
    ),
    ("settings that are damaged", f"{EVALUATE} --output_dir={{w}}/damaged", no("settings.json: damaged")),
    ("a table that is binary", f"{EVALUATE} --output_dir={{w}}/binary", no("examples.csv")),
    ("nothing correct", f"{EVALUATE.replace('digits8', 'wrong')} --output_dir={{o}}", no("is --dataset the network's")),
    (
        "the method of a foreign network",
        f"{EVALUATE} --method=ig_norm --output_dir={{o}}",
        odd("does not read --method"),
    ),
    ("unread by evaluate", f"{EVALUATE} --radius=1 --output_dir={{o}}", odd("evaluate does not read --radius")),
    (
        "a run by its folder",
        f"evaluate --model_dir={{w}}/run --attack=none --accuracy_examples=100 {QUICK} --output_dir={{o}}",
        ok("wrote summary"),
    ),
    (
        "a contradicted protocol",
        f"{EVALUATE} --attack=none --evaluation_protocol=chen2019 --output_dir={{o}}",
        odd("--attack is not what --evaluation_protocol=chen2019 does"),
    ),
    ("predictions alone", f"{EVALUATE} --attack=none --output_dir={{o}}", ok("wrote summary.json")),
    ("without PGD", f"{EVALUATE} --prediction_attacks=fgsm --output_dir={{o}}", ok("adversarial accuracy -")),
    ("a constant network", f"{EVALUATE.replace('network', 'constant')} --output_dir={{o}}", odd("maps are constant")),
    (
        "16-bit images",
        f"evaluate --keras_model={{w}}/photos.keras --dataset={{w}}/deep --pixel_range=0,1 {QUICK} "
        "--attack=none --output_dir={o}",
        ok("natural accuracy"),
    ),
    (
        "one grey image of many",
        "evaluate --keras_model={w}/colours.keras --dataset={w}/mixed --pixel_range=0,1 "
        f"{QUICK} --attack=none --output_dir={{o}}",
        odd("are grey"),
    ),
    (
        "a corrupt image",
        "evaluate --keras_model={w}/photos.keras --dataset={w}/corrupt --pixel_range=0,1 "
        f"{QUICK} --output_dir={{o}}",
        no("broken.png: truncated or no image"),
    ),
    (
        "two channels",
        f"{EVALUATE.replace('network', 'two').replace('digits8', 'two')} --output_dir={{o}}",
        ok("maps.png"),
    ),
    # Certification.
    ("no certificate", f"certify {NET} {DATA} --output_dir={{o}}", no("give --method=upper_bound|")),
    ("a training method", f"{CERTIFY} --method=madry --output_dir={{o}}", no("give --method=upper_bound|")),
    ("empty radius", f"{CERTIFY} --method=uniform_smoothing --radius= --output_dir={{o}}", no("radius needs at least")),
    (
        "radius nan",
        f"{CERTIFY} --method=uniform_smoothing --radius=nan --output_dir={{o}}",
        no("radius must be finite"),
    ),
    ("threshold 2", f"{CERTIFY} --method=uniform_smoothing --threshold=2 --output_dir={{o}}", no("threshold must be")),
    (
        "confidence 1",
        f"{CERTIFY} --method=uniform_smoothing --confidence=1 --output_dir={{o}}",
        no("confidence must be"),
    ),
    (
        "no samples",
        f"{CERTIFY} --method=uniform_smoothing --num_samples=0 --output_dir={{o}}",
        no("num_samples must be"),
    ),
    (
        "attack restarts 0",
        f"{CERTIFY} --method=uniform_smoothing --certificate_attack_restarts=0 --output_dir={{o}}",
        no("certificate_attack_restarts must be at least 1"),
    ),
    ("budgets of nothing", f"{CERTIFY} --method=upper_bound --budgets=l0:1 --output_dir={{o}}", no("budgets are l2:")),
    (
        "ReLU SavedModel",
        f"certify --method=upper_bound --saved_model={{w}}/saved {DATA} --num_examples=1 "
        "--attribution=saliency --output_dir={o}",
        no("has kinks: give its .keras file (--keras_model)"),
    ),
    (
        "unknown SavedModel",
        f"certify --method=upper_bound --saved_model={{w}}/smooth {DATA} --num_examples=1 "
        "--attribution=saliency --output_dir={o}",
        no("--assume_smooth"),
    ),
    (
        "smooth SavedModel",
        f"certify --method=upper_bound --saved_model={{w}}/smooth {DATA} --num_examples=1 "
        "--attribution=saliency --assume_smooth --output_dir={o}",
        ok("assumed to be smooth"),
    ),
    (
        "bounds of the .keras file",
        f"certify --method=upper_bound {NET} {DATA} --num_examples=1 --attribution=saliency --output_dir={{o}}",
        ok("wrote summary.json"),
    ),
    (
        "other input shape",
        f"certify --method=uniform_smoothing {NET} --dataset=digits --output_dir={{o}}",
        no("takes images of shape"),
    ),
    ("no data set", f"certify --method=uniform_smoothing {NET} --output_dir={{o}}", no("give --dataset")),
    (
        "nothing correct",
        f"{CERTIFY.replace('digits8', 'wrong')} --method=center_smoothing --output_dir={{o}}",
        no("nothing was certified"),
    ),
    (
        "unread by certify",
        f"{CERTIFY} --method=center_smoothing --ifia_steps=3 --output_dir={{o}}",
        odd("certify does not read --ifia_steps"),
    ),
    (
        "unread by the certificate",
        f"{CERTIFY} --method=center_smoothing --radius=3 --output_dir={{o}}",
        odd("certify does not read --radius"),
    ),
    ("somebody's folder", f"{CERTIFY} --method=center_smoothing --output_dir={{w}}/documents", no("letter.txt")),
    # Export.
    ("exports nothing", "export --output_dir={o}", no("give exactly one")),
    ("exports nowhere", f"export {NET}", no("give --output_dir")),
    ("exports into documents", f"export {NET} --output_dir={{w}}/documents", no("did not write (letter.txt)")),
    ("exports into a run", f"export {NET} --output_dir={{w}}/run", no("is a folder of `rar_tf train`")),
    ("exports over an export", f"export {NET} --output_dir={{w}}/saved", no("--overwrite")),
    ("exports over its own", f"export {NET} --output_dir={{w}}/again --overwrite", ok("wrote the SavedModel")),
    (
        "overwrites documents",
        f"export {NET} --output_dir={{w}}/documents --overwrite",
        no("did not write (letter.txt)"),
    ),
    ("exports two inputs", "export --keras_model={w}/two_inputs.keras --output_dir={o}", no("takes one input")),
    ("exports a SavedModel", "export --saved_model={w}/saved --output_dir={o}", no("exported already")),
    # Report.
    ("reports nothing", "report --output_dir={o}", no("give --model_dirs")),
    ("reports documents", "report --model_dirs={w}/documents --output_dir={o}", no("no finished evaluation")),
    ("reports the absent", "report --model_dirs={w}/absent --output_dir={o}", no("no finished evaluation")),
    ("reports an empty summary", "report --model_dirs={w}/empty_summary --output_dir={o}", no("summary.json")),
    ("reports broken maps", "report --model_dirs={w}/broken_maps --output_dir={o}", no("maps.npz")),
    ("reports", "report --model_dirs={w}/evaluated --output_dir={o}", ok("wrote .*report.html")),
    ("reports into documents", "report --model_dirs={w}/evaluated --output_dir={w}/documents", no("letter.txt")),
    ("reports nowhere", "report --model_dirs={w}/evaluated --output_dir=", no("output_dir is empty")),
    # Sweep.
    ("sweeps nothing", "sweep --output_dir={o}", no("give --over")),
    ("sweeps the unknown", "sweep --over=nonsense=1 --output_dir={o}", no("give --over")),
    ("sweeps without values", "sweep --over=epsilon= --output_dir={o}", no("give --over")),
    (
        "sweeps decimals of a whole number",
        f"sweep {TINY} --over=steps=1.5,2 --output_dir={{o}}",
        no("--steps=1.5: must be a whole number"),
    ),
    ("sweeps words", f"sweep {TINY} --over=epsilon=a,b --output_dir={{o}}", no("epsilon")),
    ("sweeps one value twice", f"sweep {TINY} --over=epsilon=0.1,0.1 --output_dir={{o}}", no("two values are called")),
    (
        "sweeps what nobody reads",
        f"sweep {TINY} --over=radius=1,2 --output_dir={{o}}",
        no("nothing reads --over=radius"),
    ),
    (
        "sweeps with what nobody reads",
        f"sweep {NET} {DATA} {QUICK} --attack=none --radius=1 --over=eval_pgd_epsilon=0.05,0.1 --output_dir={{o}}",
        odd("sweep does not read --radius"),
    ),
    ("sweeps shards", f"sweep {TINY} --over=epsilon=0.1,0.2 --shard=0/2 --output_dir={{o}}", no("no --shard")),
    ("sweeps into documents", f"sweep {TINY} --over=epsilon=0.1,0.2 --output_dir={{w}}/documents", no("letter.txt")),
    (
        "sweeps without PGD",
        f"sweep {NET} {DATA} {QUICK} --prediction_attacks=fgsm --over=ifia_steps=1,2 --output_dir={{o}}",
        ok("table.md"),
    ),
    (
        "sweeps decimals",
        f"sweep {NET} {DATA} {QUICK} --attack=none --over=eval_pgd_epsilon=0.05,0.1 --output_dir={{o}}",
        ok("eval_pgd_epsilon"),
    ),
    # Benchmark.
    ("benchmark of batch 0", "benchmark --batch_size=0 --model=tiny_cnn", no("batch_size must be at least 1")),
    ("benchmark over nothing", "benchmark --over=nonsense=1", no("give --over")),
    ("benchmark of no repeats", "benchmark --repeats=0", no("repeats")),
    ("compares one", "benchmark --compare=a.json", no("--compare=A.json,B.json")),
    ("compares the absent", "benchmark --compare=a.json,b.json", no("a.json")),
    ("benchmark into documents", "benchmark --model=tiny_cnn --output_dir={w}/documents", no("letter.txt")),
    # Reproducing tables.
    ("reproduces nothing", "reproduce", no("give --table=PAPER:NAME")),
    ("reproduces two things", "reproduce --table=chen2019:1 --network=mnist_madry", no("not both")),
    ("reproduces the unknown", "reproduce --table=chen2019:99", no("not in the index")),
    ("reproduces an unknown network", "reproduce --network=mnist_nonsense", no("there is no flag file")),
    ("reproduces into documents", "reproduce --network=mnist_madry --results_dir={w}/documents", no("letter.txt")),
    ("reproduces nowhere", "reproduce --network=mnist_madry --output_dir=", no("output_dir is empty")),
    ("reproduces an empty shard", "reproduce --table=chen2019:1 --shard=0/1000", no("empty")),
    ("lists tables of a recipe", "reproduce --list --recipe=fast", odd("reproduce does not read --recipe")),
    # Preparing data.
    ("prepares nothing", "prepare_data", no("error: give --dataset")),
    (
        "prepares the absent",
        "prepare_data --dataset=gtsrb --source_dir={w}/absent --output_dir={o}",
        no("no such folder"),
    ),
    ("prepares without files", "prepare_data --dataset=gtsrb --source_dir={w}/documents --output_dir={o}", no("")),
    (
        "prepares a split of another",
        "prepare_data --dataset=mnist --official_split=1 --source_dir={w} --output_dir={o}",
        no("official_split"),
    ),
    ("prepares a negative number", "prepare_data --dataset=gtsrb --examples_per_class=-1", no("examples_per_class")),
    (
        "prepares a size of words",
        "prepare_data --dataset={w}/photos --image_size=a,b --output_dir={o}",
        no("image_size"),
    ),
    (
        "prepares a size of nothing",
        "prepare_data --dataset={w}/photos --image_size=0,8 --output_dir={o}",
        no("image_size must be height,width, both positive"),
    ),
    (
        "prepares by a negative seed",
        "prepare_data --dataset={w}/photos --seed=-1 --output_dir={o}",
        no("seed must be in 0"),
    ),
    (
        "prepares over somebody's",
        "prepare_data --dataset={w}/photos --output_dir={w}/prepared",
        no("not a file of this"),
    ),
    ("prepares", "prepare_data --dataset={w}/photos --output_dir={o}", ok("train.npz: ")),
]


def bad_values(item):
    """Values that no setting of a kind may have, with words of the line that refuses them."""
    if item.path:
        return ["", "   "]
    if item.choices:
        return ["nonsense", "NONE"]
    if item.is_tuple and item.kind is not str:
        return ["nan", "x", "1,y", "inf,1"]
    return {
        int: ["1.5", "x", "nan", "", "1e400"],
        float: ["nan", "inf", "x", "", "-inf", "1e999"],
        bool: ["maybe", "2"],
    }.get(item.kind, [])


def drawn(count):
    """A seeded choice of flags and values that cannot be: the command says which flag, before TensorFlow is there."""
    generator, found = random.Random(SEED), []
    items = {name: item for name, item in flagfile.all_items().items() if bad_values(item)}
    while len(found) < count:
        name = generator.choice(sorted(items))
        value = generator.choice(bad_values(items[name]))
        command = generator.choice(["train", "evaluate", "certify", "sweep", "benchmark", "export"])
        if (command, name, value) not in found:
            found.append((command, name, value))
    return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """What a user may have: networks, data, runs and folders, good, odd and broken."""
    w = tmp_path_factory.mktemp("fuzz")
    images, labels = toys.digits(200)
    few = {"images": images[:40], "labels": labels[:40]}
    for name, wrong in (("digits8", 0), ("wrong", 1)):
        (w / name).mkdir()
        for split in ("train", "test"):
            np.savez(w / name / f"{split}.npz", images=images, labels=(predicted(images) + 1) % 10 if wrong else labels)
    np.savez(w / "one.npz", images=few["images"], labels=np.zeros(40, int))
    np.savez(w / "nan.npz", images=np.where(few["images"] > 0.5, np.nan, 0.5), labels=few["labels"])
    np.savez(w / "labels.npz", images=few["images"], labels=few["labels"] + 0.5)
    np.savez(w / "dots.npz", images=few["images"][:, :1, :1], labels=few["labels"])
    (w / "corrupt.npz").write_bytes((w / "one.npz").read_bytes()[:200])
    two = np.concatenate([images, 1 - images], -1)
    networks(w, two)
    (w / "two").mkdir()
    found = keras.saving.load_model(w / "two.keras")(two).numpy().argmax(1)
    for split, its in (("train", labels), ("test", found)):
        np.savez(w / "two" / f"{split}.npz", images=two, labels=its)
    (w / "noise.bin").write_bytes(bytes(range(256)) * 20)
    (w / "own.cfg").write_text("--flagfile=other.cfg\n")
    (w / "other.cfg").write_text("--steps=1\n--flagfile=own.cfg\n")
    for name, files in (("documents", ["letter.txt"]), ("theirs", ["history.csv", "model.keras"]), ("prepared", [])):
        (w / name).mkdir()
        for file in files:
            (w / name / file).write_text("mine")
    (w / "prepared" / "photos").mkdir()
    (w / "prepared" / "photos" / "train.npz").write_text("mine")
    photos(w)
    runs(w)
    return w


def predicted(images):
    return toys.network()(images).numpy().argmax(1)


def networks(w, two):
    network = toys.network()
    network.save(w / "network.keras")
    (w / "truncated.keras").write_bytes((w / "network.keras").read_bytes()[:3000])
    export.export_saved_model(network, w / "saved")
    export.export_saved_model(network, w / "again")
    shutil.copytree(w / "saved", w / "broken_saved")
    data = next((w / "broken_saved" / "variables").glob("*.data*"))
    data.write_bytes(data.read_bytes()[:100])

    def small(*more, shape=(8, 8, 1), activation="relu", dtype=None):
        keras.utils.set_random_seed(1)
        dense = [layers.Flatten(), layers.Dense(16, activation=activation, dtype=dtype)]
        return keras.Sequential([layers.Input(shape), *dense, *more])

    small(layers.Dense(1)).save(w / "one_logit.keras")
    small(layers.Dense(3)).save(w / "few.keras")
    keras.Sequential([network, layers.Softmax()]).save(w / "softmax.keras")
    small(layers.Dense(10), dtype="mixed_float16").save(w / "half.keras")
    small(layers.Dense(10), shape=(8, 8, 2)).save(w / "two.keras")
    small(layers.Dense(2)).save(w / "photos.keras")
    small(layers.Dense(2), shape=(8, 8, 3)).save(w / "colours.keras")
    diverged = small(layers.Dense(10))
    diverged.set_weights([weight * np.nan for weight in diverged.get_weights()])
    diverged.save(w / "nan.keras")
    constant = small(layers.Dense(10))
    constant.set_weights([0 * weight for weight in constant.get_weights()[:-1]] + [np.eye(10)[0]])
    constant.save(w / "constant.keras")
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.Add()(inputs)))).save(w / "two_inputs.keras")
    smooth = small(layers.Dense(10), activation="tanh")
    smooth.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    smooth.fit(*toys.digits(200), epochs=20, verbose=0)
    export.export_saved_model(smooth, w / "smooth")


def photos(w):
    generator = np.random.default_rng(0)
    for folder in ("photos", "deep", "mixed", "corrupt"):
        for label in range(2):
            (w / folder / str(label)).mkdir(parents=True)
            for number in range(20):
                levels = generator.integers(0, 256, (8, 8)).astype(np.uint8)
                path = w / folder / str(label) / f"{number}.png"
                if folder == "deep":
                    Image.fromarray(levels.astype(np.uint16) * 257).save(path)
                elif folder == "mixed" and (label, number) != (0, 0):
                    Image.fromarray(np.stack([levels, levels.T, levels], -1)).save(path)
                else:
                    Image.fromarray(levels).save(path)
    (w / "corrupt" / "1" / "broken.png").write_bytes((w / "corrupt" / "1" / "0.png").read_bytes()[:60])


def runs(w):
    given = dict(part.lstrip("-").split("=") for part in TINY.split())
    given = {name: value if name == "model" else int(value) for name, value in given.items()}
    experiment.train({**given, "epsilon": 0.1, "model_dir": str(w / "run")})
    for name in ("unfinished", "binary_history", "other_name"):
        shutil.copytree(w / "run", w / name)
    (w / "unfinished" / "model.keras").unlink()
    (w / "other_name" / "checkpoints" / "step_best.npz").write_bytes(b"mine")
    for path in (w / "binary_history" / "checkpoints").glob("*.npz"):
        path.unlink()
    (w / "binary_history" / "history.csv").write_bytes(bytes(range(256)))
    flags = (w / "binary_history" / "flags.cfg").read_text().replace("--epsilon=0.1\n", "--epsilon=0.3\n")
    (w / "binary_history" / "flags.cfg").write_text(flags.replace("--step_size=0.25\n", "--step_size=0.75\n"))
    evaluated = rar_tf.evaluate(
        toys.network(), *toys.digits(6), bounds=(0, 1), epsilon=0.1, steps=2, ig_steps=2, k=8, metric_k=8, pgd_steps=1
    ).save(w / "evaluated")
    for name, file, content in (
        ("list", "settings.json", b"[1, 2]"),
        ("damaged", "settings.json", b"{"),
        ("empty_summary", "summary.json", b""),
        ("broken_maps", "maps.npz", b"PK"),
    ):
        shutil.copytree(evaluated, w / name)
        (w / name / file).write_bytes(content)
    done = forks.script(*EVALUATE.format(w=w).split(), f"--output_dir={w / 'binary'}")
    assert done.returncode == 0, done.stderr
    (w / "binary" / "examples.csv").write_bytes(bytes(range(256)))
    done = forks.script(*CERTIFY.format(w=w).split(), "--method=center_smoothing", f"--output_dir={w / 'certified'}")
    assert done.returncode == 0, done.stderr


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_outcome(done, outcome):
    status, words = outcome
    said = f"{done.args}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr, said
    assert done.returncode == (2 if status == 2 else 0), said
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    at_work = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(set(at_work)) == len(at_work), said
    lines = [*done.stderr.splitlines(), *done.stdout.splitlines()]
    warnings = [line for line in lines if line.startswith("warning: ")]
    if status == 2:
        line = errors[0] if errors else done.stderr
        assert len(errors) <= 1 and words in line and len(line) < 700, said
    elif status == 1:
        assert any(words in warning for warning in warnings), said
    else:
        assert re.search(words, done.stdout), said


@pytest.mark.parametrize(
    "name, line, outcome", SCRIPTS, ids=[f"{line.split()[:1]} {name}" for name, line, _ in SCRIPTS]
)
def test_scripts(workplace, tmp_path, name, line, outcome):
    before = contents(workplace / "documents") | contents(workplace / "theirs")
    arguments = [part.format(w=workplace, o=tmp_path / "new") for part in line.split()] or [""]
    if line == "":
        arguments = ["--help"]
    done = forks.script(*arguments, cwd=tmp_path)
    assert_outcome(done, outcome)
    assert contents(workplace / "documents") | contents(workplace / "theirs") == before
    for path in (tmp_path / "new").rglob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(f"{path} holds {constant}"))


@pytest.mark.parametrize("command, name, value", drawn(110), ids=" ".join)
def test_drawn_flags(tmp_path, command, name, value):
    line = [command, f"--{name}={value}", "--steps=2"]
    done = forks.script(*([command, f"--{name}={value}"] if name == "steps" else line), cwd=tmp_path)
    assert_outcome(done, no(""))
    item = flagfile.all_items()[name]
    assert name in done.stderr or item.name in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []
