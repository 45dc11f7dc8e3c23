(** * The interpolation error weighted by the frequencies *)

From Coq Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From Pianalysis Require Import common.
Open Scope R_scope.

(** A rotating coefficient never exceeds its modulus (Cauchy-Schwarz). *)
Lemma wave_le_modulus x y w s : Rabs (wave x y w s) <= sqrt (x ^ 2 + y ^ 2).
Proof.
  rewrite <- sqrt_Rsqr_abs; apply sqrt_le_1_alt; unfold wave, Rsqr.
  pose proof (sin2_cos2 (s * w)) as U; unfold Rsqr in U.
  pose proof (pow2_ge_0 (x * sin (s * w) + y * cos (s * w))).
  replace (x ^ 2 + y ^ 2) with
    ((x ^ 2 + y ^ 2) * (sin (s * w) * sin (s * w) + cos (s * w) * cos (s * w)))
    by (rewrite U; ring).
  lra.
Qed.

(** One frequency: the second derivative of a wave of frequency [w] is [-w^2] times the wave. *)
Lemma wave_chord x y w s1 s2 s :
  s1 < s2 -> s1 <= s <= s2 ->
  Rabs (wave x y w s - chord (wave x y w) s1 s2 s) <=
  sqrt (x ^ 2 + y ^ 2) * w ^ 2 / 2 * ((s - s1) * (s2 - s)).
Proof.
  apply interpolation_error with
    (f' := fun t => - w * (x * sin (t * w) + y * cos (t * w)))
    (f'' := fun t => - w ^ 2 * wave x y w t).
  - intros t; unfold wave; auto_derive; [easy | ring].
  - intros t; unfold wave; auto_derive; [easy | ring].
  - intros t.
    rewrite Rabs_mult, Rabs_Ropp, (Rabs_pos_eq (w ^ 2)), Rmult_comm by apply pow2_ge_0.
    apply Rmult_le_compat_r; [apply pow2_ge_0 | apply wave_le_modulus].
Qed.

(** Weighted interpolation bound: between [s1] and [s2] the score differs from its chord by at
    most [(s - s1)(s2 - s)/2 * sum_j |h_j| theta_j^2].  It replaces the right-hand side of Eq. 5
    by one that keeps every coefficient. *)
Theorem weighted_bound : forall c m hr hi s1 s2 s,
  s1 < s2 -> s1 <= s <= s2 ->
  Rabs (score c m hr hi s - chord (score c m hr hi) s1 s2 s) <=
  (s - s1) * (s2 - s) / 2 * Rsum (fun j => modulus hr hi j * theta c m j ^ 2) m.
Proof.
  intros c m hr hi s1 s2 s Hs Hss.
  rewrite chord_score, <- Rsum_scal.
  eapply Rle_trans; [apply Rsum_abs|].
  apply Rsum_le; intros j _.
  eapply Rle_trans; [now apply wave_chord | unfold modulus; lra].
Qed.
