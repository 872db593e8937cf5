"""Training methods by the names that flags use. A new one is a file here and a line below."""

from rar_tf.registry import Registry

METHODS = Registry(
    "method",
    {
        "natural": "rar_tf.objectives.natural:Natural",
        "madry": "rar_tf.objectives.madry:Madry",
        "ig_norm": "rar_tf.objectives.rar:IGNorm",
        "ig_sum_norm": "rar_tf.objectives.rar:IGSumNorm",
        "rar": "rar_tf.objectives.rar:RAR",
        "cacr_wacr": "rar_tf.objectives.cacr_wacr:CacrWacr",
        "trades": "rar_tf.objectives.trades:TRADES",
        "mart": "rar_tf.objectives.mart:MART",
        "igr_at": "rar_tf.objectives.igr:IGRAT",
        "igr_trades": "rar_tf.objectives.igr:IGRTRADES",
        "igr_mart": "rar_tf.objectives.igr:IGRMART",
        "align_at": "rar_tf.objectives.align:AlignAT",
        "align_trades": "rar_tf.objectives.align:AlignTRADES",
        "align_mart": "rar_tf.objectives.align:AlignMART",
        "art": "rar_tf.objectives.art:ART",
        "aat": "rar_tf.objectives.advaat:AAT",
        "advaat": "rar_tf.objectives.advaat:AdvAAT",
        "ssr": "rar_tf.objectives.ssr:SSR",
        "input_gradient": "rar_tf.objectives.input_gradient:InputGradient",
        "r2et": "rar_tf.objectives.r2et:R2ET",
    },
)
