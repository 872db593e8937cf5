"""Attacks on predictions and on attributions: objectives, balls, and the one ascent loop."""

from rar_tf.registry import Registry

BALLS = Registry("constraint", {"linf": "rar_tf.attacks.balls:LINF", "l2": "rar_tf.attacks.balls:L2"})
PREDICTION_ATTACKS = Registry(
    "prediction attack",
    {
        **{name: f"rar_tf.attacks.pgd:{name.upper()}" for name in ("pgd", "pgd_l2", "cw", "fgsm", "pgd20", "pgd40")},
        "apgd_ce": "rar_tf.attacks.apgd:APGD_CE",
        "apgd_dlr": "rar_tf.attacks.apgd:APGD_DLR",
        "apgd_t": "rar_tf.attacks.apgd:APGD_T",
        "fab_t": "rar_tf.attacks.fab:FAB_T",
        "square": "rar_tf.attacks.square:SQUARE",
        "autoattack": "rar_tf.attacks.autoattack:AUTOATTACK",
        "autoattack_l2": "rar_tf.attacks.autoattack:AUTOATTACK_L2",
    },
)
OBJECTIVES = Registry(
    "objective",
    {
        "topk": "rar_tf.attacks.objectives:top_k",
        "topk_soft": "rar_tf.attacks.objectives:top_k_soft",
        "mass_center": "rar_tf.attacks.objectives:mass_center",
        "target": "rar_tf.attacks.objectives:target_region",
        "target_map": "rar_tf.attacks.objectives:target_map",
        "random": "rar_tf.attacks.objectives:random_direction",
        "kendall": "rar_tf.attacks.objectives:kendall",
        "kendall_support": "rar_tf.attacks.objectives:kendall_support",
        "spearman": "rar_tf.attacks.objectives:spearman",
        "cosine": "rar_tf.attacks.objectives:cosine",
    },
)
MEASURES = ("kendall", "intersection", "spearman", "mass_center")
ATTRIBUTION_ATTACKS = ("ifia", "auto", "none")
