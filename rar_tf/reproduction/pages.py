"""The pages: one of a table as it was measured, one of all records, and one that lists every table and figure."""

import pathlib
from collections.abc import Sequence

from rar_tf import files
from rar_tf.evaluation import report, words
from rar_tf.evaluation.evaluated import read as read_evaluations
from rar_tf.evaluation.page import markdown_table
from rar_tf.experiment.settings import Experiment
from rar_tf.files import atomic_write
from rar_tf.provenance import THREADS
from rar_tf.reproduction import pictures, records, tables, work
from rar_tf.reproduction.index import TABLES, Row, Table
from rar_tf.reproduction.networks import Network
from rar_tf.reproduction.work import ACCURACY, AUTO, Extent, Step, networks_of
from rar_tf.statistics import paired_runs

Done = tuple[Row, Network, dict[str, Step]]


def table(table: Table, done: Sequence[Done], root: pathlib.Path, recipe: str, shard: str, results_dir) -> str:
    """Write a table's page, its pictures and its networks' records; return the page."""
    folder = table.folder(root)
    files.claim(folder, "reproduce")
    if results_dir is not None:
        files.claim(results_dir, "reproduce", option="--results_dir")
    title = f"# {table.key}, {recipe} recipe: {table.title}\n\n"
    said = "".join(f"{text}\n\n" for text in (table.note,) if text)
    made = [(row, network, records.of(network, root, steps.values()), steps) for row, network, steps in done]
    measured = [(row, network, records.of_row(record, steps)) for row, network, record, steps in made]
    body = tables.measured(table, measured)
    if done[0][0].certificate is not None:
        plots = [path for _, _, s in done for step in s.values() for path in sorted(step.file.parent.glob("*.png"))]
        body += "".join(f"\n![{path.stem}]({path.resolve()})\n" for path in plots) if table.picture else ""
    else:
        groups: dict[str, list[dict]] = {}
        for row, network, record in measured:
            groups.setdefault(tables.label(row, network.without("seed")), []).append(record)
        if any(len(group) > 1 for group in groups.values()):
            body += "\nOver seeds, ± the sample standard deviation:\n\n" + tables.over_seeds(groups)
        if table.picture is not None:
            body += _picture(table, done, folder, results_dir)
    if results_dir is not None:
        for _, _, record, _ in made:
            records.write(record, results_dir)
    text = title + said + body
    number, count = shard.split("/")
    with atomic_write(folder / ("table.md" if count == "1" else f"shard-{number}-of-{count}.md")) as temporary:
        temporary.write_text(text)
    return text


def _picture(table, done, folder, results_dir):
    """The figures of a table of evaluations, from what its protocol's evaluations left."""
    places = [step.file.parent for _, _, s in done for name, step in s.items() if name not in (ACCURACY, AUTO)]
    evaluations = read_evaluations(places)
    if table.picture == "report":
        paths = report.write(evaluations, folder)
        return f"\nFigures: {paths[0]}\n"
    picture = pictures.panel(evaluations)
    if picture is None:
        return "\nNo image is attacked under all of these networks: no picture.\n"
    places = [folder / "panel.png"]
    if results_dir is not None and table.paper == "panel":
        places.append(results_dir / f"panel_{table.name}.png")
    for place in places:
        with atomic_write(place) as temporary:
            picture.savefig(temporary, dpi=70)
    return "\n![the same images under every network](panel.png)\n"


def write(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write <folder>.md from the records in a folder, and the list of tables, reproduction.md, beside it."""
    files.claim(folder, "reproduce", option="--results_dir")
    found, paths = records.read(folder), records.pages(folder)
    for path, text in zip(paths, (_results(found, folder), _reproduction(found))):
        with atomic_write(path) as temporary:
            temporary.write_text(text)
    return list(paths)


_INTRODUCTION = f"""{records.RESULTS}

One row a network, from the records in [{{name}}/]({{name}}); `python scripts/reproduce.py --results_dir=docs/{{name}}`
writes this page from them. Each row's command, in a folder without runs, trains the same network and measures the
same figures on the same kind of machine. Sums are rounded by the number of threads that share them, so that the weights
are the same bit for bit with as many.

Natural and adversarial accuracy with Wilson's 95 % interval, under PGD with the paper's number of steps, from a
random start. Scores are means over the attacked images with the bootstrap's 95 % interval: under the paper's
protocol, and under `--attack=auto`, an ensemble that finds lower scores on the same network. *Attainable* is what
that attack leaves of a network whose gradients never change. Rows are sorted by what holds under `auto`: Kendall over
the support, then top-k, then cosine. Kendall over all pixels stands there because the papers print it; on black
backgrounds it measures the background. Intervals are over images, not over trainings. Minutes are wall time on two
shared CPU cores, CPU minutes in brackets; both count the stages of training before the last.

*Fallbacks* are images for which the paper's attack found nothing; they score 1. *Attainable* is over the support, in
the top k and in cosine; *images* are those of the paper's protocol, of `auto` and of predictions.
"""

_COLUMNS = ("kendall_support", "topk_intersection", "cosine", "kendall")
_TITLES = tuple(map(tables.title, _COLUMNS))


def _results(found, folder):
    notes = folder / "notes.md"
    parts = [_INTRODUCTION.format(name=folder.name), *([notes.read_text()] if notes.is_file() else [])]
    datasets = dict.fromkeys(record["dataset"] for record in found)
    for dataset in datasets:
        of_data = [record for record in found if record["dataset"] == dataset]
        by_network = _by_network(of_data)
        parts.append(f"## {dataset}\n")
        for heading, variants in (("", False), ("### Variants, with settings laid over their flag files\n", True)):
            shown = [record for record in of_data if _is_variant(record) == variants]
            compared = _by_network(shown)
            if shown:
                texts = heading, _ranking(shown), _over_seeds(compared, dataset)
                parts += filter(None, (*texts, _differences(compared, by_network, dataset)))
        name = f"loss_{dataset}.png"
        with atomic_write(folder / name) as temporary:
            pictures.courses(of_data).savefig(temporary, dpi=90)
        parts.append(f"![Losses of the trainings]({folder.name}/{name})\n")
        if (folder / f"panel_{dataset}.png").is_file():
            parts.append(f"![The same images under several networks]({folder.name}/panel_{dataset}.png)\n")
        parts.append("```\n" + "\n".join(sorted(map(command, of_data))) + "\n```\n")
        parts += filter(None, [_devices(of_data)])
    return "\n".join(parts)


def _is_variant(record):
    return bool(Network.of(record["network"]).without("model", "seed").overrides)


def command(record: dict) -> str:
    """Return the command line that makes a record again."""
    evaluations = record["evaluations"]
    extent = {
        "examples": tables.papers_own(evaluations).get("examples", 0),
        "auto_examples": evaluations.get(AUTO, {}).get("examples", 0),
        "accuracy_examples": evaluations.get(ACCURACY, {}).get("accuracy_examples"),
    }
    said = " ".join(f"--{flag}={value}" for flag, value in extent.items() if value is not None)
    threads = f"{THREADS}={record['threads']} " if record.get("threads") else ""
    return f"{threads}python scripts/reproduce.py --network={record['network']} --recipe={record['recipe']} {said}"


def _devices(found):
    """Which evaluations of these records another device than a CPU made."""
    by_device: dict[str, list[str]] = {}
    for record in found:
        for name, evaluation in record["evaluations"].items():
            if evaluation.get("device", "CPU") != "CPU":
                by_device.setdefault(evaluation["device"], []).append(f"{record['network']} ({name})")
    return "".join(f"Evaluated on {device}: {'; '.join(sorted(names))}.\n" for device, names in by_device.items())


def _mean(record, name):
    score = record["evaluations"].get(AUTO, {}).get("scores", {}).get(name)
    return -1.0 if score is None else score["mean"]


def _ranking(found):
    header = ["network", "recipe", "natural", "adversarial", "paper's: top-k", "paper's: Kendall", "fallbacks"]
    header += [f"auto: {title}" for title in _TITLES] + ["attainable", "images", "minutes (CPU)"]
    cells = []
    for record in sorted(found, key=lambda r: [-_mean(r, name) for name in _COLUMNS[:3]]):
        evaluations = record["evaluations"]
        accuracy, auto = evaluations.get(ACCURACY, {}), evaluations.get(AUTO, {})
        paper = tables.papers_own(evaluations)
        cpu = record["cost"].get("cpu_minutes_of_all_stages")
        cells.append(
            [
                pictures.label(record["network"], record["dataset"]),
                record["recipe"],
                tables.share(accuracy, "natural_accuracy"),
                tables.share(accuracy, "adversarial_accuracy"),
                *(tables.score(paper, name) for name in ("topk_intersection", "kendall")),
                "-" if paper.get("fallback_rate") is None else f"{paper['fallback_rate']:.0%}",
                *(tables.score(auto, name) for name in _COLUMNS),
                " / ".join(_attainable(auto, name) for name in _COLUMNS[:3]),
                " / ".join(
                    str(each.get(key, "-"))
                    for each, key in ((paper, "examples"), (auto, "examples"), (accuracy, "accuracy_examples"))
                ),
                tables.minutes(record) + ("" if cpu is None else f" ({cpu:.1f})"),
            ]
        )
    return markdown_table(header, cells)


def _attainable(evaluation, name):
    value = evaluation.get("scores", {}).get(name, {}).get("attainable")
    return "-" if value is None else f"{value:.2f}"


def _by_network(found):
    """The records that have figures under auto, by seed, of each network."""
    groups: dict[Network, dict[int, dict]] = {}
    for record in found:
        if AUTO in record["evaluations"]:
            network = Network.of(record["network"], record["recipe"]).without("seed")
            groups.setdefault(network, {})[record["seed"]] = record
    return groups


def _over_seeds(by_network, dataset):
    """Means over seeds, of the networks that have several."""
    groups = {
        pictures.label(network, dataset): list(by_seed.values())
        for network, by_seed in by_network.items()
        if len(by_seed) > 1
    }
    return f"Over seeds, ± the sample standard deviation:\n\n{tables.over_seeds(groups)}" if groups else ""


def _differences(compared, by_network, dataset):
    """The compared networks' scores under auto less those of adversarial training of the same one, image by image."""
    lines = []
    for network, by_seed in compared.items():
        model = {flag: value for flag, value in network.overrides if flag == "model"}
        madry = Network(f"{dataset}_madry", network.recipe).replace(**model)
        base = by_network.get(madry, {}) if network != madry else {}
        pairs = [(base[seed], by_seed[seed]) for seed in sorted(by_seed.keys() & base.keys())]
        less = [
            paired_runs([tuple(records.by_image(record, name) for record in pair) for pair in pairs])
            for name in _COLUMNS
        ]
        if less[0] is not None:
            shares = [_share_less(pairs, name) for name in ("natural_accuracy", "adversarial_accuracy")]
            cells = [pictures.label(network, dataset), less[0].images, len(pairs), *shares, *map(words.less, less)]
            lines.append((-less[0].difference, cells))
    header = ["network", "images", "seeds", "natural", "adversarial", *_TITLES]
    said = (
        "Less adversarial training of the same network under `auto`, image by image on those that both attack (the "
        "mean over seeds), with 95 % intervals over images:\n\n"
    )
    return said + markdown_table(header, [cells for _, cells in sorted(lines)]) if lines else ""


def _share_less(pairs, name):
    """The mean difference of accuracies on the same images; "-" where they are of other ones, or not known."""
    found = [[record["evaluations"].get(ACCURACY, {}) for record in pair] for pair in pairs]
    known = [
        second["accuracies"][name]["share"] - first["accuracies"][name]["share"]
        for first, second in found
        if name in first.get("accuracies", {}) and name in second.get("accuracies", {}) and _same_images(first, second)
    ]
    return f"{sum(known) / len(known):+.3f}" if known else "-"


def _same_images(first, second):
    return all(first.get(name) == second.get(name) for name in ("accuracy_examples", "images_digest"))


_ABOUT_TABLES = f"""{records.TABLES}

`python scripts/reproduce.py --table=PAPER:NAME` trains the networks that are missing, evaluates them under the
paper's protocol and under `--attack=auto`, and shows every figure beside the printed one; the same command goes on
where it was stopped. `--examples`, `--auto_examples` and `--accuracy_examples` say on how many images,
`--rows=mnist` which rows, `--seeds=3` how many trainings, `--shard=0/4` a part of the rows for one of four
machines. Networks lie in `runs/<recipe>/<name>` and are shared by all tables; pages and pictures in `runs/tables/`.

`--recipe=paper` takes the papers' own settings: 25,000 to 100,000 steps a network, hours to a day of a GPU each.
`--recipe=fast` takes `flags/fast/`, which has the same objectives, and budgets of Chen et al. (2019), on a schedule
for two CPU cores:

- the adversary's budget and steps grow over the first quarter (`--epsilon_warmup`): at ε = 0.3 on MNIST the loss
  otherwise stays at ln 10 for hundreds to thousands of steps; Glorot initialisation helps as well;
- Adam, whose rate grows over the first tenth and falls to nothing over the last 40 % (`--learning_rate_warmup`,
  `--learning_rate_decay`, `--decay_shape`), batches of 64, mean losses;
- five adversary steps of ε/3 (three of ε/2 on colour images), ten path points, two in the adversary;
- objectives with attributions are a second stage: they start from the network of an adversarial, TRADES or MART
  training (`--init_from`), R2ET from a natural one. `reproduce` trains the first stage where it is missing.

A network's name is its flag file's with flags laid over it: `mnist_ig_norm,attribution_weight=0.1,model=tiny_cnn`.

"""


def _reproduction(found):
    header = [
        "table or figure",
        "what",
        "`python scripts/reproduce.py …`",
        "networks",
        "steps as in the paper",
        "rows measured",
        "minutes",
    ]
    known = {(record["recipe"], record["network"]): record for record in found}
    cells, sections = [], []
    for each in TABLES.values():
        command = f"`--table={each.key} --recipe=fast`"
        rows = networks_of(each, "fast")
        have = _measured(each, rows, known)
        measured = f"{len(have)} of {len(each.rows)}"
        if each.absent:
            command, measured = "-", each.absent
        elif not rows:
            command, measured = command.replace("fast", "paper"), "no fast recipe; not measured"
        names = {row.network for row in each.rows}
        steps = sum(Experiment.of(network.given()).run.steps for network in map(Network.of, names) if _exists(network))
        cells.append(
            [each.key, each.title, command, len(names), f"{steps:,}" if steps else "-", measured, _minutes(have)]
        )
        if have and not each.picture:
            note = f" {each.note}" if each.note else ""
            sections.append(f"\n## {each.key}: {each.title}\n\nFast recipe.{note}\n\n{tables.measured(each, have)}")
    return (
        _ABOUT_TABLES
        + markdown_table(header, cells)
        + "\nNetworks: of the paper's table, and the steps that training all of them takes. Rows measured: by the fast "
        "recipe, under the table's own protocol; the minutes that their networks' training took, and measuring them. "
        "Those of tables follow, figures are drawn by their command.\n" + "".join(sections)
    )


def _measured(table, rows, known):
    """The (row, network, record)s of a table that records have, with what is the row's alone.

    known: records by recipe and network. The ensemble, and accuracies beside maps, may be absent.
    """
    lines = []
    for row, network in rows:
        record = known.get((network.recipe, str(network)))
        if record is not None:
            steps = work.steps(row, table, network, pathlib.Path(), Extent())
            needed = set(steps) - {AUTO} - ({ACCURACY} if "maps" in table.measures else set())
            record = records.of_row(record, steps)
            if needed <= {*record["evaluations"], *record["certifications"]}:
                lines.append((row, network, record))
    return lines


def _minutes(lines):
    trainings = {network: record["cost"]["minutes"] for _, network, record in lines}
    measuring = sum(
        each.get("seconds") or 0.0
        for _, _, record in lines
        for each in (*record["evaluations"].values(), *record["certifications"].values())
    )
    return f"{sum(trainings.values()):.0f} + {measuring / 60:.0f}" if lines else "-"


def _exists(network):
    return network.flagfile.is_file()
