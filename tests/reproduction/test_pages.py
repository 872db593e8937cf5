"""What the pages say of records: ranks, differences from adversarial training, means over seeds; by hand."""

from rar_tf.reproduction import index, pages, pictures, records, tables, work


def record(network, method, support, topk=0.5, cosine=0.5, adversarial=0.5, minutes=1.0, images=None):
    def score(mean):
        return {"mean": mean, "median": mean, "ci95": [mean - 0.05, mean + 0.05], "attainable": 0.9}

    scores = {"kendall_support": score(support), "topk_intersection": score(topk), "cosine": score(cosine)}
    accuracies = {
        name: {"share": adversarial, "ci95": [0.4, 0.6]} for name in ("natural_accuracy", "adversarial_accuracy")
    }
    by_image = {} if images is None else {"index": " ".join(map(str, images))}
    by_image.update(dict.fromkeys(scores if images else (), " ".join(map(str, (images or {}).values()))))
    seed = int(network.rpartition("seed=")[2]) if "seed=" in network else 0
    return {
        "seed": seed,
        "network": network,
        "recipe": "fast",
        "dataset": "mnist",
        "method": method,
        "flags": {"model": "tiny_cnn"},
        "cost": {"minutes": minutes, "minutes_of_all_stages": minutes, "resumed": False},
        "history": {"step": [1.0, 2.0], "loss": [2.0, 1.0]},
        "evaluations": {
            "accuracy": {"accuracies": accuracies, "accuracy_examples": 100},
            "auto": {"scores": {**scores, "kendall": score(0.2)}, "examples": 20, "by_image": by_image},
        },
    }


RECORDS = [
    record("mnist_madry", "madry", 0.5),
    record("mnist_mart", "mart", 0.55),
    record("mnist_trades", "trades", 0.7),
]


def test_rows_are_sorted_by_what_holds_over_the_support_under_auto():
    lines = pages._ranking(RECORDS).splitlines()[2:5]
    assert [line.split("|")[1].strip() for line in lines] == ["trades", "mart", "madry"]
    assert "- / 20 / 100" in lines[0] and "0.700 [0.650, 0.750]" in lines[0]


def test_differences_from_adversarial_training_are_image_by_image_and_over_seeds():
    found = [
        record("mnist_madry,model=tiny_cnn", "madry", 0.5, images={0: 0.1, 1: 0.2, 2: 0.9}),
        record("mnist_madry,model=tiny_cnn,seed=1", "madry", 0.5, images={0: 0.3}),
        record("mnist_trades,model=tiny_cnn", "trades", 0.5, images={0: 0.2, 1: 0.6, 7: 0.0}, adversarial=0.6),
        record("mnist_trades,model=tiny_cnn,seed=1", "trades", 0.5, images={0: 0.4, 1: 0.1}, adversarial=0.8),
        record("mnist_mart,model=tiny_cnn", "mart", 0.5, images={1: 0.1}),
        record("mnist_art,model=tiny_cnn", "art", 0.5, images={}),
        record("mnist_art", "art", 0.5, images={0: 0.1}),  # adversarial training of that network is not there
    ]
    by_network = pages._by_network(found)
    table = pages._differences(by_network, by_network, "mnist")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    assert [line[:3] for line in lines] == [["trades, model=tiny_cnn", "2", "2"], ["mart, model=tiny_cnn", "1", "1"]]
    assert lines[0][3:6] == ["+0.200", "+0.200", "+0.250 [+0.100, +0.400]"]
    assert lines[1][5] == "-0.100 [-0.100, -0.100]"
    over_seeds = pages._over_seeds(by_network, "mnist")
    assert "trades, model=tiny_cnn" in over_seeds and "mart" not in over_seeds


def test_losses_have_a_picture_a_network_with_all_its_seeds():
    short = {**record("mnist_trades", "trades", 0.5), "history": {"step": [100.0], "loss": [2.0]}}
    found = [record("mnist_madry", "madry", 0.5), record("mnist_madry,seed=1", "madry", 0.5), short]
    first, second = pictures.courses(found).axes
    assert [first.get_title(), second.get_title()] == ["madry", "trades"]
    assert len(first.lines) == 2 and second.lines[0].get_marker() == "."  # a line of one point alone is not seen


def test_means_over_seeds_with_their_deviation():
    table = tables.over_seeds({"mnist_madry": [record("a", "madry", 0.5), record("b", "madry", 0.7)]})
    assert "0.600 ± 0.141" in table and "| 2 " in table


def rows_of(key, found):
    """The rows of a table that records, by recipe and network, have, by their labels."""
    table = index.find(key)
    lines = pages._measured(table, work.networks_of(table, "fast"), found)
    if not lines:
        return {}
    body = tables.measured(table, lines).split("\n\n")[0].splitlines()[2:]  # what is printed may follow
    return {line.split("|")[1].strip(): line for line in body}


def test_rows_measured_under_a_papers_protocol_stand_beside_the_printed_ones():
    found = {("fast", name): record(name, "madry", 0.5) for name in ("mnist_madry", "mnist_natural", "gtsrb_madry")}
    for name in ("mnist_madry", "gtsrb_madry"):
        found["fast", name]["evaluations"]["chen2019"] = found["fast", name]["evaluations"]["auto"]
    found["fast", "mnist_madry"]["evaluations"]["wang2022"] = {"scores": {}, "examples": 7}
    cells = rows_of("chen2019:1", found)
    assert list(cells) == ["mnist_madry", "gtsrb_madry"]  # the other has no attack of the paper's
    assert "98.40%" in cells["mnist_madry"] and "83.24%" in cells["gtsrb_madry"] and "| 20 / " in cells["mnist_madry"]
    assert "median 0.200; 0.200 [" in rows_of("sarkar2021:3", found)["mnist_madry"]  # the same attack, other statistic
    scores = found["fast", "mnist_madry"]["evaluations"]["chen2019"]["scores"]
    scores["topk_intersection"]["median_ci95"] = [0.125, 0.375]  # records from before it have none
    assert "[0.125, 0.375]; " in rows_of("sarkar2021:3", found)["mnist_madry"]
    assert rows_of("wang2022:2", found) == {}  # another network of the fast recipe
    assert list(rows_of("chen2019:fig3", found)) == ["mnist_madry"]


def test_a_row_with_flags_of_its_own_or_a_certificate_counts_once_that_was_measured():
    madry = record("mnist_madry", "madry", 0.5)
    narrow = record("mnist_natural,model=tiny_cnn", "natural", 0.5)
    found = {("fast", each["network"]): each for each in (madry, narrow)}
    madry["evaluations"]["chen2019"] = madry["evaluations"]["auto"]
    assert rows_of("chen2019:4", found) == rows_of("wang2024:5", found) == {}
    madry["evaluations"]["chen2019,attribution=saliency"] = {"scores": {}, "examples": 7, "seconds": 60}
    narrow["certifications"] = {"mnist_uniform_smoothing_ig": {"results": [{"radius": 3.0}], "seconds": 120}}
    assert list(rows_of("chen2019:4", found)) == ["mnist_madry, attribution saliency"]
    assert "7 / 100" in rows_of("chen2019:4", found)["mnist_madry, attribution saliency"]  # auto is of other maps
    assert list(rows_of("wang2024:5", found)) == ["mnist_natural,model=tiny_cnn"]
    assert rows_of("wang2024:9", found) == {}  # another certificate
    listed = {
        line.split("|")[1].strip(): line.split("|")[-3:-1]
        for line in pages._reproduction(found.values()).splitlines()
        if "|" in line
    }
    assert [cell.strip() for cell in listed["chen2019:4"]] == ["1 of 12", "1 + 1"]
    assert [cell.strip() for cell in listed["wang2024:5"]] == ["1 of 3", "1 + 2"]
    assert [cell.strip() for cell in listed["wang2023:7"]] == ["0 of 18", "-"]


def test_accuracies_are_compared_on_equal_images_alone():
    first, second = record("mnist_madry", "madry", 0.5), record("mnist_trades", "trades", 0.5, adversarial=0.75)
    assert pages._share_less([(first, second)], "adversarial_accuracy") == "+0.250"
    second["evaluations"]["accuracy"]["accuracy_examples"] = 10_000
    assert pages._share_less([(first, second)], "adversarial_accuracy") == "-"


def test_evaluations_on_another_device_than_a_cpu_are_named():
    on_gpu = record("mnist_igr_at", "igr_at", 0.6)
    on_gpu["evaluations"]["auto"]["device"] = "NVIDIA X"
    on_gpu["evaluations"]["accuracy"]["device"] = "CPU"
    assert pages._devices([*RECORDS, on_gpu]) == "Evaluated on NVIDIA X: mnist_igr_at (auto).\n"
    assert pages._devices(RECORDS) == ""


def test_the_page_of_records_is_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "_reproduction", lambda found: "")  # it reads every flag file
    variant = record("mnist_trades,beta=3", "trades", 0.9, images={0: 0.9})
    madry, others = record("mnist_madry", "madry", 0.5, images={0: 0.5}), RECORDS[1:]
    for each in (madry, *others, variant, record("mnist_art,seed=1", "art", 0.1)):
        records.results.write_json(tmp_path / "results" / f"fast-{each['network']}.json", each)
    (tmp_path / "results" / "notes.md").write_text("## Remarks\n")
    texts = []
    for _ in range(2):
        path, _ = pages.write(tmp_path / "results")
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    assert "--network=mnist_trades --recipe=fast --examples=0 --auto_examples=20 --accuracy_examples=100" in texts[0]
    # What the tables say comes before them; variants have tables of their own, against the same adversarial training.
    parts = (
        "## Remarks",
        "## mnist",
        "| mart ",
        "| art, seed=1 ",
        "### Variants",
        "| trades, beta=3 ",
        "Less adversarial",
    )
    places = [texts[0].index(part) for part in parts]
    assert places == sorted(places)
