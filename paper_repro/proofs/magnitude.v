(** * The interpolation error for known moduli: a bound that keeps every frequency's own chord,
    attained over the phases of the coefficients *)

From Coq Require Import Reals Lra.
From Pianalysis Require Import common.
Open Scope R_scope.

(** Real and imaginary part of [e^(i s theta_j)] minus its chord between [s1] and [s2]. *)
Definition gap_re (c : R) (m : nat) (s1 s2 s : R) (j : nat) : R :=
  cos (s * theta c m j) - chord (fun t => cos (t * theta c m j)) s1 s2 s.
Definition gap_im (c : R) (m : nat) (s1 s2 s : R) (j : nat) : R :=
  sin (s * theta c m j) - chord (fun t => sin (t * theta c m j)) s1 s2 s.

(** [|e^(i s theta_j) - chord_j|]. *)
Definition gap (c : R) (m : nat) (s1 s2 s : R) (j : nat) : R :=
  sqrt (gap_re c m s1 s2 s j ^ 2 + gap_im c m s1 s2 s j ^ 2).

(** A wave is linear in its coefficient, and so is its distance from its chord. *)
Lemma wave_gap x y c m s1 s2 s j :
  wave x y (theta c m j) s - chord (wave x y (theta c m j)) s1 s2 s =
  x * gap_re c m s1 s2 s j - y * gap_im c m s1 s2 s j.
Proof.
  unfold gap_re, gap_im, chord, wave.
  generalize ((s - s1) / (s2 - s1)); intros l; simpl; ring.
Qed.

(** Cauchy and Schwarz for one product of complex numbers. *)
Lemma product_le x y a b :
  Rabs (x * a - y * b) <= sqrt (x ^ 2 + y ^ 2) * sqrt (a ^ 2 + b ^ 2).
Proof.
  pose proof (pow2_ge_0 x); pose proof (pow2_ge_0 y).
  rewrite <- sqrt_mult_alt by lra.
  rewrite <- sqrt_Rsqr_abs; apply sqrt_le_1_alt; unfold Rsqr.
  pose proof (pow2_ge_0 (x * b + y * a)).
  replace ((x ^ 2 + y ^ 2) * (a ^ 2 + b ^ 2)) with
    ((x * a - y * b) * (x * a - y * b) + (x * b + y * a) ^ 2) by ring.
  lra.
Qed.

(** The score differs from its chord by at most [sum_j |h_j| |e^(i s theta_j) - chord_j|]. *)
Theorem magnitude_bound : forall c m hr hi s1 s2 s,
  Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
  Rsum (fun j => modulus hr hi j * gap c m s1 s2 s j) m.
Proof.
  intros; rewrite chord_score.
  eapply Rle_trans; [apply Rsum_abs|].
  apply Rsum_le; intros j _.
  rewrite wave_gap; apply product_le.
Qed.

(** For any moduli there are phases that attain it. *)
Theorem magnitude_attained : forall c m s1 s2 s r,
  (forall j, 0 <= r j) ->
  exists hr hi,
    (forall j, modulus hr hi j = r j) /\
    score c m hr hi s - chord (score c m hr hi) s1 s2 s =
    Rsum (fun j => r j * gap c m s1 s2 s j) m.
Proof.
  intros c m s1 s2 s r Hr.
  set (g := gap c m s1 s2 s).
  set (x := gap_re c m s1 s2 s); set (y := gap_im c m s1 s2 s).
  assert (G : forall j, g j * g j = x j ^ 2 + y j ^ 2).
  { intros j; apply sqrt_sqrt; pose proof (pow2_ge_0 (x j)); pose proof (pow2_ge_0 (y j)); lra. }
  assert (P : forall j, 0 <= g j) by (intros; apply sqrt_pos).
  exists (fun j => if Req_EM_T (g j) 0 then r j else r j * x j / g j).
  exists (fun j => if Req_EM_T (g j) 0 then 0 else - (r j * y j / g j)).
  split.
  - intros j; unfold modulus.
    transitivity (sqrt (Rsqr (r j))); [f_equal; unfold Rsqr | now apply sqrt_Rsqr].
    destruct (Req_EM_T (g j) 0) as [Z | Z]; [ring|].
    replace ((r j * x j / g j) ^ 2 + (- (r j * y j / g j)) ^ 2) with
      (r j * r j * ((x j ^ 2 + y j ^ 2) / (g j * g j))) by (field; easy).
    rewrite <- G; field; easy.
  - rewrite chord_score; apply Rsum_ext; intros j _.
    rewrite wave_gap; fold g x y; specialize (G j).
    destruct (Req_EM_T (g j) 0) as [Z | Z].
    + rewrite Z in G |- *.
      assert (X : x j = 0).
      { pose proof (pow2_ge_0 (x j)); pose proof (pow2_ge_0 (y j)).
        apply Rsqr_0_uniq; unfold Rsqr; lra. }
      rewrite X; ring.
    + fold x y.
      replace (r j * x j / g j * x j - - (r j * y j / g j) * y j) with
        (r j * ((x j ^ 2 + y j ^ 2) / g j)) by (field; easy).
      rewrite <- G; field; easy.
Qed.
