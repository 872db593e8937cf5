"""The main job on the embedded digits: train naturally and with IG-SUM-NORM, evaluate both, show one table."""
import json
import pathlib
import shlex
import subprocess
import sys
import time

METHODS = ("natural", "ig_sum_norm")
FIGURES = ("topk_intersection", "kendall")
SCRIPTS = pathlib.Path(__file__).resolve().parent
ROOT = SCRIPTS.parent


def run(script, *arguments):
    """Run one of the scripts and show its command; stop where it fails."""
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    print(f"\n$ python scripts/{script} {shlex.join(arguments)}", flush=True)
    status = subprocess.call(command, cwd=ROOT)
    if status:
        sys.exit(status)


def row(method, summary):
    cells = [f"{summary['natural_accuracy']:.1%}", f"{summary['adversarial_accuracy']:.1%}"]
    for figure in FIGURES:
        low, high = summary[figure]["ci95"]
        cells.append(f"{summary[figure]['mean']:.3f} [{low:.3f}, {high:.3f}]")
    return f"{method:<14}{cells[0]:>9}{cells[1]:>13}{cells[2]:>26}{cells[3]:>26}"


def main():
    began = time.monotonic()
    summaries = {}
    for method in METHODS:
        folder = f"runs/quickstart_{method}"
        run("train.py", f"--flagfile=flags/digits_{method}.cfg", f"--model_dir={folder}")
        run("evaluate.py", f"--model_dir={folder}")
        summaries[method] = json.loads((ROOT / folder / "evaluation" / "summary.json").read_text())
    print(f"\n{'':<14}{'natural':>9}{'adversarial':>13}{'top-k intersection':>26}{'Kendall':>26}")
    print(f"{'':<14}{'accuracy':>9}{'accuracy':>13}{'[95 % interval]':>26}{'[95 % interval]':>26}")
    for method, summary in summaries.items():
        print(row(method, summary))
    print(f"\n{time.monotonic() - began:.0f} s. Written, for each of the two:")
    for what, where in (("maps before and after the attack", "evaluation/maps.png"), ("TensorBoard events", "tensorboard"),
                        ("SavedModel", "saved_model"), ("scores by image", "evaluation/examples.csv")):
        print(f"  {what:<34}" + "  ".join(f"runs/quickstart_{method}/{where}" for method in METHODS))


if __name__ == "__main__":
    main()
