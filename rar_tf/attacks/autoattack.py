"""AutoAttack, the standard set (Croce and Hein 2020): four attacks that fail for different reasons, nothing to tune.

In order: APGD on the cross-entropy; APGD on the targeted difference-of-logits ratio and FAB, towards the nine strongest
rivals each; Square attack with 5,000 queries. 100 steps, APGD from one random start, FAB from the image. Each is run
on the images that the ones before it left standing.

With fewer than ten classes there are fewer targets. With two or three the targeted ratio is not defined: APGD climbs
the difference of the target's and the label's logits there, and a warning says so. The other three are defined from two
classes on.
"""

from rar_tf import losses
from rar_tf.attacks import apgd, fab, square
from rar_tf.attacks.balls import L2

AUTOATTACK = (*apgd.APGD_CE, *apgd.APGD_T, *fab.FAB_T, *square.SQUARE)
# Without Square attack, whose squares are another algorithm in ℓ2: masked gradients can hide from these three.
AUTOATTACK_L2 = (
    apgd.untargeted("apgd_ce", losses.cross_entropy, ball=L2),
    apgd.towards_targets(ball=L2),
    fab.towards_targets(ball=L2),
)
