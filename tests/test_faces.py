"""Names that users import stay where they are, whatever file holds them."""

import importlib
import subprocess
import sys

import pytest

import pianalysis

FACES = {
    "rope": "RopeSpec",
    "extension": "SCHEMES BaseChange DynamicNTK Extension Llama3 LongRoPE NTKAware NTKByParts "
    "PositionInterpolation Proportional Unscaled YaRN extension_from_hf",
    "scores": "LAYOUTS attention_score score_coefficients",
    "precision": "FirstWrong PhaseError first_wrong phase_error",
    "heads": "Checkpoint GapLikelihood HeadStatistics Passkeys HeadSummary LayerHeads "
    "LayerStatistics Measurement combine extended gap_likelihood gap_passkey layer_statistics "
    "measure open_checkpoint summarise visit_layers worst_case_curve",
    "bounds.worst_case": "DualWeights WorstCase worst_case_contrast worst_case_score",
    "bounds.grid": "LocalGridConstant local_grid_constant",
    "bounds.certified": "abel_sum grid_constant interpolation_bound paper_bound_threshold "
    "theta_square_sum",
    "bounds.symbolic": "abel_steps check derivation frequency interpolation_steps latex "
    "rotation_steps table",
}


@pytest.mark.parametrize("face", FACES)
def test_a_face_hands_on_its_names(face):
    module = importlib.import_module(f"pianalysis.{face}")
    missing = [name for name in FACES[face].split() if not hasattr(module, name)]
    assert missing == []


def test_every_public_name_is_there():
    assert len(set(pianalysis.__all__)) == len(pianalysis.__all__) >= 50
    assert [name for name in pianalysis.__all__ if not hasattr(pianalysis, name)] == []


@pytest.mark.parametrize(
    "module",
    [
        *("pianalysis", "pianalysis.finetune"),
        *("paper_repro", "paper_repro.scratch", "paper_repro.small_scale"),
    ],
)
def test_modules_that_run(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")
