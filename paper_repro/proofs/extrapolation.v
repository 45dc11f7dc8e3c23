(** * The extrapolation bounds: the triangle inequality and Abel's inequality (Eq. 8) *)

From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Pianalysis Require Import common.
Open Scope R_scope.

(** ** Definitions *)

(** [Csum u k] is the sum of the complex [u j] over [0 <= j < k]. *)
Fixpoint Csum (u : nat -> C) (k : nat) : C :=
  match k with
  | O => 0%C
  | S n => (Csum u n + u n)%C
  end.

(** [e^(i s theta_j)]. *)
Definition phase (c : R) (m : nat) (s : R) (j : nat) : C :=
  (cos (s * theta c m j), sin (s * theta c m j)).

(** [A_k(s)], the sum of the first [k] phases. *)
Definition A (c : R) (m : nat) (s : R) (k : nat) : C := Csum (phase c m s) k.

(** [B(s) = sum_(k < m) |A_(k+1)(s)|]. *)
Definition B (c : R) (m : nat) (s : R) : R := Rsum (fun k => Cmod (A c m s (S k))) m.

(** The complex coefficients [h_j], with [h_j = 0] from [j = m] on. *)
Definition coefficient (m : nat) (hr hi : nat -> R) (j : nat) : C :=
  if (j <? m)%nat then (hr j, hi j) else 0%C.

(** [|h_j - h_(j+1)|]. *)
Definition jump (m : nat) (hr hi : nat -> R) (j : nat) : R :=
  Cmod (coefficient m hr hi j - coefficient m hr hi (S j))%C.

(** ** Complex sums *)

Lemma Cmod_Csum u k : Cmod (Csum u k) <= Rsum (fun j => Cmod (u j)) k.
Proof.
  induction k as [|k IH]; simpl; [rewrite Cmod_0; lra|].
  eapply Rle_trans; [apply Cmod_triangle | lra].
Qed.

Lemma Re_le_Cmod z : Rabs (Re z) <= Cmod z.
Proof. eapply Rle_trans; [apply Rmax_l | apply Rmax_Cmod]. Qed.

Lemma Cmod_phase c m s j : Cmod (phase c m s j) = 1.
Proof.
  unfold Cmod, phase; rewrite <- sqrt_1; f_equal; simpl.
  pose proof (sin2_cos2 (s * theta c m j)) as U; unfold Rsqr in U; lra.
Qed.

(** Abel's summation by parts. *)
Lemma Abel_sum (h u : nat -> C) k :
  Csum (fun j => h j * u j)%C k =
  (Csum (fun j => (h j - h (S j)) * Csum u (S j)) k + h k * Csum u k)%C.
Proof.
  induction k as [|k IH]; [simpl; ring|].
  simpl Csum at 1; rewrite IH; simpl; ring.
Qed.

(** ** The coefficients *)

Lemma coefficient_inside m hr hi j : (j < m)%nat -> coefficient m hr hi j = (hr j, hi j).
Proof. intros Hj; unfold coefficient; now rewrite (proj2 (Nat.ltb_lt j m)). Qed.

Lemma coefficient_end m hr hi : coefficient m hr hi m = 0%C.
Proof. unfold coefficient; now rewrite Nat.ltb_irrefl. Qed.

Lemma coefficient_le m hr hi H j :
  0 <= H -> (forall i, (i < m)%nat -> modulus hr hi i <= H) ->
  Cmod (coefficient m hr hi j) <= H.
Proof.
  intros H0 HH; unfold coefficient.
  destruct (Nat.ltb_spec j m); [now apply HH | now rewrite Cmod_0].
Qed.

Lemma jump_le m hr hi H j :
  0 <= H -> (forall i, (i < m)%nat -> modulus hr hi i <= H) -> jump m hr hi j <= 2 * H.
Proof.
  intros H0 HH; unfold jump, Cminus.
  eapply Rle_trans; [apply Cmod_triangle|]; rewrite Cmod_opp.
  pose proof (coefficient_le m hr hi H j H0 HH).
  pose proof (coefficient_le m hr hi H (S j) H0 HH); lra.
Qed.

(** The score is the real part of [sum_j h_j e^(i s theta_j)]. *)
Lemma score_Re c m hr hi s :
  score c m hr hi s = Re (Csum (fun j => coefficient m hr hi j * phase c m s j)%C m).
Proof.
  assert (E : forall k, (k <= m)%nat ->
            Rsum (fun j => wave (hr j) (hi j) (theta c m j) s) k =
            Re (Csum (fun j => coefficient m hr hi j * phase c m s j)%C k)).
  { induction k as [|k IH]; intros Hk; [easy|]; simpl.
    rewrite IH, coefficient_inside by lia; easy. }
  now apply E.
Qed.

(** ** The triangle bound *)

(** Triangle bound: [|a(s)| <= sum_j |h_j|]. *)
Theorem triangle_bound : forall c m hr hi s,
  Rabs (score c m hr hi s) <= Rsum (modulus hr hi) m.
Proof.
  intros; rewrite score_Re.
  eapply Rle_trans; [apply Re_le_Cmod|].
  eapply Rle_trans; [apply Cmod_Csum|].
  apply Rsum_le; intros j Hj.
  rewrite Cmod_mult, Cmod_phase, Rmult_1_r, coefficient_inside by easy.
  apply Rle_refl.
Qed.

Lemma modulus_sum_le m hr hi H :
  (forall j, (j < m)%nat -> modulus hr hi j <= H) -> Rsum (modulus hr hi) m <= INR m * H.
Proof. intros HH; rewrite <- Rsum_const; now apply Rsum_le. Qed.

(** Triangle bound by the largest coefficient: [|a(s)| <= m H = (d/2) H]. *)
Corollary triangle_bound_max : forall c m hr hi H s,
  (forall j, (j < m)%nat -> modulus hr hi j <= H) ->
  Rabs (score c m hr hi s) <= INR m * H.
Proof.
  intros; eapply Rle_trans; [apply triangle_bound | now apply modulus_sum_le].
Qed.

(** ** Abel's inequality *)

(** Abel's inequality (Eq. 8): [|a(s)| <= D B(s)] for any bound [D] on all the
    [|h_j - h_(j+1)|], where [h_m = 0]. *)
Theorem Abel_bound : forall c m hr hi D s,
  (forall j, (j < m)%nat -> jump m hr hi j <= D) ->
  Rabs (score c m hr hi s) <= D * B c m s.
Proof.
  intros c m hr hi D s HD; rewrite score_Re, Abel_sum, coefficient_end, Cmult_0_l, Cplus_0_r.
  eapply Rle_trans; [apply Re_le_Cmod|].
  eapply Rle_trans; [apply Cmod_Csum|].
  unfold B; rewrite <- Rsum_scal; apply Rsum_le; intros j Hj.
  rewrite Cmod_mult; apply Rmult_le_compat_r; [apply Cmod_ge_0 | now apply HD].
Qed.

(** Abel's inequality (Eq. 8) with the maximum itself: [|a(s)| <= max_j |h_j - h_(j+1)| B(s)]. *)
Corollary Abel_bound_max_jump : forall c m hr hi s,
  Rabs (score c m hr hi s) <= Rmaximum (jump m hr hi) m * B c m s.
Proof. intros; apply Abel_bound; intros; now apply Rmaximum_upper. Qed.

(** The last form of Eq. 8: [|a(s)| <= 2 H B(s)] when all [|h_j| <= H]. *)
Corollary Abel_bound_max_modulus : forall c m hr hi H s,
  (0 < m)%nat -> (forall j, (j < m)%nat -> modulus hr hi j <= H) ->
  Rabs (score c m hr hi s) <= 2 * H * B c m s.
Proof.
  intros c m hr hi H s Hm HH; apply Abel_bound; intros j _; apply jump_le; [|easy].
  eapply Rle_trans; [apply (modulus_pos hr hi 0) | now apply HH].
Qed.

(** ** Abel's inequality against the triangle inequality *)

(** [2 B(s) >= m = d/2], since [1 = |A_(k+1) - A_k| <= |A_(k+1)| + |A_k|]. *)
Theorem B_lower : forall c m s, INR m <= 2 * B c m s.
Proof.
  intros c m s; unfold B.
  assert (L : forall k, INR k <= 2 * Rsum (fun j => Cmod (A c m s (S j))) k - Cmod (A c m s k)).
  { induction k as [|k IH]; [unfold A; simpl; rewrite Cmod_0; lra|].
    assert (T : 1 <= Cmod (A c m s (S k)) + Cmod (A c m s k)).
    { rewrite <- (Cmod_phase c m s k), <- (Cmod_opp (A c m s k)).
      replace (phase c m s k) with (A c m s (S k) + - A c m s k)%C
        by (unfold A; simpl; ring).
      apply Cmod_triangle. }
    rewrite S_INR; simpl Rsum; lra. }
  pose proof (L m); pose proof (Cmod_ge_0 (A c m s m)); lra.
Qed.

(** The last form of Eq. 8 never beats the triangle bound: [sum_j |h_j| <= m H <= 2 H B(s)]. *)
Theorem Abel_never_beats_triangle : forall c m hr hi H s,
  (0 < m)%nat -> (forall j, (j < m)%nat -> modulus hr hi j <= H) ->
  Rsum (modulus hr hi) m <= INR m * H <= 2 * H * B c m s.
Proof.
  intros c m hr hi H s Hm HH; split; [now apply modulus_sum_le|].
  assert (H0 : 0 <= H)
    by (eapply Rle_trans; [apply (modulus_pos hr hi 0) | now apply HH]).
  replace (2 * H * B c m s) with (2 * B c m s * H) by ring.
  apply Rmult_le_compat_r; [easy | apply B_lower].
Qed.
