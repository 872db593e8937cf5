"""Which networks, commands and printed rows make each table and figure of the five papers."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping

from rar_tf.errors import UsageError

PAPERS = {
    "chen2019": "Chen et al. 2019",
    "sarkar2021": "Sarkar et al. 2021",
    "wang2022": "Wang and Kong 2022",
    "wang2023": "Wang and Kong 2023",
    "wang2024": "Wang and Kong 2024",
}
MEASURES = ("accuracies", "maps", "auto")
PICTURED = ("maps",)
REFERENCE = "reference_model"  # its value is a network's name, and becomes that network's folder


@dataclasses.dataclass(frozen=True)
class Row:
    """A network (a name of `networks.Network`, of the papers' flag files) and what is done to it.

    flags: laid over the network's own in the evaluation, or the certification. certificate: a flag file in
    flags/certify; None evaluates.
    """

    network: str
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    certificate: str | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table or figure.

    statistic: what the paper prints of scores. picture: panel, the same images under every network; report, the page of
    `rar_tf report` with its figures; certificates, the plots that certifications leave; None for a table.
    measures: what of accuracies, maps under the protocol, and maps under the ensemble (auto) it is about.
    fast: flags laid over the networks of the fast recipe, by data set. note: what keeps it from being the paper's.
    absent: why nothing is run, empty otherwise.
    """

    paper: str
    name: str
    title: str
    rows: tuple[Row, ...]
    protocol: str | None = None
    statistic: str = "mean"
    picture: str | None = None
    measures: tuple[str, ...] = MEASURES
    fast: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    note: str = ""
    absent: str = ""

    @property
    def key(self) -> str:
        return f"{self.paper}:{self.name}"

    def folder(self, root: pathlib.Path) -> pathlib.Path:
        """Return where its page and pictures lie."""
        return root / "tables" / f"{self.paper}_{self.name}"


FOUR = ("mnist", "fashion_mnist", "gtsrb", "flower")
P2_METHODS = "natural ig_norm ig_sum_norm advaat art ssr madry igr_at trades igr_trades mart igr_mart".split()
P2_DATA = ("mnist", "fashion_mnist", "cifar10")
NARROW = dict.fromkeys(("mnist", "fashion_mnist"), {"model": "tiny_cnn"})
BUDGET = "fast: small networks, on 28x28 images with Chen et al.'s budgets, so that no printed figure is a target"


def rows(datasets: Iterable[str], methods: Iterable[str], **flags: str) -> tuple[Row, ...]:
    return tuple(Row(f"{dataset}_{method}", flags) for dataset, method in itertools.product(datasets, methods))


def p2_rows(datasets: Iterable[str], methods: Iterable[str], **flags: str) -> tuple[Row, ...]:
    """Rows of Wang and Kong (2022): their network has files of its own where Chen et al. have one of the method."""
    suffixed = ("natural", "madry", "ig_norm", "ig_sum_norm")
    return tuple(
        Row(f"{dataset}_{method}" + ("_p2" if method in suffixed and dataset != "cifar10" else ""), flags)
        for dataset, method in itertools.product(datasets, methods)
    )


def certified(certificate: str, networks: Iterable[str], **flags: str) -> tuple[Row, ...]:
    return tuple(Row(network, flags, certificate) for network in networks)


CHEN = (
    Table(
        "chen2019",
        "1",
        "attribution robustness of five methods",
        rows(FOUR, ("natural", "madry", "ig_norm", "ig_sum_norm", "cacr_wacr")),
        "chen2019",
    ),
    Table(
        "chen2019",
        "3",
        "path points m of IG-NORM on MNIST",
        tuple(Row(f"mnist_ig_norm,ig_steps={m}") for m in range(10, 101, 10)),
        "chen2019",
    ),
    Table(
        "chen2019",
        "4",
        "saliency maps in place of integrated gradients",
        rows(FOUR, ("natural", "madry", "ig_sum_norm"), attribution="saliency"),
        "chen2019",
    ),
    Table(
        "chen2019",
        "c3",
        "the search of λ and β: 1, 0.1, 0.01",
        tuple(
            Row(f"{dataset}_{method},attribution_weight={weight}")
            for dataset in FOUR
            for method in ("ig_norm", "ig_sum_norm")
            for weight in ("1", "0.1", "0.01")
        ),
        "chen2019",
        note="The paper prints no figures of it.",
    ),
    Table(
        "chen2019",
        "c4",
        "dimension and budget: how far the attack comes on naturally trained networks",
        tuple(
            Row(f"{dataset}_natural", {"ifia_epsilon": budget})
            for dataset, budgets in {
                "mnist": ("0.03", "0.1", "0.3"),
                "gtsrb": ("8", "25", "76"),
                "flower": ("8", "25", "76"),
            }.items()
            for budget in budgets
        ),
        "chen2019",
        note="The paper says it in words; the budgets are about .03, .1 and .3 of each pixel range.",
    ),
    *(
        Table(
            "chen2019",
            f"fig{number}",
            f"maps before and after the attack on {dataset}",
            rows((dataset,), ("natural", "madry", "ig_norm", "ig_sum_norm")),
            "chen2019",
            picture="panel",
            measures=PICTURED,
        )
        for number, dataset in zip((3, 4, 5, 6), FOUR)
    ),
)

_ABLATIONS = {  # Sarkar et al. (2021), Tables 7 to 10: λ of CACR and of WACR
    "7": ("CACR alone", "wacr_weight=0"),
    "8": ("WACR alone", "cacr_weight=0"),
    "9": ("weights 1 and 0.7", "wacr_weight=0.7"),
    "10": ("weights 0.7 and 1", "cacr_weight=0.7"),
}
_MAIN = ("natural", "madry", "ig_sum_norm", "cacr_wacr")

SARKAR = (
    *(
        Table("sarkar2021", name, f"methods on {dataset}", rows((dataset,), _MAIN), "sarkar2021", "median")
        for name, dataset in {"1": "flower", "2": "fashion_mnist", "3": "mnist", "4": "gtsrb"}.items()
    ),
    *(
        Table(
            "sarkar2021",
            name,
            f"methods on {dataset}, WRN-28-10",
            rows((dataset,), ("natural_wrn", "madry_wrn", "art_wrn", "cacr_wacr_wrn")),
            "sarkar2021",
            "median",
        )
        for name, dataset in {"5": "flower", "6": "gtsrb"}.items()
    ),
    *(
        Table(
            "sarkar2021",
            name,
            f"CACR + WACR: {title}",
            tuple(Row(f"{dataset}_cacr_wacr,{change}") for dataset in ("flower", "fashion_mnist", "mnist")),
            "sarkar2021",
            "median",
        )
        for name, (title, change) in _ABLATIONS.items()
    ),
    Table(
        "sarkar2021",
        "11",
        "clean maps beside a naturally trained network's",
        tuple(
            Row(f"{dataset}_{method}", {REFERENCE: f"{dataset}_natural"})
            for dataset in ("flower", "fashion_mnist", "mnist", "gtsrb")
            for method in ("madry", "ig_sum_norm", "cacr_wacr")
        ),
        "sarkar2021",
        "median",
    ),
    Table(
        "sarkar2021",
        "fig1",
        "an image, its attacks, and the maps of both",
        rows(("flower",), ("madry", "ig_sum_norm", "cacr_wacr")),
        "sarkar2021",
        "median",
        "panel",
        PICTURED,
    ),
    Table("sarkar2021", "fig2", "spread over images", rows(FOUR, _MAIN), "sarkar2021", "median", "report", PICTURED),
    Table(
        "sarkar2021",
        "fig3",
        "what each regulariser does to maps",
        tuple(Row(f"flower_cacr_wacr{change}") for change in (",wacr_weight=0", ",cacr_weight=0", "")),
        "sarkar2021",
        "median",
        "panel",
        PICTURED,
    ),
)

_WITH_IGR = ("madry", "igr_at", "trades", "igr_trades", "mart", "igr_mart")

WANG_2022 = (
    Table(
        "wang2022",
        "2",
        "twelve methods under top-k IFIA",
        p2_rows(P2_DATA, P2_METHODS),
        "wang2022",
        fast=NARROW,
        note=BUDGET,
    ),
    Table(
        "wang2022",
        "3",
        "accuracy under attack",
        p2_rows(P2_DATA, _WITH_IGR),
        "wang2022",
        measures=("accuracies",),
        fast=NARROW,
        note=BUDGET,
    ),
    Table(
        "wang2022",
        "fig1",
        "perturbed images at the same l1 distance, their maps",
        tuple(
            row
            for objective in ("topk", "kendall", "cosine", "mass_center")
            for row in p2_rows(("mnist",), ("madry",), ifia_objective=objective)
        ),
        "wang2022",
        picture="report",
        measures=PICTURED,
        fast=NARROW,
    ),
    *(
        Table(
            "wang2022",
            name,
            title,
            p2_rows(P2_DATA, _WITH_IGR),
            "wang2022",
            picture="report",
            measures=PICTURED,
            fast=NARROW,
        )
        for name, title in {
            "fig2": "Kendall's correlation beside cosine, drawn and measured",
            "fig4": "activation consistency",
            "fig5": "Kendall's correlation beside cosine and Pearson's",
        }.items()
    ),
    *(
        Table(
            "wang2022",
            name,
            f"maps with and without IGR on {dataset}",
            p2_rows((dataset,), _WITH_IGR),
            "wang2022",
            picture="panel",
            measures=PICTURED,
            fast=NARROW,
        )
        for name, dataset in {"fig3": "mnist", "fig6": "fashion_mnist", "fig7": "cifar10"}.items()
    ),
)

_CHANGE = "0.1"  # Eq. (50): the largest ε for a change of ω = 0.1
_BOUNDED = {"mnist": "_p2", "fashion_mnist": "_p2", "cifar10": ""}


def _bounds(datasets, **flags):
    """Upper bounds of the six networks of Wang and Kong (2023), Tables 7 and 8."""
    return tuple(
        row
        for dataset in datasets
        for method in ("madry", "ig_norm", "advaat", "art", "trades", "igr_trades")
        for row in certified(
            f"{dataset}_upper_bound",
            [f"{dataset}_{method}" + (_BOUNDED[dataset] if method in ("madry", "ig_norm") else "")],
            certify_changes=_CHANGE,
            **flags,
        )
    )


_L2 = {"mnist": "l2:0.1,l2:0.2", "fashion_mnist": "l2:0.1,l2:0.2", "cifar10": "l2:0.2,l2:0.3"}
_LINF = {
    "mnist": "linf:0.01,linf:0.03",
    "fashion_mnist": "linf:0.01,linf:0.03",
    "cifar10": "linf:0.0156862745,linf:0.0313725490",
}
_THREE = ("mnist", "fashion_mnist", "cifar10")

WANG_2023 = (
    Table(
        "wang2023",
        "6",
        "upper bounds of three attributions without the label constraint, ε = 0.1",
        tuple(
            row
            for attribution in ("saliency", "input_x_gradient", "integrated_gradients")
            for row in certified(
                "mnist_upper_bound",
                ("mnist_madry_p2", "mnist_ig_norm_p2", "mnist_advaat", "mnist_art", "mnist_trades"),
                attribution=attribution,
                budgets="l2:0.1,linf:0.1",
                certify_changes=_CHANGE,
            )
        ),
        fast=NARROW,
        note="The caption names no data set: MNIST was taken.",
    ),
    Table(
        "wang2023",
        "7",
        "l2 upper bounds with the label constraint",
        tuple(row for data in _THREE for row in _bounds((data,), budgets=_L2[data])),
        fast=NARROW,
    ),
    Table(
        "wang2023",
        "8",
        "l_inf upper bounds with the label constraint",
        tuple(row for data in _THREE for row in _bounds((data,), budgets=_LINF[data])),
        fast=NARROW,
    ),
    Table(
        "wang2023",
        "9",
        "upper bounds on Flower-17",
        certified(
            "flower_upper_bound",
            ("flower_madry", "flower_advaat", "flower_trades", "flower_igr_trades"),
            certify_changes=_CHANGE,
        ),
    ),
    Table("wang2023", "10", "upper bounds on ImageNet", (), absent="ImageNet is not among the data sets here."),
    Table(
        "wang2023",
        "cor1",
        "Corollary 1: upper bounds in balls of other norms",
        certified("mnist_upper_bound", ("mnist_madry_p2",), budgets="l1:0.1,l2:0.1,l3:0.1,l4:0.1,l10:0.1,linf:0.1"),
        fast=NARROW,
        note="The paper prints no figures of it.",
    ),
    *(
        Table(
            "wang2023",
            name,
            title,
            tuple(
                Row(f"{dataset}_madry{_BOUNDED[dataset]}", certificate=f"{dataset}_upper_bound")
                for dataset in datasets.split()
            ),
            picture="certificates",
            fast=NARROW,
        )
        for name, title, datasets in (
            ("fig3", "size of the correction η", "cifar10"),
            ("fig4", "the first 100 rows of an attribution's Jacobian", "mnist fashion_mnist"),
            ("fig5", "the Jacobian, MNIST", "mnist"),
            ("fig6", "the Jacobian, Fashion-MNIST", "fashion_mnist"),
            ("fig7", "the Jacobian, CIFAR-10 (the paper's is CIFAR-100's)", "cifar10"),
            ("fig8", "bound less what attacks reach", "cifar10"),
        )
    ),
)

_SMOOTHED = {
    "mnist": ("mnist_natural", "mnist_ig_norm", "mnist_igr_at"),
    "cifar10": ("cifar10_natural", "cifar10_ig_norm", "cifar10_igr_at"),
}

WANG_2024 = (
    Table(
        "wang2024",
        "4",
        "center smoothing of saliency maps",
        tuple(
            row
            for epsilon in ("0.1", "0.2", "0.3", "0.4", "0.5")
            for row in certified("mnist_center_smoothing", ("mnist_ig_norm",), epsilon=epsilon)
        ),
        fast=NARROW,
    ),
    Table(
        "wang2024",
        "5",
        "largest certified perturbation, MNIST",
        certified("mnist_uniform_smoothing_ig", _SMOOTHED["mnist"]),
        note="No target: see docs/certification.md.",
        fast=NARROW,
    ),
    Table(
        "wang2024",
        "6",
        "largest certified perturbation, CIFAR-10",
        certified("cifar10_uniform_smoothing_ig", _SMOOTHED["cifar10"]),
        note="No target: see docs/certification.md.",
    ),
    Table(
        "wang2024",
        "7",
        "largest certified perturbation, ImageNet",
        (),
        absent="ImageNet is not among the data sets here.",
    ),
    Table(
        "wang2024",
        "8",
        "smoothed maps under attack at the certified perturbation",
        certified("mnist_uniform_smoothing_ig", _SMOOTHED["mnist"]),
        note="The perturbations are those that are certified here.",
        fast=NARROW,
    ),
    Table(
        "wang2024",
        "9",
        "smallest smoothing radius for a threshold",
        tuple(row for data, networks in _SMOOTHED.items() for row in certified(f"{data}_smallest_radius", networks)),
        note="No target: see docs/certification.md. The paper does not say of which maps: saliency maps were taken.",
        fast=NARROW,
    ),
    Table(
        "wang2024",
        "fig3",
        "integrated gradients, smoothed by normal and by uniform noise",
        certified("mnist_uniform_smoothing_ig", ("mnist_natural",)),
        picture="certificates",
        fast=NARROW,
    ),
    Table(
        "wang2024",
        "fig4",
        "certified share over the perturbation",
        certified("mnist_uniform_smoothing", ("mnist_natural",)),
        picture="certificates",
        fast=NARROW,
    ),
    Table(
        "wang2024",
        "c1",
        "limits of the Monte Carlo estimate: rigorous, and the paper's approximation",
        tuple(
            row
            for interval in ("concentration", "chi_square")
            for row in certified("mnist_uniform_smoothing", ("mnist_natural",), interval=interval)
        ),
        fast=NARROW,
    ),
)

PANEL_METHODS = (
    *"natural madry ig_norm ig_sum_norm cacr_wacr trades mart".split(),
    *"igr_at igr_trades igr_mart art advaat ssr r2et align_at".split(),
)
PANELS = tuple(
    Table(
        "panel",
        dataset,
        f"fifteen methods on {dataset}, one network and one budget",
        rows((dataset,), PANEL_METHODS),
        "chen2019",
        picture="panel",
        fast=NARROW,
        note="Of no paper: the fast recipe alone has all of these.",
    )
    for dataset in ("mnist", "fashion_mnist", "gtsrb", "cifar10")
)

TABLES = {table.key: table for table in (*CHEN, *SARKAR, *WANG_2022, *WANG_2023, *WANG_2024, *PANELS)}


def find(key: str) -> Table:
    """Return a table by PAPER:NAME. Raises: UsageError for one that is not in the index."""
    if key not in TABLES:
        raise UsageError(f"--table={key}: not in the index; --list shows it ({', '.join(PAPERS)}, panel)")
    return TABLES[key]


def single(protocol: str | None) -> Table:
    """Return the table of one network that is in none."""
    return Table("network", "alone", "one network", (), protocol)
