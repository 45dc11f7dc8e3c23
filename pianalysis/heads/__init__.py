"""Real heads: a checkpoint's queries and keys, layer by layer, and the bounds measured on them."""

from pianalysis.checkpoints.checkpoint import Checkpoint, open_checkpoint
from pianalysis.checkpoints.extended import extended
from pianalysis.evaluation.likelihood import GapLikelihood, gap_likelihood
from pianalysis.evaluation.passkeys import Passkeys, gap_passkey
from pianalysis.heads.capture import LayerHeads, visit_layers
from pianalysis.heads.measurement import Measurement, measure
from pianalysis.heads.permitted import PermittedScores, permitted_scores
from pianalysis.heads.statistics import HeadStatistics, LayerStatistics, combine, layer_statistics
from pianalysis.heads.summary import HeadSummary, summarise, worst_case_curve

__all__ = [
    "Checkpoint",
    "GapLikelihood",
    "HeadStatistics",
    "HeadSummary",
    "LayerHeads",
    "LayerStatistics",
    "Measurement",
    "Passkeys",
    "PermittedScores",
    "combine",
    "extended",
    "gap_likelihood",
    "gap_passkey",
    "layer_statistics",
    "measure",
    "open_checkpoint",
    "permitted_scores",
    "summarise",
    "visit_layers",
    "worst_case_curve",
]
