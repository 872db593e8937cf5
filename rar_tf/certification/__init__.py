"""Bounds and certificates of how far a small perturbation can move an attribution.

A certificate is a file of `certificates`, with its columns, rows, guarantee and plots, its record in `settings`, and
a line below. The formulas have files of their own: `upper_bound` and `jacobian` (Wang and Kong 2023), `overlap`,
`smoothing`, `limits` and `chi_square` (uniformly smoothed attributions), `ranks`, `curvature`, `center_smoothing`
(Kumar and Goldstein 2021). `attack` looks for violations, `run` makes rows and files of it all.
docs/certification.md says what each number guarantees.
"""

from rar_tf.registry import Registry

CERTIFICATES = Registry(
    "method",
    {
        "upper_bound": "rar_tf.certification.certificates.upper_bound:UpperBound",
        "uniform_smoothing": "rar_tf.certification.certificates.uniform_smoothing:UniformSmoothing",
        "rank_smoothing": "rar_tf.certification.certificates.rank_smoothing:RankSmoothing",
        "curvature": "rar_tf.certification.certificates.curvature:Curvature",
        "center_smoothing": "rar_tf.certification.certificates.center_smoothing:CenterSmoothing",
    },
)
FORMULAS = ("sound", "tangent", "paper")
INTERVALS = ("betting", "concentration", "chi_square")
NORMALIZATIONS = ("unit", "clip", "lipschitz")
NOISES = ("uniform", "gaussian")
FEATURES = ("top_k", "clipped")
GRADIENT_BOUNDS = ("curvature", "intervals")
