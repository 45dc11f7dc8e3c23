(** * What the main theorems rest on: the statement of each, and the assumptions of all of them
    together, which are those of Coq's classical real numbers and nothing else *)

From Coq Require Import Reals.
From Pianalysis Require Import
  common weighted corrected counterexample sharpness extrapolation
  magnitude worst_case softmax.
Open Scope R_scope.

Check weighted_bound.
Check corrected_bound.
Check corrected_bound_max.
Check repaired_bound.
Check counterexample_128.
Check counterexample_64.
Check theorem_2_1_false_128.
Check theorem_2_1_false_64.
Check corrected_bound_optimal.
Check theorem_2_1_iff.
Check theorem_2_1_false_below.
Check theorem_2_1_false_base_10000.
Check triangle_bound.
Check triangle_bound_max.
Check Abel_bound.
Check Abel_bound_max_jump.
Check Abel_bound_max_modulus.
Check B_lower.
Check Abel_never_beats_triangle.
Check magnitude_bound.
Check magnitude_attained.
Check dual_bound.
Check ellipsoid_bound.
Check weighted_limits.
Check attention_shift.

(** One search through their proofs instead of one each. *)
Definition main_theorems := (
  weighted_bound,
  corrected_bound,
  corrected_bound_max,
  repaired_bound,
  counterexample_128,
  counterexample_64,
  theorem_2_1_false_128,
  theorem_2_1_false_64,
  corrected_bound_optimal,
  theorem_2_1_iff,
  theorem_2_1_false_below,
  theorem_2_1_false_base_10000,
  triangle_bound,
  triangle_bound_max,
  Abel_bound,
  Abel_bound_max_jump,
  Abel_bound_max_modulus,
  B_lower,
  Abel_never_beats_triangle,
  magnitude_bound,
  magnitude_attained,
  dual_bound,
  ellipsoid_bound,
  weighted_limits,
  attention_shift
).

Print Assumptions main_theorems.
