"""One page about several evaluations: python scripts/report.py --model_dirs=runs/digits_natural,runs/digits_ig_sum_norm

Takes model directories or evaluation folders; writes report.md with its pictures, and report.html, which holds
everything in one file. It only reads what scripts/evaluate.py wrote. Networks after the first are compared with the
first, image by image; certifications are named.
"""

from absl import flags

flags.DEFINE_string(
    "model_dirs",
    "",
    "model directories or evaluation folders, separated by commas; by semicolons, where a name holds commas: FOLDER;…",
)
flags.DEFINE_string("output_dir", "report", "where report.md, report_figures/ and report.html are written")


def main():
    from rar_tf import checks, files
    from rar_tf.errors import UsageError
    from rar_tf.evaluation import report
    from rar_tf.experiment import flagfile

    folders = flagfile.several(flags.FLAGS.model_dirs)
    if not folders:
        raise UsageError("give --model_dirs, the model directories or evaluation folders to report on")
    output_dir = checks.path(output_dir=flags.FLAGS.output_dir)
    files.require(output_dir, "report")
    found = report.read([checks.path(model_dirs=each) for each in folders])
    files.claim(output_dir, "report")
    for path in report.write(found, output_dir):
        print(f"wrote {path}")
