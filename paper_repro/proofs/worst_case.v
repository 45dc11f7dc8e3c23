(** * The worst case: what its certificates and its closed form rest on

    A head has moderate scores on the trained grid, [|a(n)| <= 1] for [n < L], and moduli of at most
    [H].  How large can [Re sum_j h_j c_j] be, for complex [c_j = (cr j) + i (ci j)]? *)

From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Pianalysis Require Import common magnitude.
Open Scope R_scope.

(** [Re sum_j h_j c_j]. *)
Definition objective (m : nat) (hr hi cr ci : nat -> R) : R :=
  Rsum (fun j => hr j * cr j - hi j * ci j) m.

(** What weights [w] on the grid leave of [c_j], the modulus of
    [c_j - sum_(n < L) w_n e^(i n theta_j)]. *)
Definition rest_re (c : R) (m L : nat) (w cr : nat -> R) (j : nat) : R :=
  cr j - Rsum (fun n => w n * cos (INR n * theta c m j)) L.
Definition rest_im (c : R) (m L : nat) (w ci : nat -> R) (j : nat) : R :=
  ci j - Rsum (fun n => w n * sin (INR n * theta c m j)) L.
Definition rest (c : R) (m L : nat) (w cr ci : nat -> R) (j : nat) : R :=
  sqrt (rest_re c m L w cr j ^ 2 + rest_im c m L w ci j ^ 2).

Lemma Rsum_zero n : Rsum (fun _ => 0) n = 0.
Proof. rewrite Rsum_const; ring. Qed.

Lemma Rsum_nonneg f n : (forall j, (j < n)%nat -> 0 <= f j) -> 0 <= Rsum f n.
Proof. intros Hf; rewrite <- (Rsum_zero n); now apply Rsum_le. Qed.

Lemma Rsum_add f g n : Rsum (fun j => f j + g j) n = Rsum f n + Rsum g n.
Proof. induction n as [|n IH]; simpl; [|rewrite IH]; ring. Qed.

Lemma Rsum_swap (f : nat -> nat -> R) k n :
  Rsum (fun i => Rsum (f i) n) k = Rsum (fun j => Rsum (fun i => f i j) k) n.
Proof.
  induction k as [|k IH]; simpl; [now rewrite Rsum_zero|].
  now rewrite IH, <- Rsum_add.
Qed.

(** The objective in terms of trained scores and of what the weights leave. *)
Lemma objective_split c m L w hr hi cr ci :
  objective m hr hi cr ci =
  Rsum (fun n => w n * score c m hr hi (INR n)) L +
  Rsum (fun j => hr j * rest_re c m L w cr j - hi j * rest_im c m L w ci j) m.
Proof.
  rewrite (Rsum_ext (fun n => w n * score c m hr hi (INR n))
             (fun n => Rsum (fun j => w n * wave (hr j) (hi j) (theta c m j) (INR n)) m) L)
    by (intros; unfold score; now rewrite Rsum_scal).
  rewrite Rsum_swap, <- Rsum_add; unfold objective; apply Rsum_ext; intros j _.
  unfold rest_re, rest_im, wave.
  rewrite (Rsum_ext (fun i => w i * (hr j * cos (INR i * theta c m j) -
                                     hi j * sin (INR i * theta c m j)))
             (fun i => hr j * (w i * cos (INR i * theta c m j)) -
                       hi j * (w i * sin (INR i * theta c m j))) L) by (intros; ring).
  rewrite Rsum_minus, !Rsum_scal; ring.
Qed.

(** Weak duality: any weights on the grid give an upper bound. *)
Theorem dual_bound : forall c m L w hr hi cr ci H,
  (forall n, (n < L)%nat -> Rabs (score c m hr hi (INR n)) <= 1) ->
  (forall j, (j < m)%nat -> modulus hr hi j <= H) ->
  objective m hr hi cr ci <=
  Rsum (fun n => Rabs (w n)) L + H * Rsum (rest c m L w cr ci) m.
Proof.
  intros c m L w hr hi cr ci H Hs Hh.
  rewrite (objective_split c m L w); apply Rplus_le_compat.
  - apply Rsum_le; intros n Hn.
    eapply Rle_trans; [apply Rle_abs|]; rewrite Rabs_mult.
    rewrite <- (Rmult_1_r (Rabs (w n))) at 2.
    apply Rmult_le_compat_l; [apply Rabs_pos | now apply Hs].
  - rewrite <- Rsum_scal; apply Rsum_le; intros j Hj.
    eapply Rle_trans; [apply Rle_abs|].
    eapply Rle_trans; [apply product_le|].
    apply Rmult_le_compat_r; [apply sqrt_pos | now apply Hh].
Qed.

(** Cauchy and Schwarz with weights. *)
Lemma Cauchy_Schwarz g t y n :
  (forall k, (k < n)%nat -> 0 < y k) ->
  Rsum (fun k => g k * t k) n ^ 2 <=
  Rsum (fun k => g k ^ 2 / y k) n * Rsum (fun k => y k * t k ^ 2) n.
Proof.
  intros Hy; induction n as [|n IH]; cbn [Rsum]; [lra|].
  assert (Y : 0 < y n) by (apply Hy; lia).
  assert (Hy' : forall k, (k < n)%nat -> 0 < y k) by (intros; apply Hy; lia).
  specialize (IH Hy').
  assert (G0 : 0 <= Rsum (fun k => g k ^ 2 / y k) n).
  { apply Rsum_nonneg; intros k Hk; apply Rmult_le_pos; [apply pow2_ge_0|].
    left; now apply Rinv_0_lt_compat, Hy'. }
  assert (T0 : 0 <= Rsum (fun k => y k * t k ^ 2) n).
  { apply Rsum_nonneg; intros k Hk; apply Rmult_le_pos; [|apply pow2_ge_0].
    left; now apply Hy'. }
  revert IH G0 T0.
  generalize (Rsum (fun k => g k * t k) n) as S; intros S.
  generalize (Rsum (fun k => g k ^ 2 / y k) n) as G; intros G.
  generalize (Rsum (fun k => y k * t k ^ 2) n) as T; intros T IH G0 T0.
  assert (P : 0 <= G * (y n * t n ^ 2))
    by (apply Rmult_le_pos; [easy | apply Rmult_le_pos; [lra | apply pow2_ge_0]]).
  assert (Q : 0 <= T * (g n ^ 2 / y n)).
  { apply Rmult_le_pos; [easy | apply Rmult_le_pos; [apply pow2_ge_0|]].
    left; now apply Rinv_0_lt_compat. }
  assert (M : 2 * (S * (g n * t n)) <= G * (y n * t n ^ 2) + T * (g n ^ 2 / y n)).
  { apply Rsqr_incr_0_var; [|lra]; unfold Rsqr.
    pose proof (pow2_ge_0 (G * (y n * t n ^ 2) - T * (g n ^ 2 / y n))) as D.
    assert (E : G * (y n * t n ^ 2) * (T * (g n ^ 2 / y n)) = G * T * (g n * t n) ^ 2)
      by (field; lra).
    pose proof (Rmult_le_compat_r ((g n * t n) ^ 2) _ _ (pow2_ge_0 _) IH) as I.
    rewrite <- E in I; revert D I.
    generalize (G * (y n * t n ^ 2)) as p; generalize (T * (g n ^ 2 / y n)) as q.
    intros q p D I; replace (2 * (S * (g n * t n)) * (2 * (S * (g n * t n)))) with
      (4 * (S ^ 2 * (g n * t n) ^ 2)) by ring.
    replace ((p + q) * (p + q)) with ((p - q) ^ 2 + 4 * (p * q)) by ring; lra. }
  replace ((G + g n ^ 2 / y n) * (T + y n * t n ^ 2)) with
    (G * T + (G * (y n * t n ^ 2) + T * (g n ^ 2 / y n)) + (g n * t n) ^ 2) by (field; lra).
  replace ((S + g n * t n) ^ 2) with (S ^ 2 + 2 * (S * (g n * t n)) + (g n * t n) ^ 2) by ring.
  lra.
Qed.

(** The closed form: two ellipsoids, diagonal in one basis (the singular vectors of the grid), the
    mean square of the trained scores [sum_k alpha_k t_k^2 <= 1] and that of the coefficients
    [sum_k beta_k t_k^2 <= 1].  Every share [lambda] bounds a linear form on both. *)
Theorem ellipsoid_bound : forall n g t alpha beta lambda,
  0 <= lambda <= 1 ->
  (forall k, (k < n)%nat -> 0 < lambda * alpha k + (1 - lambda) * beta k) ->
  Rsum (fun k => alpha k * t k ^ 2) n <= 1 ->
  Rsum (fun k => beta k * t k ^ 2) n <= 1 ->
  Rabs (Rsum (fun k => g k * t k) n) <=
  sqrt (Rsum (fun k => g k ^ 2 / (lambda * alpha k + (1 - lambda) * beta k)) n).
Proof.
  intros n g t alpha beta lambda Hl Hy Ha Hb.
  pose proof (Cauchy_Schwarz g t (fun k => lambda * alpha k + (1 - lambda) * beta k) n Hy) as C.
  cbv beta in C.
  assert (W : Rsum (fun k => (lambda * alpha k + (1 - lambda) * beta k) * t k ^ 2) n <= 1).
  { rewrite (Rsum_ext _ (fun k => lambda * (alpha k * t k ^ 2) + (1 - lambda) * (beta k * t k ^ 2)))
      by (intros; ring).
    rewrite Rsum_add, !Rsum_scal; nra. }
  rewrite <- sqrt_Rsqr_abs; apply sqrt_le_1_alt; unfold Rsqr.
  assert (G0 : 0 <= Rsum (fun k => g k ^ 2 / (lambda * alpha k + (1 - lambda) * beta k)) n).
  { apply Rsum_nonneg; intros k Hk; apply Rmult_le_pos; [apply pow2_ge_0|].
    left; now apply Rinv_0_lt_compat, Hy. }
  nra.
Qed.

(** Any weights [y] of sum 1 on the limits bound the dual value, which the updates lower. *)
Theorem weighted_limits : forall n v y,
  (forall k, (k < n)%nat -> 0 < y k) -> Rsum y n = 1 ->
  Rsum (fun k => Rabs (v k)) n <= sqrt (Rsum (fun k => v k ^ 2 / y k) n).
Proof.
  intros n v y Hy Hs.
  pose proof (Cauchy_Schwarz (fun k => Rabs (v k)) (fun _ => 1) y n Hy) as C; cbv beta in C.
  rewrite (Rsum_ext (fun k => y k * 1 ^ 2) y) in C by (intros; ring).
  rewrite Hs, Rmult_1_r in C.
  rewrite (Rsum_ext (fun k => Rabs (v k) * 1) (fun k => Rabs (v k))) in C by (intros; ring).
  rewrite (Rsum_ext (fun k => Rabs (v k) ^ 2 / y k) (fun k => v k ^ 2 / y k)) in C
    by (intros k _; now rewrite pow2_abs).
  rewrite <- (sqrt_Rsqr (Rsum (fun k => Rabs (v k)) n))
    by (apply Rsum_nonneg; intros; apply Rabs_pos).
  apply sqrt_le_1_alt; unfold Rsqr; lra.
Qed.
