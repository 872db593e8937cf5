"""The index: every table that is printed is in it, each row has its flag files and stands beside the right figures."""

import pytest

from rar_tf.errors import UsageError
from rar_tf.evaluation import comparison
from rar_tf.experiment import flagfile
from rar_tf.reproduction import index, tables, work
from rar_tf.reproduction.networks import Network, flags_folder

COVERED = {
    "chen2019": "1 3 4 c3 c4 fig3 fig4 fig5 fig6",
    "sarkar2021": "1 2 3 4 5 6 7 8 9 10 11 fig1 fig2 fig3",
    "wang2022": "2 3 fig1 fig2 fig3 fig4 fig5 fig6 fig7",
    "wang2023": "6 7 8 9 10 fig3 fig4 fig5 fig6 fig7 fig8",
    "wang2024": "4 5 6 7 8 9 fig3 fig4 c1",
}
KEYS = [f"{paper}:{name}" for paper, names in COVERED.items() for name in names.split()]


def test_all_tables_and_figures_are_there_and_listed():
    assert set(KEYS) <= set(index.TABLES)
    listed = [line.split()[0] for line in tables.listing().splitlines()]
    assert listed == list(index.TABLES)


def test_every_row_has_its_flag_files():
    networks = {row.network for key in KEYS for row in index.TABLES[key].rows}
    for name in sorted(networks):
        assert Network.of(name).given()["method"], name
    certificates = {row.certificate for key in KEYS for row in index.TABLES[key].rows} - {None}
    for name in certificates:
        flagfile.read(flags_folder() / "certify" / f"{name}.cfg")


def test_every_certificate_has_arguments_that_are_flags(tmp_path):
    rows = {(r.certificate, *r.flags): r for key in KEYS for r in index.TABLES[key].rows if r.certificate is not None}
    for row in rows.values():
        step = work.certification(Network.of(row.network), tmp_path, row, work.Extent(examples=2))
        given = flagfile.parse(list(step.arguments))
        assert given["num_examples"] == 2 and given.get("certificate_attack", 0) <= 2
        assert given["method"] in step.file.parent.name or row.certificate in step.file.parent.name


@pytest.mark.parametrize("name", ["mnist_ig_sum_norm", "mnist_igr_trades", "gtsrb_r2et"])
def test_a_stage_starts_from_a_network_of_the_same_architecture_and_seed(name):
    network = Network.of(f"{name},seed=3", "fast")
    first = network.first_stage()
    assert dict(first.overrides)["seed"] == "3"
    assert first.given().get("model") == network.given().get("model")
    assert first.first_stage() is None


def test_overrides_of_a_model_reach_the_first_stage(tmp_path):
    network = Network.of("mnist_ig_norm,model=tiny_cnn", "fast")
    assert str(network.first_stage()) == "mnist_madry,model=tiny_cnn"
    assert f"--init_from={tmp_path}/fast/mnist_madry,model=tiny_cnn/model.keras" in network.training(tmp_path)


@pytest.mark.parametrize("key", [key for key in KEYS if key.split(":")[0] in ("chen2019", "sarkar2021", "wang2022")])
def test_rows_stand_beside_the_printed_ones(key):
    table = index.TABLES[key]
    known = [
        dict(zip(each["columns"], row))
        for each in comparison.published()
        if (each["paper"], each["table"]) == (index.PAPERS[table.paper], table.name)
        for row in each["rows"]
    ]
    found = [tables.printed(table, row) for row in table.rows]
    if known and key != "chen2019:1":
        assert found == known or sorted(map(str, found)) == sorted(map(str, known))
    if key == "chen2019:1":  # CACR + WACR's figures are printed by Sarkar et al. alone
        beside = {row.network: values.get("kendall") for row, values in zip(table.rows, found)}
        assert beside["mnist_ig_norm"] == 0.2841 and beside["gtsrb_ig_sum_norm"] == 0.7684
        assert beside["gtsrb_ig_norm"] is None


def test_what_a_paper_prints_has_a_column_beside_what_was_measured():
    row = index.find("wang2022:3").rows[0]
    accuracies = {
        f"adversarial_accuracy_{name}": {"share": 0.5, "ci95": [0.4, 0.6]} for name in ("fgsm", "pgd40", "cw")
    }
    evaluations = {"accuracy": {"accuracies": accuracies, "accuracy_examples": 9}}
    record = {"evaluations": evaluations, "cost": {"minutes_of_all_stages": 1.0, "resumed": False}}
    header, _, line, *_ = tables.scores(index.find("wang2022:3"), [(row, Network.of(row.network), record)]).splitlines()
    names, cells = ([cell.strip() for cell in text.strip("|").split("|")] for text in (header, line))
    found = dict(zip(names, zip(cells, cells[1:])))
    assert found["adversarial fgsm"] == ("50.00% [40.0%, 60.0%]", "99.39%")
    assert found["adversarial pgd20"] == ("-", "99.25%")
    assert found["adversarial pgd40"] == ("50.00% [40.0%, 60.0%]", "-")


def test_corollary_1_and_equation_50_are_columns_of_bounds():
    row = next(row for row in index.find("wang2023:8").rows if row.network == "mnist_trades")
    assert row.flags["certify_changes"] == "0.1"
    entry = {
        "ball": "linf",
        "epsilon": 0.01,
        "xi": {"mean": 2.0, "count": 3},
        "largest_epsilon_change_0.1": {"mean": 0.05, "count": 3, "ci95": [0.04, 0.06]},
        "dense": {"mean": 1.0, "count": 3, "ci95": [1.0, 1.0]},
    }
    record = {"certifications": {"mnist_upper_bound": {"results": [entry]}}}
    lines = tables.bounds([(row, Network.of(row.network), record)]).splitlines()
    names, cells = ([cell.strip() for cell in lines[place].strip("|").split("|")] for place in (0, 2))
    found = dict(zip(names, cells))
    assert float(found["Corollary 1"]) == pytest.approx(28 * 0.01 * 2.0)  # √784 = 28
    assert found["largest_epsilon_change_0.1"] == "0.05 [0.04, 0.06] (3)" and found["dense"] == "1 (3)"


@pytest.mark.parametrize(
    "key,wanted",
    [
        ("chen2019:1", ["accuracy", "chen2019", "auto"]),
        ("wang2022:3", ["accuracy"]),
        ("chen2019:fig3", ["chen2019"]),
        ("wang2022:fig4", ["wang2022"]),
        ("sarkar2021:fig2", ["sarkar2021"]),
    ],
)
def test_only_what_a_table_is_about_is_measured(key, wanted, tmp_path):
    table = index.find(key)
    row = table.rows[0]
    found = work.steps(row, table, Network.of(row.network), tmp_path, work.Extent(examples=5, auto_examples=2))
    assert list(found) == wanted


def test_the_fast_recipe_attacks_as_each_table_does_within_its_own_budget(tmp_path):
    for key, name, wanted in (
        ("wang2022:2", "cifar10_trades", {"ifia_steps": 200, "ifia_k": 1000, "ifia_step_size": 0.00784314}),
        ("wang2022:2", "fashion_mnist_trades", {"ifia_steps": 200, "ifia_epsilon": 0.1}),
        ("panel:cifar10", "cifar10_trades", {"ifia_steps": 50, "ifia_k": 100}),
    ):
        table = index.find(key)
        row, network = next(line for line in work.lines(table, "fast") if line[0].network == name)
        steps = work.steps(row, table, network, tmp_path, work.Extent(examples=5))
        given = {**network.given(), **flagfile.parse(list(steps[table.protocol].arguments))}
        assert {flag: given[flag] for flag in wanted} == wanted
        assert not any(argument.startswith("--ifia_") for argument in steps["auto"].arguments)


def test_accuracies_under_further_attacks_lie_beside_those_of_other_tables(tmp_path):
    extent, found = work.Extent(examples=5, accuracy_examples=9), {}
    for key in ("wang2022:3", "panel:mnist"):
        table = index.find(key)
        row, network = next(line for line in work.lines(table, "fast") if line[0].network == "mnist_trades")
        found[key] = work.steps(row, table, network, tmp_path, extent)["accuracy"]
    asked = flagfile.parse(list(found["wang2022:3"].arguments))["prediction_attacks"]
    assert asked == ("pgd", "fgsm", "pgd20", "pgd40", "cw")
    assert len({step.name for step in found.values()}) == len({step.file for step in found.values()}) == 2


def test_the_fast_recipe_takes_what_it_has():
    table = index.find("wang2022:2")
    names = {str(network) for _, network in work.lines(table, "fast")}
    assert {"mnist_madry,model=tiny_cnn", "fashion_mnist_ssr,model=tiny_cnn", "cifar10_madry"} <= names
    assert len(work.lines(table, "fast", names=("mnist",))) == 12
    assert len(work.lines(table, "fast", seeds=3, names=("mnist",))) == 36
    parts = [work.lines(table, "fast", shard=f"{i}/5") for i in range(5)]
    assert sum(parts, []) == work.lines(table, "fast")


def test_mistakes_are_said():
    with pytest.raises(UsageError, match="not in the index"):
        index.find("chen2019:2")
    with pytest.raises(UsageError, match="NAME"):
        Network.of("mnist_madry,nothing=1")
    with pytest.raises(UsageError, match="no flag file"):
        Network.of("mnist_nothing").given()
    with pytest.raises(UsageError, match="no row"):
        work.lines(index.find("sarkar2021:5"), "fast", names=("mnist",))
