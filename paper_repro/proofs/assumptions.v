(** * What the main theorems rest on: the statement and the assumptions of each, which
    are those of Coq's classical real numbers and nothing else *)

From Coq Require Import Reals.
From Pianalysis Require Import
  common weighted corrected counterexample sharpness extrapolation
  magnitude worst_case softmax.
Open Scope R_scope.

Check weighted_bound.
Print Assumptions weighted_bound.

Check corrected_bound.
Print Assumptions corrected_bound.

Check corrected_bound_max.
Print Assumptions corrected_bound_max.

Check repaired_bound.
Print Assumptions repaired_bound.

Check counterexample_128.
Print Assumptions counterexample_128.

Check counterexample_64.
Print Assumptions counterexample_64.

Check theorem_2_1_false_128.
Print Assumptions theorem_2_1_false_128.

Check theorem_2_1_false_64.
Print Assumptions theorem_2_1_false_64.

Check corrected_bound_optimal.
Print Assumptions corrected_bound_optimal.

Check theorem_2_1_iff.
Print Assumptions theorem_2_1_iff.

Check theorem_2_1_false_below.
Print Assumptions theorem_2_1_false_below.

Check theorem_2_1_false_base_10000.
Print Assumptions theorem_2_1_false_base_10000.

Check triangle_bound.
Print Assumptions triangle_bound.

Check triangle_bound_max.
Print Assumptions triangle_bound_max.

Check Abel_bound.
Print Assumptions Abel_bound.

Check Abel_bound_max_jump.
Print Assumptions Abel_bound_max_jump.

Check Abel_bound_max_modulus.
Print Assumptions Abel_bound_max_modulus.

Check B_lower.
Print Assumptions B_lower.

Check Abel_never_beats_triangle.
Print Assumptions Abel_never_beats_triangle.

Check magnitude_bound.
Print Assumptions magnitude_bound.

Check magnitude_attained.
Print Assumptions magnitude_attained.

Check dual_bound.
Print Assumptions dual_bound.

Check ellipsoid_bound.
Print Assumptions ellipsoid_bound.

Check weighted_limits.
Print Assumptions weighted_limits.

Check attention_shift.
Print Assumptions attention_shift.
