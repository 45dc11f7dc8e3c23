(** * The interpolation bound with a right constant *)

From Coq Require Import Reals Lra Lia.
From Pianalysis Require Import common weighted.
Open Scope R_scope.

(** Corrected interpolation bound: Eq. 5 with [d / (8 ln c)] replaced by half of the geometric sum
    [sum_j theta_j^2 = (1 - c^(-2)) / (1 - c^(-4/d))].  [H] is any bound on all [|h_j|]. *)
Theorem corrected_bound : forall c m hr hi H s1 s2 s,
  1 < c -> (0 < m)%nat -> (forall j, (j < m)%nat -> modulus hr hi j <= H) ->
  s1 < s2 -> s1 <= s <= s2 ->
  Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
  H * ((s - s1) * (s2 - s)) / 2 * ((1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m))).
Proof.
  intros c m hr hi H s1 s2 s Hc Hm HH Hs Hss.
  eapply Rle_trans; [now apply weighted_bound|].
  assert (W : Rsum (fun j => modulus hr hi j * theta c m j ^ 2) m <=
              H * Rsum (fun j => theta c m j ^ 2) m).
  { rewrite <- Rsum_scal; apply Rsum_le; intros j Hj.
    apply Rmult_le_compat_r; [apply pow2_ge_0 | now apply HH]. }
  rewrite <- theta_square_sum by easy.
  apply Rle_trans with
    ((s - s1) * (s2 - s) / 2 * (H * Rsum (fun j => theta c m j ^ 2) m)); [|lra].
  apply Rmult_le_compat_l; [|easy].
  assert (0 <= (s - s1) * (s2 - s)) by (apply Rmult_le_pos; lra); lra.
Qed.

(** The same bound with the paper's [max_j |h_j|] for [H]. *)
Corollary corrected_bound_max : forall c m hr hi s1 s2 s,
  1 < c -> (0 < m)%nat -> s1 < s2 -> s1 <= s <= s2 ->
  Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
  max_modulus m hr hi * ((s - s1) * (s2 - s)) / 2 *
  ((1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m))).
Proof.
  intros; apply corrected_bound; try easy; now apply max_modulus_spec.
Qed.

(** The same bound with any larger constant. *)
Lemma corrected_bound_weaker c m hr hi s1 s2 s K :
  1 < c -> (0 < m)%nat -> s1 < s2 -> s1 <= s <= s2 ->
  (1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m)) / 2 <= K ->
  Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
  max_modulus m hr hi * ((s - s1) * (s2 - s)) * K.
Proof.
  intros Hc Hm Hs Hss HK.
  eapply Rle_trans; [now apply corrected_bound_max|].
  unfold Rdiv at 1; rewrite (Rmult_assoc _ (/ 2)), (Rmult_comm (/ 2)).
  apply Rmult_le_compat_l; [|easy].
  apply Rmult_le_pos; [|apply Rmult_le_pos; lra].
  eapply Rle_trans; [apply (modulus_pos hr hi 0) | now apply max_modulus_spec].
Qed.

(** The geometric constant exceeds the printed one by at most 1/2, from [e^y >= 1 + y]. *)
Lemma corrected_constant_le c m :
  1 < c -> (0 < m)%nat ->
  (1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m)) / 2 <= dim m / (8 * ln c) + 1 / 2.
Proof.
  intros Hc Hm.
  pose proof (dim_pos m Hm) as Hd; pose proof (ln_pos c Hc) as Hl.
  pose proof (ratio_lt_1 c m Hc Hm) as Hq; pose proof (exp_pos (-2 * ln c)) as Hc2.
  set (y := 4 * ln c / dim m).
  assert (Hy : 0 < y) by (apply Rdiv_lt_0_compat; lra).
  assert (Eq : Rpower c (-4 / dim m) = / exp y)
    by (rewrite <- exp_Ropp; unfold Rpower, y; f_equal; field; lra).
  assert (Hi : / exp y <= / (1 + y)) by (apply Rinv_le_contravar; [lra | apply exp_ineq1_le]).
  assert (Hs : y / (1 + y) <= 1 - / exp y).
  { replace (y / (1 + y)) with (1 - / (1 + y)) by (field; lra); lra. }
  replace (dim m / (8 * ln c)) with (/ y / 2) by (unfold y; field; lra).
  rewrite Eq in *.
  assert (B : (1 - Rpower c (-2)) / (1 - / exp y) <= / y + 1); [|lra].
  apply Rle_trans with (1 * / (y / (1 + y))); [|right; field; lra].
  apply Rmult_le_compat.
  - pose proof (Rpower_lt c (-2) 0 Hc ltac:(lra)) as L; rewrite Rpower_O in L; lra.
  - apply Rlt_le, Rinv_0_lt_compat; lra.
  - unfold Rpower; lra.
  - apply Rinv_le_contravar; [apply Rdiv_lt_0_compat; lra | easy].
Qed.

(** Eq. 5 repaired in its own form: the printed bound holds with [d / (8 ln c) + 1/2] in place of
    [d / (8 ln c)]. *)
Theorem repaired_bound : forall c m hr hi s1 s2 s,
  1 < c -> (0 < m)%nat -> s1 < s2 -> s1 <= s <= s2 ->
  Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
  max_modulus m hr hi * ((s - s1) * (s2 - s)) * (dim m / (8 * ln c) + 1 / 2).
Proof.
  intros; apply corrected_bound_weaker; try easy; now apply corrected_constant_le.
Qed.
