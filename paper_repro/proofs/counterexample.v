(** * Theorem 2.1 as printed is false at the head dimensions 128 and 64 *)

From Coq Require Import Reals Lra Lia.
From Pianalysis Require Import common.
Open Scope R_scope.

(** Theorem 2.1 (Eq. 5) as printed, for head dimension [d = 2 m] and base [c]. *)
Definition Theorem_2_1_as_printed (m : nat) (c : R) : Prop :=
  forall hr hi s1 s s2, s1 < s2 -> s1 <= s <= s2 ->
  Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
  dim m * max_modulus m hr hi * ((s - s1) * (s2 - s)) / (8 * ln c).

(** The printed bound exceeded at [s], between [s1] and [s2]: some coefficients, whose largest
    modulus is [H], give a score that leaves its chord by more than the right-hand side of
    Eq. 5. *)
Definition Printed_bound_exceeded (m : nat) (c s1 s s2 : R) : Prop :=
  s1 < s2 /\ s1 <= s <= s2 /\
  exists hr hi H,
    (forall j, (j < m)%nat -> modulus hr hi j <= H) /\
    (exists j, (j < m)%nat /\ modulus hr hi j = H) /\
    Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) >
    dim m * H * ((s - s1) * (s2 - s)) / (8 * ln c).

(** ** The witness: [h_j = e^(-i t theta_j / 2)] between [0] and [t], at the middle [t/2],
    where all the waves peak together *)

Definition peak_re (c : R) (m : nat) (t : R) (j : nat) : R := cos (t / 2 * theta c m j).
Definition peak_im (c : R) (m : nat) (t : R) (j : nat) : R := - sin (t / 2 * theta c m j).

Lemma peak_modulus c m t j : modulus (peak_re c m t) (peak_im c m t) j = 1.
Proof.
  unfold modulus, peak_re, peak_im.
  rewrite <- sqrt_1; f_equal.
  pose proof (sin2_cos2 (t / 2 * theta c m j)) as U; unfold Rsqr in U; lra.
Qed.

Lemma peak_max_modulus c m t :
  (0 < m)%nat -> max_modulus m (peak_re c m t) (peak_im c m t) = 1.
Proof.
  intros Hm.
  destruct (max_modulus_spec m (peak_re c m t) (peak_im c m t) Hm) as [_ (j & _ & <-)].
  apply peak_modulus.
Qed.

Lemma peak_wave c m t s j :
  wave (peak_re c m t j) (peak_im c m t j) (theta c m j) s = cos ((s - t / 2) * theta c m j).
Proof.
  unfold wave, peak_re, peak_im.
  rewrite Rmult_minus_distr_r, cos_minus; ring.
Qed.

(** The witness leaves its chord by [sum_j (1 - cos (t theta_j / 2))]. *)
Lemma peak_deviation c m t :
  0 < t ->
  let a := score c m (peak_re c m t) (peak_im c m t) in
  a (t / 2) - chord a 0 t (t / 2) = Rsum (fun j => 1 - cos (t / 2 * theta c m j)) m.
Proof.
  intros Ht a; unfold a; rewrite chord_score.
  apply Rsum_ext; intros j _; unfold chord; rewrite !peak_wave.
  replace ((t / 2 - t / 2) * theta c m j) with 0 by ring.
  replace ((0 - t / 2) * theta c m j) with (- (t / 2 * theta c m j)) by ring.
  replace ((t - t / 2) * theta c m j) with (t / 2 * theta c m j) by field.
  rewrite cos_0, cos_neg; field; lra.
Qed.

(** The start of the cosine's series, from below. *)
Lemma cos_gap x : 0 <= x <= 2 -> x ^ 2 / 2 - x ^ 4 / 24 <= 1 - cos x.
Proof.
  intros Hx.
  destruct (pre_cos_bound x 0) as [_ U]; [lra..|].
  unfold cos_approx, cos_term in U; simpl in U; lra.
Qed.

(** The deviation of the witness, from below, by [sum_j theta_j^2]. *)
Lemma peak_lower c m t :
  1 < c -> (0 < m)%nat -> 0 < t <= 2 ->
  t ^ 2 / 8 * (1 - t ^ 2 / 48) * Rsum (fun j => theta c m j ^ 2) m <=
  Rsum (fun j => 1 - cos (t / 2 * theta c m j)) m.
Proof.
  intros Hc Hm Ht.
  rewrite <- Rsum_scal; apply Rsum_le; intros j _.
  pose proof (theta_pos c m j); pose proof (theta_le_1 c m j Hc Hm).
  set (w := theta c m j) in *.
  eapply Rle_trans; [|apply cos_gap].
  - assert (Q : 0 <= t ^ 4 * w ^ 2 * (1 - w ^ 2)).
    { apply Rmult_le_pos; [apply Rmult_le_pos; apply pow_le; lra|].
      pose proof (pow_incr w 1 2); rewrite pow1 in *; lra. }
    lra.
  - split; [apply Rmult_le_pos; lra|].
    replace 2 with (2 / 2 * 2) at 2 by field.
    apply Rmult_le_compat; lra.
Qed.

(** ** The witness at the positions [0], [1/2] and [1] *)

(** The printed bound is exceeded as soon as its constant is below 47/96 of the geometric sum. *)
Lemma peak_exceeds c m :
  1 < c -> (0 < m)%nat ->
  dim m / (8 * ln c) <
    47 / 96 * ((1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m))) ->
  Printed_bound_exceeded m c 0 (1 / 2) 1.
Proof.
  intros Hc Hm Hlt; pose proof (ln_pos c Hc).
  split; [lra|]; split; [lra|].
  exists (peak_re c m 1), (peak_im c m 1), 1.
  split; [intros; rewrite peak_modulus; lra|].
  split; [exists 0%nat; split; [easy | apply peak_modulus]|].
  rewrite peak_deviation by lra.
  pose proof (peak_lower c m 1 Hc Hm ltac:(lra)) as L.
  rewrite theta_square_sum in L by easy.
  eapply Rlt_le_trans; [|apply Rle_abs].
  eapply Rlt_le_trans; [|apply L].
  apply Rle_lt_trans with (dim m / (8 * ln c) / 4); [right; field|]; lra.
Qed.

(** One such case refutes Theorem 2.1 as printed. *)
Lemma exceeds_refutes m c s1 s s2 :
  Printed_bound_exceeded m c s1 s s2 -> ~ Theorem_2_1_as_printed m c.
Proof.
  intros (Hs & Hss & hr & hi & H & Hub & (j & Hj & Ej) & Hgt) T.
  assert (E : max_modulus m hr hi = H).
  { apply Rle_antisym; [|rewrite <- Ej; now apply Rmaximum_upper].
    apply Rmaximum_lub; [rewrite <- Ej; apply modulus_pos | easy]. }
  specialize (T hr hi s1 s s2 Hs Hss); rewrite E in T; lra.
Qed.

(** ** Numerical facts for the base 10000 *)

(** [e <= 3] and [3^33 < 10000^4] give [33/4 <= ln 10000]. *)
Lemma ln_10000_lower : 33 / 4 <= ln 10000.
Proof.
  assert (L3 : 1 <= ln 3).
  { rewrite <- (ln_exp 1); destruct exp_le_3 as [L | ->]; [|lra].
    left; apply ln_increasing; [apply exp_pos | easy]. }
  assert (L : ln (3 ^ 33) < ln (10000 ^ 4)) by (apply ln_increasing; lra).
  rewrite !ln_pow in L by lra; simpl INR in L; lra.
Qed.

(** A lower bound on the [n]-th root of 1/10000 follows from one power of it. *)
Lemma root_lower x n :
  (0 < n)%nat -> 0 < x -> x ^ n < / 10000 -> x < Rpower 10000 (- / INR n).
Proof.
  intros Hn Hx Hp; apply lt_0_INR in Hn.
  apply ln_increasing in Hp; [|now apply pow_lt].
  rewrite ln_pow, ln_Rinv in Hp by lra.
  rewrite <- (exp_ln x Hx); apply exp_increasing.
  apply Rmult_lt_reg_l with (INR n); [easy|].
  replace (INR n * (- / INR n * ln 10000)) with (- ln 10000) by (field; lra); easy.
Qed.

(** When [d = 4 n], the ratio [c^(-4/d)] is the [n]-th root of [1/c]; a lower bound [q] on it
    bounds the geometric sum from below. *)
Lemma geometric_lower m n q :
  (0 < n)%nat -> m = (2 * n)%nat -> 0 < q -> q ^ n < / 10000 ->
  (1 - / 10000) / (1 - q) <=
  (1 - Rpower 10000 (-2)) / (1 - Rpower 10000 (-4 / dim m)).
Proof.
  intros Hn -> Hq Hp.
  pose proof (ratio_lt_1 10000 (2 * n) ltac:(lra) ltac:(lia)) as H1.
  pose proof (root_lower q n Hn Hq Hp) as L.
  apply lt_0_INR in Hn.
  replace (- / INR n) with (-4 / dim (2 * n)) in L
    by (unfold dim; rewrite mult_INR; simpl INR; field; lra).
  assert (E : Rpower 10000 (-2) = / 10000 ^ 2)
    by (rewrite <- Rpower_pow, <- Rpower_Ropp by lra; easy).
  rewrite E; apply Rmult_le_compat; [lra | | lra |].
  - apply Rlt_le, Rinv_0_lt_compat; lra.
  - apply Rinv_le_contravar; lra.
Qed.

Lemma printed_constant_upper m : dim m / (8 * ln 10000) <= dim m / 66.
Proof.
  pose proof ln_10000_lower.
  apply Rmult_le_compat_l; [|apply Rinv_le_contravar; lra].
  pose proof (pos_INR m); unfold dim; lra.
Qed.

Lemma dim_64 : dim 64 = 128.
Proof. unfold dim; simpl INR; lra. Qed.

Lemma dim_32 : dim 32 = 64.
Proof. unfold dim; simpl INR; lra. Qed.

(** ** The refutations *)

(** Eq. 5 fails at head dimension 128 and base 10000, halfway between the positions 0 and 1. *)
Theorem counterexample_128 : Printed_bound_exceeded 64 10000 0 (1 / 2) 1.
Proof.
  apply peak_exceeds; [lra | lia |].
  pose proof (geometric_lower 64 32 (749 / 1000) ltac:(lia) eq_refl ltac:(lra) ltac:(lra)).
  pose proof (printed_constant_upper 64) as U.
  rewrite dim_64 in *; lra.
Qed.

(** Eq. 5 fails at head dimension 64 and base 10000, halfway between the positions 0 and 1. *)
Theorem counterexample_64 : Printed_bound_exceeded 32 10000 0 (1 / 2) 1.
Proof.
  apply peak_exceeds; [lra | lia |].
  pose proof (geometric_lower 32 16 (562 / 1000) ltac:(lia) eq_refl ltac:(lra) ltac:(lra)).
  pose proof (printed_constant_upper 32) as U.
  rewrite dim_32 in *; lra.
Qed.

(** Theorem 2.1 as printed is false at head dimension 128 and base 10000. *)
Theorem theorem_2_1_false_128 : ~ Theorem_2_1_as_printed 64 10000.
Proof. exact (exceeds_refutes _ _ _ _ _ counterexample_128). Qed.

(** Theorem 2.1 as printed is false at head dimension 64 and base 10000. *)
Theorem theorem_2_1_false_64 : ~ Theorem_2_1_as_printed 32 10000.
Proof. exact (exceeds_refutes _ _ _ _ _ counterexample_64). Qed.
