"""A row's work: train what is missing, evaluate or certify, each command in a process of its own; all of it goes on."""

import dataclasses
import pathlib
from collections.abc import Callable

from rar_tf import results
from rar_tf.errors import UsageError
from rar_tf.evaluation.protocols import EVALUATION_PROTOCOLS
from rar_tf.experiment import flagfile
from rar_tf.reproduction.index import MEASURES, REFERENCE, Row, Table
from rar_tf.reproduction.networks import Network, flags_folder

Call = Callable[..., None]  # (command, *arguments): runs it to its end
ACCURACY, AUTO = "accuracy", "auto"


@dataclasses.dataclass(frozen=True)
class Extent:
    """How many of the first test images are attacked.

    examples: their maps, under the paper's protocol; None is as many as the flag files say, 0 leaves it out.
    auto_examples: their maps, under the ensemble; None is as many, 0 leaves it out.
    accuracy_examples: their predictions; None is the whole test set.
    """

    examples: int | None = None
    auto_examples: int | None = None
    accuracy_examples: int | None = None


ALL_IMAGES = 10**9


@dataclasses.dataclass(frozen=True)
class Step:
    """A command, its arguments, and the file that it leaves in the end.

    name: what records of its network keep the result under; the same for any number of images.
    """

    command: str
    arguments: tuple[str, ...]
    file: pathlib.Path
    name: str = ""

    def run(self, call: Call) -> None:
        """Do it where it is not done. Raises: UsageError where it was asked to stop before its end."""
        if not self.file.is_file():
            call(self.command, *self.arguments)
        if not self.file.is_file():
            raise UsageError(f"{self.file.parent} is not finished; the same command goes on with it")


def network_of(row: Row, table: Table, recipe: str) -> Network | None:
    """Return the network of a row under a recipe; None where the fast recipe has no flag file for it."""
    network = Network.of(row.network, recipe)
    if recipe == "paper":
        return network
    network = dataclasses.replace(network, name=network.name.removesuffix("_p2"))
    for dataset, flags in table.fast.items():
        if network.name.startswith(f"{dataset}_"):
            network = network.replace(**flags)
    return network if network.flagfile.is_file() else None


def networks_of(table: Table, recipe: str) -> list[tuple[Row, Network]]:
    """Return the rows of a table that can be made under a recipe, each with its network."""
    return [(row, network) for row in table.rows if (network := network_of(row, table, recipe)) is not None]


def with_seeds(network: Network, seeds: int) -> list[Network]:
    """Return a network with its own seed, and with 1, 2, … laid over it."""
    return [network, *(network.replace(seed=str(seed)) for seed in range(1, seeds))]


def lines(
    table: Table, recipe: str, seeds: int = 1, shard: str = "0/1", names: tuple[str, ...] = ()
) -> list[tuple[Row, Network]]:
    """Return the (row, network)s of a table that a shard has.

    Raises: UsageError where none is left: of another name, or without a flag file of the recipe.
    """
    found = []
    for row, network in networks_of(table, recipe):
        if not names or network.name.startswith(names):
            found += [(row, each) for each in with_seeds(network, seeds)]
    if not found:
        raise UsageError(f"{table.key}: no row with these names and a flag file of the recipe {recipe}")
    return found[results.shard_slice(shard, len(found))]


def training(network: Network, root: pathlib.Path) -> list[Step]:
    """Return the training of a network, after that of the network that it starts from."""
    first = network.first_stage()
    before = [] if first is None else training(first, root)
    return [*before, Step("train", tuple(network.training(root)), network.folder(root) / "train.json")]


def evaluations(
    network: Network, root: pathlib.Path, extent: Extent, protocol: str | None, flags=(), measures=MEASURES, attack=()
) -> dict[str, Step]:
    """Return a network's evaluations: accuracies, the protocol's attack on maps, and the ensemble.

    Args:
      protocol: None takes the flag file's own.
      flags: (flag, value) pairs laid over the network's, what a row of a table is about.
      measures: which of the three.
      attack: (flag, value) pairs of the protocol's attack, where its flag file is not the network's.
    """
    found: dict[str, dict] = {}
    own = dict(flags)
    protocol = protocol or network.given().get("evaluation_protocol", "ours")
    counted = extent.accuracy_examples or ALL_IMAGES
    shared = {name: value for name, value in own.items() if not name.startswith("ifia_") and name != "attribution"}
    shared.pop(REFERENCE, None)
    if "accuracies" in measures:
        if protocol == "wang2022":
            shared["prediction_attacks"] = ",".join(EVALUATION_PROTOCOLS[protocol].flags["prediction_attacks"])
        found[ACCURACY] = {"attack": "none", "evaluation_protocol": "ours", "accuracy_examples": counted, **shared}
    if "maps" in measures and extent.examples != 0:
        found[protocol] = {"evaluation_protocol": protocol, **_examples(extent.examples), **dict(attack), **own}
    auto = extent.examples if extent.auto_examples is None else extent.auto_examples
    if "auto" in measures and auto != 0:
        found[AUTO] = {"attack": "auto", "evaluation_protocol": "ours", **_examples(auto), **own}
    return {name: _evaluation(network, root, name, given, {**own, **shared}) for name, given in found.items()}


def _examples(count):
    return {} if count is None else {"num_examples": count}


def _evaluation(network, root, name, given, own):
    """An evaluation's folder says what it is of, so that several of one network lie beside each other."""
    count = given.get("num_examples", given.get("accuracy_examples"))
    laid_over = {flag: value for flag, value in own.items() if flag in given}
    images = "" if count in (None, ALL_IMAGES) else f",images={count}"
    if given.get(REFERENCE):
        given = {**given, REFERENCE: Network.of(given[REFERENCE], network.recipe).folder(root)}
    folder = network.folder(root) / (_named(name, laid_over) + images)
    arguments = [f"--model_dir={network.folder(root)}", *(f"--{flag}={value}" for flag, value in given.items())]
    kept = _named(name if name in (ACCURACY, AUTO) else _same_attack(name), laid_over)
    return Step("evaluate", (*arguments, f"--output_dir={folder}"), folder / "summary.json", kept)


def _named(name, flags):
    return ",".join([name, *(f"{flag}={value}" for flag, value in sorted(flags.items()))])


def _same_attack(protocol):
    """The first protocol that fixes what this one does: they differ in the statistic that the paper prints."""
    flags = EVALUATION_PROTOCOLS[protocol].flags
    return next(name for name, each in EVALUATION_PROTOCOLS.items() if each.flags == flags)


def certification(network: Network, root: pathlib.Path, row: Row, extent: Extent) -> Step:
    """Return a network's certification."""
    path = flags_folder() / "certify" / f"{row.certificate}.cfg"
    given = {**row.flags, **_examples(extent.examples)}
    if extent.examples is not None and "certificate_attack" in flagfile.read(path):
        given["certificate_attack"] = min(extent.examples, flagfile.read(path)["certificate_attack"])
    folder = network.folder(root) / _named(path.stem, given).replace("/", "_")
    arguments = [f"--flagfile={path}", *(f"--{flag}={value}" for flag, value in given.items())]
    arguments += [f"--model_dir={network.folder(root)}", f"--output_dir={folder}"]
    return Step("certify", tuple(arguments), folder / "summary.json", _named(path.stem, row.flags))


def steps(row: Row, table: Table, network: Network, root: pathlib.Path, extent: Extent) -> dict[str, Step]:
    """Return what measures a row, by name, once its network is trained."""
    if row.certificate is not None:
        return {row.certificate: certification(network, root, row, extent)}
    flags, attack = tuple(row.flags.items()), _attack(row, table, network)
    return evaluations(network, root, extent, table.protocol, flags, table.measures, attack)


def _attack(row, table, network):
    """The table's attack by the paper's flag file of a row, but its budget, where the recipe's network has another.

    The fast recipe has Chen et al.'s attacks and budgets, and tables of other papers their own attacks.
    """
    paper = Network.of(row.network)
    if network.recipe == "paper" or not paper.flagfile.is_file():
        return ()
    given, own = paper.given(), network.given()
    if given.get("evaluation_protocol") != table.protocol:
        return ()
    return tuple(
        (flag, value)
        for flag, value in given.items()
        if flag.startswith("ifia_") and flag != "ifia_epsilon" and own.get(flag) != value
    )


def run(row: Row, table: Table, network: Network, root: pathlib.Path, extent: Extent, call: Call) -> dict[str, Step]:
    """Train what is missing and measure the row; return its steps, all of them done."""
    reference = row.flags.get(REFERENCE)
    if reference is not None:
        for step in training(Network.of(reference, network.recipe), root):
            step.run(call)
    for step in training(network, root):
        step.run(call)
    found = steps(row, table, network, root, extent)
    for step in found.values():
        step.run(call)
    return found
