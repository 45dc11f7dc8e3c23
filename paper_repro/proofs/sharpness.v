(** * When Theorem 2.1 as printed holds: the corrected constant cannot be lowered *)

From Coq Require Import Reals Lra Lia.
From Pianalysis Require Import common corrected counterexample.
Open Scope R_scope.

(** The corrected bound is optimal: a constant [K] that works in its place for all coefficients
    and all intervals is at least half the geometric sum. *)
Theorem corrected_bound_optimal : forall c m K,
  1 < c -> (0 < m)%nat ->
  (forall hr hi s1 s s2, s1 < s2 -> s1 <= s <= s2 ->
     Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
     max_modulus m hr hi * ((s - s1) * (s2 - s)) * K) ->
  (1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m)) / 2 <= K.
Proof.
  intros c m K Hc Hm HK.
  rewrite <- theta_square_sum by easy.
  set (S := Rsum (fun j => theta c m j ^ 2) m).
  assert (B : forall t, 0 < t <= 1 -> (1 - t / 48) * (S / 2) <= K).
  { intros t Ht.
    assert (HS : 0 <= S).
    { rewrite <- (Rmult_0_r (INR m)), <- Rsum_const.
      apply Rsum_le; intros; apply pow2_ge_0. }
    specialize (HK (peak_re c m t) (peak_im c m t) 0 (t / 2) t ltac:(lra) ltac:(lra)).
    rewrite peak_deviation, peak_max_modulus in HK by easy.
    pose proof (peak_lower c m t Hc Hm ltac:(lra)) as L; fold S in L.
    pose proof (Rle_abs (Rsum (fun j => 1 - cos (t / 2 * theta c m j)) m)).
    assert (Ht2 : 0 < t ^ 2) by (apply pow_lt; lra).
    assert (Htt : 0 <= t * (1 - t) * S)
      by (apply Rmult_le_pos; [apply Rmult_le_pos|]; lra).
    apply Rle_trans with ((1 - t ^ 2 / 48) * (S / 2)); [lra|].
    apply Rmult_le_reg_l with (t ^ 2 / 4); lra. }
  apply Rnot_lt_le; intros HlS; fold S in HlS.
  pose proof (B 1 ltac:(lra)) as B1.
  assert (HS : 0 < S) by lra.
  pose proof (B (24 * (S / 2 - K) / S)) as Bt.
  assert (T : (1 - 24 * (S / 2 - K) / S / 48) * (S / 2) = S / 2 - (S / 2 - K) / 4)
    by (field; lra).
  rewrite T in Bt.
  enough (0 < 24 * (S / 2 - K) / S <= 1) by (specialize (Bt ltac:(easy)); lra).
  split; [apply Rdiv_lt_0_compat; lra|].
  apply Rmult_le_reg_r with S; [easy|].
  replace (24 * (S / 2 - K) / S * S) with (24 * (S / 2 - K)) by (field; lra); lra.
Qed.

(** Theorem 2.1 as printed (Eq. 5) holds exactly when its constant [d / (8 ln c)] reaches half
    the geometric sum. *)
Theorem theorem_2_1_iff : forall c m,
  1 < c -> (0 < m)%nat ->
  (Theorem_2_1_as_printed m c <->
   (1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m)) / 2 <= dim m / (8 * ln c)).
Proof.
  intros c m Hc Hm; pose proof (ln_pos c Hc) as Hl; split.
  - intros T; apply corrected_bound_optimal; [easy..|].
    intros hr hi s1 s s2 Hs Hss; specialize (T hr hi s1 s s2 Hs Hss); lra.
  - intros L hr hi s1 s s2 Hs Hss.
    eapply Rle_trans; [now apply corrected_bound_weaker with (K := dim m / (8 * ln c))|].
    right; field; lra.
Qed.

(** Theorem 2.1 as printed is false at every head dimension [d < c^2 ln c] and base [c >= 2]. *)
Theorem theorem_2_1_false_below : forall c m,
  2 <= c -> (0 < m)%nat -> dim m < c ^ 2 * ln c -> ~ Theorem_2_1_as_printed m c.
Proof.
  intros c m Hc Hm Hd T.
  apply theorem_2_1_iff in T; [|lra | easy]; revert T; apply Rlt_not_le.
  pose proof (dim_pos m Hm) as Hd0; pose proof (ln_pos c ltac:(lra)) as Hl.
  pose proof (ratio_lt_1 c m ltac:(lra) Hm) as Hq.
  assert (Hc2 : Rpower c (-2) = / c ^ 2)
    by (rewrite <- Rpower_pow, <- Rpower_Ropp by lra; easy).
  set (y := 4 * ln c / dim m).
  assert (Hy : 0 < y) by (apply Rdiv_lt_0_compat; lra).
  assert (Eq : Rpower c (-4 / dim m) = exp (- y))
    by (unfold Rpower, y; f_equal; field; lra).
  rewrite Eq, Hc2 in *.
  replace (dim m / (8 * ln c)) with (/ y / 2) by (unfold y; field; lra).
  assert (Hsq : 4 <= c ^ 2)
    by (replace 4 with (2 ^ 2) by ring; apply pow_incr; lra).
  assert (Hi4 : / c ^ 2 <= / 4) by (apply Rinv_le_contravar; lra).
  assert (Hiy : / c ^ 2 < y / 4).
  { apply Rmult_lt_reg_l with (c ^ 2 * dim m); [apply Rmult_lt_0_compat; lra|].
    replace (c ^ 2 * dim m * / c ^ 2) with (dim m) by (field; lra).
    replace (c ^ 2 * dim m * (y / 4)) with (c ^ 2 * ln c) by (unfold y; field; lra).
    easy. }
  enough (K : 1 - exp (- y) < y * (1 - / c ^ 2)).
  { apply Rmult_lt_compat_r; [lra|].
    apply Rmult_lt_reg_r with (1 - exp (- y)); [lra|].
    apply Rmult_lt_reg_l with y; [easy|].
    replace (y * (/ y * (1 - exp (- y)))) with (1 - exp (- y)) by (field; lra).
    replace (y * ((1 - / c ^ 2) / (1 - exp (- y)) * (1 - exp (- y))))
      with (y * (1 - / c ^ 2)) by (field; lra).
    easy. }
  destruct (Rle_lt_dec y 2) as [H2 | H2].
  - assert (E : (1 - y / 2) ^ 2 <= exp (- y)).
    { replace (- y) with (- y / 2 + - y / 2) by field; rewrite exp_plus.
      pose proof (exp_ineq1_le (- y / 2)).
      replace ((1 - y / 2) ^ 2) with ((1 - y / 2) * (1 - y / 2)) by ring.
      apply Rmult_le_compat; lra. }
    assert (P : 0 < y * (y / 4 - / c ^ 2)) by (apply Rmult_lt_0_compat; lra).
    lra.
  - pose proof (exp_pos (- y)).
    assert (P : 2 * (3 / 4) <= y * (1 - / c ^ 2)) by (apply Rmult_le_compat; lra).
    lra.
Qed.

(** At base 10000, that is every head dimension up to 800 million. *)
Corollary theorem_2_1_false_base_10000 : forall m,
  (0 < m)%nat -> dim m <= 800000000 -> ~ Theorem_2_1_as_printed m 10000.
Proof.
  intros m Hm Hd; pose proof ln_10000_lower.
  apply theorem_2_1_false_below; [lra | easy | lra].
Qed.
