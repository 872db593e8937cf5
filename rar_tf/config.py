"""Every setting of a run: name, type, default and what it means. The scripts' flags are made from this one table."""

import dataclasses
import typing
from typing import Any

from rar_tf.errors import UsageError


def _setting(default: Any, help: str, choices: tuple = (), defines: bool = False):
    """A field; `defines` marks what determines the trained weights: a model directory belongs to one such set."""
    metadata = {"help": help, "choices": choices, "defines": defines}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _defining(default: Any, help: str, choices: tuple = ()):
    return _setting(default, help, choices, defines=True)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of training, evaluation and certification, as one frozen record.

    Pixels are in the data set's range: [0, 1] for digits, mnist, fashion_mnist and cifar10, [0, 255] for gtsrb and
    flower; budgets and step sizes are in the same unit.
    """

    # Data.
    dataset: str = _defining(
        "digits",
        "data set: digits, mnist, fashion_mnist, gtsrb, flower, cifar10, or your own: a "
        "folder with one subfolder a class, an .npz file, or tfds:NAME",
    )
    data_dir: str | None = _setting(
        None,
        "where <dataset>/{train,test}.npz lie; by default RAR_TF_DATA_DIR of the "
        "environment, else tensorflow-datasets' own folder",
    )
    equalize: bool | None = _defining(
        None, "histogram equalisation of each colour channel on loading; by default as the data set's paper does"
    )
    augment: str = _defining(
        "auto",
        "training augmentation: auto is what the data set's record says",
        ("auto", "none", "crop_flip", "online"),
    )
    pixel_range: list[float] | None = _defining(None, "pixel range low,high that your own data is scaled to")
    image_size: list[int] | None = _defining(None, "height,width that your own images are resized to")

    # Training.
    model_dir: str | None = _setting(None, "where a run leaves everything; evaluation and certification read it")
    model: str = _defining("small_cnn", "network, by its name in rar_tf.models")
    method: str = _defining(
        "natural", "training method, by its name in rar_tf.objectives; in certify.py the certificate"
    )
    init_from: str | None = _defining(None, "a .keras or .weights.h5 file whose weights training starts from")
    steps: int = _setting(1000, "training steps")
    batch_size: int = _defining(50, "examples a step, over all replicas")
    optimizer: str = _defining(
        "adam", "optimiser; momentum is TensorFlow 1's rule", ("adam", "momentum", "nesterov", "sgd")
    )
    learning_rate: list[float] = _defining([1e-4], "learning rates, one more than there are boundaries")
    learning_rate_boundaries: list[int] = _defining([], "the last step of each learning rate but the last")
    reduction: str = _defining("sum", "how the samples' losses make one loss", ("sum", "mean"))
    weight_decay: float = _defining(0.0, "weight of the sum of ½‖w‖² over all kernels, a term of the loss")
    seed: int = _defining(0, "every random number derives from the seed and the step")
    checkpoint_every: int = _setting(1000, "steps between checkpoints")
    keep: int = _setting(3, "checkpoints that are kept")
    log_every: int = _setting(100, "steps between rows of history.csv and TensorBoard points")
    eval_every: int = _setting(0, "steps between evaluations on held-out images; 0: only at the end")
    eval_examples: int = _setting(20, "held-out images of the evaluations during training")
    strategy: str = _setting("one_device", "distribution over devices", ("one_device", "mirrored", "multi_worker"))
    logical_cpus: int = _setting(0, "split the CPU into this many logical devices; 0: leave it whole")
    steps_per_execution: int = _setting(
        1,
        "training steps between returns to Python: more of them cost less overhead, and "
        "logs and checkpoints wait for the last",
    )
    compute_dtype: str = _defining(
        "float32",
        "what convolutions and dense layers compute in while training; weights, "
        "losses and the exported network are float32",
        ("float32", "bfloat16"),
    )
    jit_compile: bool = _defining(False, "compile the training step with XLA, max-pooling in an exact formulation")
    deterministic: bool = _setting(False, "make GPU kernels deterministic too (slower)")

    # The training adversary and the attribution term.
    epsilon: float = _defining(0.3, "the adversary's budget; the same for certificates")
    attack_steps: int = _defining(10, "the training adversary's steps")
    step_size: float = _defining(0.01, "the training adversary's step size")
    random_start: bool = _defining(True, "start the training adversary from a random point of the ball")
    constraint: str = _defining(
        "linf", "the training adversary's ball, or the Wasserstein penalty", ("linf", "l2", "wasserstein")
    )
    gamma: float = _defining(1.0, "weight of the Wasserstein penalty")
    ig_steps: int = _defining(50, "path points m of integrated gradients in the training step")
    attack_ig_steps: int = _defining(10, "path points m' inside the training adversary, a divisor of m")
    ig_chunk: int | None = _setting(None, "path points held in memory at once; the values stay the same")
    rule: str = _defining(
        "right",
        "quadrature rule of the path integral in training",
        ("right", "left", "midpoint", "trapezoid", "gauss_legendre"),
    )
    attribution_weight: float = _defining(
        1.0,
        "weight of the attribution term: λ of IG-NORM, CACR+WACR, IGR, ART, AAT, "
        "AdvAAT and SSR, β of IG-SUM-NORM, λ₁ of R2ET",
    )
    size: str = _defining("l1", "size function of the general objective", ("l1", "sum", "l1_squared", "l2"))
    layer: str = _defining(
        "input", "what is attributed in the general objective: input, output (the loss), or a hidden layer by name"
    )

    # Methods: what one or two of them need besides.
    beta: float = _defining(1.0, "weight of the divergence of predictions in TRADES and MART, β")
    clean_term: bool = _defining(True, "TRADES: the first term is of the image; false: of its perturbation")
    adversary: str = _defining(
        "base", "IGR: the base method's own adversary, or one that maximises the regulariser", ("base", "igr")
    )
    variant: str = _defining(
        "paper", "CACR+WACR as the paper prints it, or as its authors' code computes it", ("paper", "code")
    )
    cacr_weight: float = _defining(1.0, "weight of CACR, times attribution_weight")
    wacr_weight: float = _defining(1.0, "weight of WACR, times attribution_weight")
    attribution_scale: float = _defining(1.0, "CACR: factor of the attributions before the softmax over pixels")
    cacr_limit: float = _defining(10.0, "CACR: nats of the true class's concentration beyond which it stops paying")
    cacr_contrast: bool = _defining(True, "CACR: keep its term for the most confusing class")
    wacr_base: bool = _defining(True, "WACR: weigh changes by the clean attribution")
    delta_attribution: str = _defining(
        "path",
        "WACR: change of attribution as the integral from the image to its "
        "perturbation, or as the difference of two integrals",
        ("path", "difference"),
    )
    softplus_beta: float = _defining(50.0, "ART: inverse temperature of the softplus surrogate; 0: no surrogate")
    top_k: int = _defining(100, "R2ET: features whose rank is kept, k")
    curvature_weight: float = _defining(0.1, "R2ET: weight of the curvature term, λ₂")

    # Evaluation.
    keras_model: str | None = _setting(None, "evaluate this .keras file instead of a model directory")
    saved_model: str | None = _setting(None, "evaluate this SavedModel instead of a model directory")
    output_dir: str | None = _setting(
        None, "where results are written; by default evaluation/ or certification/ in the model directory"
    )
    num_examples: int = _setting(1000, "test images, the first ones in file order")
    eval_batch_size: int = _setting(50, "images attacked at once")
    shard: str = _setting("0/1", "i/n: work on the i-th of n parts of the images, counted from 0")
    merge: bool = _setting(False, "put the results of all shards in the output directory together")
    attack: str = _setting("ifia", "attribution attack: ifia, or auto, the ensemble", ("ifia", "auto"))
    attribution: str = _setting(
        "integrated_gradients",
        "attribution that is attacked or certified",
        ("integrated_gradients", "saliency", "input_x_gradient"),
    )
    protocol: str = _setting(
        "rar",
        "how attributions become maps: rar (sum of absolute values over channels, "
        "normalised) or wk (signed, per channel)",
        ("rar", "wk"),
    )
    prediction_attacks: list[str] = _setting(
        ["pgd"], "attacks on predictions: pgd (gives the adversarial accuracy), pgd_l2, cw, fgsm, pgd20, pgd40"
    )
    eval_pgd_epsilon: float = _setting(0.3, "budget of the prediction attack")
    eval_pgd_steps: int = _setting(100, "its steps")
    eval_pgd_step_size: float = _setting(0.01, "its step size")
    eval_pgd_restarts: int = _setting(1, "its random starts")
    ifia_epsilon: float = _setting(0.3, "budget of the attribution attack")
    ifia_steps: int = _setting(100, "its iterations P")
    ifia_step_size: float = _setting(0.01, "its step size α")
    ifia_k: int = _setting(200, "features in its top-k objective")
    ifia_metric_k: int = _setting(100, "features in the reported top-k intersection")
    ifia_ig_steps: int = _setting(100, "path points of the attributions it computes")
    ifia_attack_ig_steps: int | None = _setting(
        None, "path points of the attributions that its directions come from; by default as many"
    )
    ifia_objective: str = _setting(
        "topk", "what it maximises", ("topk", "mass_center", "target", "random", "kendall", "cosine")
    )
    ifia_measure: str = _setting(
        "kendall", "what chooses the iterate that is kept", ("kendall", "intersection", "spearman", "mass_center")
    )
    ifia_restarts: int = _setting(1, "its random starts; with --ifia_reference it starts at the images")
    ifia_ball: str = _setting("linf", "its ball", ("linf", "l2"))
    ifia_reference: bool = _setting(
        False, "the 2019 reference's details: iterates truncated to integers in a pixel range of 255"
    )
    reference_model: str | None = _setting(
        None, "a naturally trained model (directory or .keras file) whose maps are compared with this one's"
    )

    # Certification.
    radius: list[float] = _setting([1.0], "smoothing radii r")
    threshold: list[float] = _setting([0.9], "cosine similarities T to be certified")
    num_samples: int = _setting(100000, "Monte Carlo samples an image and radius")
    confidence: float = _setting(0.99, "probability with which a Monte Carlo certificate holds, for each image")
    formula: str = _setting(
        "sound", "sound, or the paper's printed formula, which is no certificate", ("sound", "paper")
    )
    certify_ig_steps: int = _setting(10, "path points of the integrated gradients that are certified")
    sample_batch: int = _setting(250, "samples held in memory at once")
    interval: str = _setting(
        "concentration",
        "lower limit of the smoothed map's length: concentration is rigorous, chi_square the paper's approximation",
        ("concentration", "chi_square"),
    )
    normalization: str = _setting(
        "unit",
        "what bounds the attribution: unit (length 1), clip (length at most "
        "attribution_bound), lipschitz (saliency only: the network's layers)",
        ("unit", "clip", "lipschitz"),
    )
    attribution_bound: float = _setting(1.0, "the length that normalization=clip cuts attributions to")
    largest_radius: float = _setting(0.0, "search the smallest radius for epsilon and threshold up to this; 0: do not")
    budgets: list[str] = _setting(
        [], "perturbation budgets of the upper bounds, as l2:0.1,linf:0.01; by default constraint:epsilon"
    )
    certify_softplus_beta: float = _setting(
        10.0, "inverse temperature of the softplus network whose upper bounds are computed"
    )
    certify_smooth_pooling: bool = _setting(
        True,
        "make the max-pooling of that network smooth too; false: attributions jump "
        "where another pixel wins, and no Jacobian sees it",
    )
    memory_limit: float = _setting(2.0, "memory for a block of a Jacobian, in GiB")
    blockwise: bool = _setting(
        False, "compute the l_inf bound of images of more than 3072 features column by column too"
    )
    certificate_attack: int = _setting(0, "attack the bounds of this many images, the first correctly classified ones")
    certificate_attack_restarts: int = _setting(20, "its random starts")

    def replace(self, **changes) -> "Settings":
        """Return a copy with some settings changed."""
        return dataclasses.replace(self, **changes)


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
TYPES = typing.get_type_hints(Settings)


def to_flag(name: str, value: Any) -> str:
    """Return one setting as a line of a flag file."""
    if isinstance(value, bool):
        return f"--{name}={str(value).lower()}"
    if isinstance(value, list):
        return f"--{name}={','.join(map(str, value))}"
    return f"--{name}={value}"


def to_flagfile(settings: Settings) -> str:
    """Return a flag file that gives these settings; a setting without a value is left out."""
    values = dataclasses.asdict(settings)
    return "".join(to_flag(name, value) + "\n" for name, value in values.items() if value is not None)


def check_same_run(old: Settings, new: Settings, where: str) -> None:
    """Raise UsageError where two settings would train different weights, naming what differs."""
    differing = [
        f"--{name} was {getattr(old, name)}, now {getattr(new, name)}"
        for name, field in FIELDS.items()
        if field.metadata["defines"] and getattr(old, name) != getattr(new, name)
    ]
    if differing:
        raise UsageError(f"{where} belongs to other flags ({'; '.join(differing)}); give another --model_dir")
