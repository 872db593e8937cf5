"""How alike two maps of the same image are: pure numpy functions over rows.

Top-k intersection, Kendall and Spearman: Chen et al. 2019, Section 5. Cosine, Pearson, the gamma of Goodman and Kruskal
(1954) and activation consistency: Wang and Kong 2022. LENS recall and precision: Kamath et al. 2024. Gini: Chalasani et
al. 2020. Relative stability: Agarwal et al. 2022.

Every function of two maps takes [N, D] and [N, D] and gives [N]. A correlation that is undefined, since a map is
constant, counts as 0: such maps agree on no order.
"""

import numpy as np
from scipy import ndimage, stats

from rar_tf import checks
from rar_tf.errors import UsageError

RESOLUTION = 8 * float(np.finfo(np.float32).eps)  # of a map's largest value; a sum's rounding is some ε of its terms


def topk_intersection(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """Return the share of the k largest features of one map that are among the k largest of the other.

    Shape: [N, D], [N, D] -> [N], in [0, 1].

    Raises: UsageError where k is not in 1 … D.
    """
    shared = top_k_set(first, k) & top_k_set(second, k)
    return shared.sum(axis=1) / k


def top_k_set(maps: np.ndarray, k: int) -> np.ndarray:
    """Return a boolean mask of the k largest features. Shape: [N, D] -> [N, D].

    Raises: UsageError where k is not in 1 … D.
    """
    check_k(k, maps.shape[1])
    mask = np.zeros(maps.shape, bool)
    np.put_along_axis(mask, np.argsort(maps, axis=1, kind="stable")[:, -k:], True, axis=1)
    return mask


def check_k(k: int, features: int, name: str = "k") -> None:
    """Raise a UsageError where k is not in 1 … features."""
    if not 1 <= k <= features:
        raise UsageError(f"{name} must be in 1 … {features}, the number of features of a map; got {k}")


def kendall(first: np.ndarray, second: np.ndarray, variant: str = "b") -> np.ndarray:
    """Return Kendall's rank correlation of each pair of rows.

    Shape: [N, D], [N, D] -> [N], in [-1, 1].

    Args:
      variant: "b" corrects for ties and is 1 for equal maps; "a" divides by all pairs (Wang and Kong 2022, Eq. (2)).

    Raises: UsageError for another variant.
    """
    checks.one_of(("a", "b"), variant=variant)
    tau = np.array([_tau_b(a, b) for a, b in zip(first, second)])
    if variant == "b" or first.shape[1] < 2:
        return tau
    pairs = first.shape[1] * (first.shape[1] - 1) / 2
    untied = [np.sqrt((pairs - _tied_pairs(a)) * (pairs - _tied_pairs(b))) for a, b in zip(first, second)]
    return tau * np.array(untied) / pairs


def kendall_support(clean: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b over the features whose clean attribution is not zero.

    On images with a black background, breaking the ties of the background's zeros alone lowers tau-b over all
    features; this is what remains without them.

    Shape: [N, D], [N, D] -> [N].
    """
    return _kendall_within(clean != 0, clean, perturbed)


def kendall_foreground(
    clean: np.ndarray, perturbed: np.ndarray, images: np.ndarray, epsilon: float, black: float = 0.0
) -> np.ndarray:
    """Return Kendall's tau-b over the features of pixels that no change by `epsilon` makes black.

    The support of `kendall_support` is that of each network's own map; these are the same pixels for all networks.

    Shape: [N, D], [N, D], images [N, H, W, C] -> [N]; of maps by pixel a pixel counts with its brightest channel.

    Args:
      epsilon: the budget. black: the pixel value that stands for nothing, in the same unit.
    """
    return _kendall_within(_of_features(np.asarray(images) - black > epsilon, clean.shape), clean, perturbed)


def unresolved(maps: np.ndarray, images: np.ndarray, baseline: float = 0.0) -> np.ndarray:
    """Return the share of features that have a pixel other than the baseline, and an attribution that is only rounding.

    That is one below 8 ε of float32 of the map's largest: an exact zero where sums are taken in one order, noise where
    in another, as on another device. Ranks among such features say nothing of the network.

    Shape: maps [N, D], images [N, H, W, C] -> [N], in [0, 1]; of maps by pixel a pixel counts with any of its channels.

    Args:
      images: what the maps are of. baseline: the pixel value whose attribution is zero by definition, in their unit.
    """
    sizes = np.abs(maps)
    lost = sizes <= RESOLUTION * sizes.max(axis=1, keepdims=True)
    return np.mean(lost & _of_features(np.asarray(images) != baseline, maps.shape), axis=1)


def _of_features(pixels, shape):
    """A mask [N, H, W, C] as one of maps [N, D]: of maps by pixel one of any channel."""
    whole = pixels if shape[1] == np.prod(pixels.shape[1:]) else np.any(pixels, axis=-1)
    return whole.reshape(shape)


def _kendall_within(mask, clean, perturbed):
    return np.array([_tau_b(a[inside], b[inside]) for inside, a, b in zip(mask, clean, perturbed)])


def _tau_b(a, b):
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    if len(a) == 2:  # scipy divides by len − 2 for a p-value that nobody asks for
        return float(np.sign((a[1] - a[0]) * (b[1] - b[0])))
    return float(stats.kendalltau(a, b, method="asymptotic").statistic)


def _tied_pairs(*columns):
    """Number of pairs of entries that are equal in every one of the columns."""
    counts = np.unique(np.stack(columns), axis=1, return_counts=True)[1].astype(np.float64)
    return np.sum(counts * (counts - 1)) / 2


def goodman_kruskal_gamma(x: np.ndarray, y: np.ndarray) -> float:
    """Return (C − D) / (C + D) over the concordant and discordant pairs of two sequences; ties count for neither.

    Shape: [N], [N] -> a number in [-1, 1], 0 where every pair is tied.
    """
    pairs = len(x) * (len(x) - 1) / 2
    tied_x, tied_y = _tied_pairs(x), _tied_pairs(y)
    difference = _tau_b(x, y) * np.sqrt((pairs - tied_x) * (pairs - tied_y))
    total = pairs - tied_x - tied_y + _tied_pairs(x, y)
    return float(difference / total) if total > 0 else 0.0


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation, equals sharing their mean rank. Shape: [N, D], [N, D] -> [N]."""
    return pearson(stats.rankdata(first, axis=1), stats.rankdata(second, axis=1))


def spearman_support(clean: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation over the features whose clean attribution is not zero; 0 for fewer than two.

    Shape: [N, D], [N, D] -> [N].
    """
    pairs = [(a[a != 0][None], b[a != 0][None]) for a, b in zip(clean, other)]
    return np.array([spearman(a, b)[0] if a.size > 1 else 0.0 for a, b in pairs])


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation. Shape: [N, D], [N, D] -> [N]."""
    return cosine(*(_centred(np.asarray(m, np.float64)) for m in (first, second)))


def _centred(maps):
    """Less their means; zeros where they are constant, whose mean may be another number in the last digit."""
    return np.where(np.ptp(maps, axis=1, keepdims=True) > 0, maps - maps.mean(axis=1, keepdims=True), 0.0)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between rows, 0 where one is zero. Shape: [N, D], [N, D] -> [N]."""
    first, second = (np.asarray(m, np.float64) for m in (first, second))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.sum(first * second, axis=1)
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)


def mass_center_distance(
    first: np.ndarray, second: np.ndarray, shape: tuple[int, int], *, truncate: bool = False
) -> np.ndarray:
    """Return the distance of two maps' centres of mass, in pixels, of the channel-summed absolute maps.

    Shape: [N, H·W] or [N, H·W·C] twice -> [N].

    Args:
      truncate: cut the centres to whole pixels first, as the 2019 reference does.
    """
    centers = [_mass_center(channel_sums(m, shape)) for m in (first, second)]
    if truncate:
        centers = [np.trunc(center) for center in centers]
    return np.linalg.norm(centers[0] - centers[1], axis=1)


def _mass_center(maps):
    total = maps.sum(axis=(1, 2))
    moments = np.stack(
        [
            np.tensordot(maps.sum(axis=2), np.arange(maps.shape[1]), 1),
            np.tensordot(maps.sum(axis=1), np.arange(maps.shape[2]), 1),
        ],
        axis=1,
    )
    return np.divide(moments, total[:, None], out=np.zeros_like(moments), where=total[:, None] > 0)


def channel_sums(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return maps of either protocol as absolute values summed over channels. Shape: [N, H·W·(C)] -> [N, H, W]."""
    return np.abs(np.asarray(maps, np.float64)).reshape(len(maps), *shape, -1).sum(axis=-1)


def lens_recall(
    clean: np.ndarray, perturbed: np.ndarray, k: int, shape: tuple[int, int], *, diverse: bool = False
) -> np.ndarray:
    """Return |dilate₃ₓ₃(top-k of the clean map) ∩ top-k of the perturbed map| / k: a pixel beside counts as found.

    Shape: [N, H·W·(C)], same -> [N], in [0, 1].

    Args:
      shape: (H, W).
      diverse: take `top_k_diverse` sets instead of the k largest pixels; of fewer than k, the share of these.

    Raises: UsageError where k is not in 1 … H·W.
    """
    near, far = (_grid_top_k(m, k, shape, diverse) for m in (clean, perturbed))
    near = np.array([ndimage.binary_dilation(mask, np.ones((3, 3))) for mask in near]).reshape(far.shape)
    return (near & far).sum(axis=(1, 2)) / np.maximum(far.sum(axis=(1, 2)), 1)


def lens_precision(
    clean: np.ndarray, perturbed: np.ndarray, k: int, shape: tuple[int, int], *, diverse: bool = False
) -> np.ndarray:
    """Return |top-k of the clean map ∩ dilate₃ₓ₃(top-k of the perturbed map)| / k; else as `lens_recall`."""
    return lens_recall(perturbed, clean, k, shape, diverse=diverse)


def _grid_top_k(maps, k, shape, diverse):
    grid = channel_sums(maps, shape)
    if diverse:
        return np.array([top_k_diverse(each, k) for each in grid]).reshape(grid.shape)
    return top_k_set(grid.reshape(len(grid), -1), k).reshape(grid.shape)


def top_k_diverse(grid: np.ndarray, k: int) -> np.ndarray:
    """Return up to k pixels, greedily the highest first, none within the 3×3 window of another.

    Shape: [H, W] -> bool [H, W].
    """
    check_k(k, grid.size)
    free, chosen = np.ones(grid.shape, bool), np.zeros(grid.shape, bool)
    for pixel in np.argsort(-grid, axis=None, kind="stable"):
        row, column = np.unravel_index(pixel, grid.shape)
        if not free[row, column]:
            continue
        chosen[row, column] = True
        free[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = False
        k -= 1
        if k == 0:
            break
    return chosen


def gini(maps: np.ndarray) -> np.ndarray:
    """Return the Gini index of each map's absolute values (Chalasani et al. 2020): 0 all alike, towards 1 few of them.

    Shape: [N, D] -> [N]; a map of zeros has 0.
    """
    values = np.sort(np.abs(np.asarray(maps, np.float64)), axis=1)
    count, total = values.shape[1], values.sum(axis=1)
    below = 2 * np.arange(1, count + 1) - count - 1
    return np.divide(values @ below, count * total, out=np.zeros(len(values)), where=total > 0)


def relative_change(before: np.ndarray, after: np.ndarray, smallest: float = 1e-6) -> np.ndarray:
    """Return ‖(before − after) / before‖₂ by elements (Agarwal et al. 2022); of zeros, `smallest` divides.

    Shape: [N, …], same -> [N].
    """
    before, after = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (before, after))
    return np.linalg.norm((before - after) / np.where(before == 0, smallest, before), axis=1)


def activation_consistency(active: float, active_perturbed: float, active_both: float) -> float:
    """Return P(A∩B) / sqrt(P(A) P(B)) of the events that a rectifier is active at x and at x̃ (Wang and Kong 2022, 6.4).

    The arguments are counts over all units and samples; 0 where a network has no active unit.
    """
    norm = np.sqrt(float(active) * float(active_perturbed))
    return float(active_both / norm) if norm > 0 else 0.0


def bootstrap_interval(
    values: np.ndarray, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean. Shape: [N] -> (low, high)."""
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [values[rng.integers(0, len(values), (500, len(values)))].mean(axis=1) for _ in range(-(-resamples // 500))]
    )[:resamples]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def median_interval(values: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Return the two values between which the median lies with at least that probability, whatever they are drawn from.

    By the number below it, which is binomial; of fewer than six values the least and the largest, which hold it less
    often than in 95 %. Shape: [N] -> (low, high).
    """
    ordered = np.sort(np.asarray(values, np.float64))
    place = max(int(stats.binom.ppf((1 - level) / 2, len(ordered), 0.5)) - 1, 0)
    return float(ordered[place]), float(ordered[-1 - place])
