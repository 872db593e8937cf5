"""Bounds and certificates of how far a small perturbation can move an attribution.

`upper_bound`: of the linear model of a smooth network (Wang and Kong 2023). `overlap` and `smoothing`: of uniformly
smoothed attributions, with a confidence level. `center_smoothing`: for comparison (Kumar and Goldstein 2021).
`attack` looks for violations, `run` makes files of it all. docs/certification.md says what each number guarantees.
"""
