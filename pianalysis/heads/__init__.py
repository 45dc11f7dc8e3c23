"""Real heads: queries and keys of a checkpoint, layer by layer, to measure the bounds on."""

from pianalysis.heads.capture import LayerHeads, visit_layers
from pianalysis.heads.checkpoint import Checkpoint, open_checkpoint

__all__ = ["Checkpoint", "LayerHeads", "open_checkpoint", "visit_layers"]
