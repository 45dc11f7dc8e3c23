(** * Setting of "Extending Context Window of LLMs via Positional Interpolation"
    (arXiv:2306.15595): the attention score of rotary embeddings, its chord, and the facts that
    every other file of this folder uses.

    The head dimension is [d = 2 m], so there are [m] pairs of coordinates.  The complex
    coefficient [h_j] of pair [j] is given by its real part [hr j] and imaginary part [hi j]. *)

From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
Open Scope R_scope.

(** ** Definitions *)

(** [Rsum f m] is the sum of [f j] over [0 <= j < m]. *)
Fixpoint Rsum (f : nat -> R) (m : nat) : R :=
  match m with
  | O => 0
  | S k => Rsum f k + f k
  end.

(** [Rmaximum f m] is the largest of 0 and the [f j] with [0 <= j < m]; for non-negative [f] and
    [m >= 1] it is the maximum, as [Rmaximum_upper] and [Rmaximum_attained] say. *)
Fixpoint Rmaximum (f : nat -> R) (m : nat) : R :=
  match m with
  | O => 0
  | S k => Rmax (Rmaximum f k) (f k)
  end.

(** The head dimension [d]. *)
Definition dim (m : nat) : R := 2 * INR m.

(** The rotary frequencies, [theta_j = c^(-2j/d)]. *)
Definition theta (c : R) (m j : nat) : R := Rpower c (- (2 * INR j) / dim m).

(** The real part of [(x + i y) e^(i s w)]. *)
Definition wave (x y w s : R) : R := x * cos (s * w) - y * sin (s * w).

(** The attention score [a(s)], the real part of [sum_j h_j e^(i s theta_j)]. *)
Definition score (c : R) (m : nat) (hr hi : nat -> R) (s : R) : R :=
  Rsum (fun j => wave (hr j) (hi j) (theta c m j) s) m.

(** [|h_j|]. *)
Definition modulus (hr hi : nat -> R) (j : nat) : R := sqrt (hr j ^ 2 + hi j ^ 2).

(** [max_j |h_j|]. *)
Definition max_modulus (m : nat) (hr hi : nat -> R) : R := Rmaximum (modulus hr hi) m.

(** The chord of [f] between [s1] and [s2]: the paper's [a_linear] when [f] is the score. *)
Definition chord (f : R -> R) (s1 s2 s : R) : R :=
  let lambda := (s - s1) / (s2 - s1) in (1 - lambda) * f s1 + lambda * f s2.

(** ** Finite sums and maxima *)

Lemma Rsum_ext f g m :
  (forall j, (j < m)%nat -> f j = g j) -> Rsum f m = Rsum g m.
Proof.
  induction m as [|m IH]; intros E; simpl; [easy|].
  rewrite IH, E; auto.
Qed.

Lemma Rsum_le f g m :
  (forall j, (j < m)%nat -> f j <= g j) -> Rsum f m <= Rsum g m.
Proof.
  induction m as [|m IH]; intros E; simpl; [lra|].
  apply Rplus_le_compat; auto.
Qed.

Lemma Rsum_scal k f m : Rsum (fun j => k * f j) m = k * Rsum f m.
Proof. induction m as [|m IH]; simpl; [|rewrite IH]; ring. Qed.

Lemma Rsum_minus f g m : Rsum (fun j => f j - g j) m = Rsum f m - Rsum g m.
Proof. induction m as [|m IH]; simpl; [|rewrite IH]; ring. Qed.

Lemma Rsum_const k m : Rsum (fun _ => k) m = INR m * k.
Proof.
  induction m as [|m IH]; [simpl; ring|].
  rewrite S_INR; simpl; rewrite IH; ring.
Qed.

Lemma Rsum_abs f m : Rabs (Rsum f m) <= Rsum (fun j => Rabs (f j)) m.
Proof.
  induction m as [|m IH]; simpl; [rewrite Rabs_R0; lra|].
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

Lemma Rsum_pow q m : q <> 1 -> Rsum (fun j => q ^ j) m = (1 - q ^ m) / (1 - q).
Proof.
  intros Hq; induction m as [|m IH]; simpl; [|rewrite IH]; field; lra.
Qed.

Lemma Rmaximum_upper f m j : (j < m)%nat -> f j <= Rmaximum f m.
Proof.
  induction m as [|m IH]; intros Hj; [lia|]; simpl.
  destruct (Nat.eq_dec j m) as [-> | ?]; [apply Rmax_r|].
  eapply Rle_trans; [apply IH; lia | apply Rmax_l].
Qed.

Lemma Rmaximum_lub f m B :
  0 <= B -> (forall j, (j < m)%nat -> f j <= B) -> Rmaximum f m <= B.
Proof.
  intros HB; induction m as [|m IH]; intros E; simpl; [easy|].
  apply Rmax_lub; auto.
Qed.

Lemma Rmaximum_attained f m :
  (0 < m)%nat -> (forall j, (j < m)%nat -> 0 <= f j) ->
  exists j, (j < m)%nat /\ f j = Rmaximum f m.
Proof.
  induction m as [|m IH]; intros Hm Hf; [lia|]; simpl.
  destruct (Rle_dec (Rmaximum f m) (f m)) as [L | L].
  - exists m; split; [lia | now rewrite Rmax_right].
  - destruct m as [|m]; [exfalso; apply L, Hf; lia|].
    destruct IH as (j & Hj & Ej); [lia | auto |].
    exists j; split; [lia | rewrite Rmax_left; lra].
Qed.

(** ** The moduli *)

Lemma modulus_pos hr hi j : 0 <= modulus hr hi j.
Proof. apply sqrt_pos. Qed.

(** [max_modulus] is the maximum of the [|h_j|]: an upper bound that is attained. *)
Lemma max_modulus_spec m hr hi :
  (0 < m)%nat ->
  (forall j, (j < m)%nat -> modulus hr hi j <= max_modulus m hr hi) /\
  (exists j, (j < m)%nat /\ modulus hr hi j = max_modulus m hr hi).
Proof.
  split; intros; [now apply Rmaximum_upper|].
  apply Rmaximum_attained; auto using modulus_pos.
Qed.

(** ** The frequencies *)

Lemma dim_pos m : (0 < m)%nat -> 0 < dim m.
Proof. intros Hm; apply lt_0_INR in Hm; unfold dim; lra. Qed.

Lemma ln_pos c : 1 < c -> 0 < ln c.
Proof. intros Hc; rewrite <- ln_1; apply ln_increasing; lra. Qed.

Lemma theta_pos c m j : 0 < theta c m j.
Proof. apply exp_pos. Qed.

Lemma theta_le_1 c m j : 1 < c -> (0 < m)%nat -> theta c m j <= 1.
Proof.
  intros Hc Hm; pose proof (dim_pos m Hm); pose proof (pos_INR j).
  rewrite <- (Rpower_O c) by lra.
  apply Rle_Rpower; [lra|].
  unfold Rdiv; rewrite Ropp_mult_distr_l_reverse.
  assert (0 <= 2 * INR j * / dim m); [|lra].
  apply Rmult_le_pos; [lra | now apply Rlt_le, Rinv_0_lt_compat].
Qed.

(** The ratio [c^(-4/d)] of consecutive squared frequencies. *)
Lemma ratio_lt_1 c m : 1 < c -> (0 < m)%nat -> Rpower c (-4 / dim m) < 1.
Proof.
  intros Hc Hm; pose proof (dim_pos m Hm).
  rewrite <- (Rpower_O c) by lra.
  apply Rpower_lt; [easy|].
  apply Ropp_lt_cancel; rewrite Ropp_0.
  replace (- (-4 / dim m)) with (4 / dim m) by (field; lra).
  apply Rdiv_lt_0_compat; lra.
Qed.

(** The squared frequencies are a geometric sequence; their sum is
    [(1 - c^(-2)) / (1 - c^(-4/d))]. *)
Lemma theta_square_sum c m :
  1 < c -> (0 < m)%nat ->
  Rsum (fun j => theta c m j ^ 2) m = (1 - Rpower c (-2)) / (1 - Rpower c (-4 / dim m)).
Proof.
  intros Hc Hm; pose proof (dim_pos m Hm); pose proof (ratio_lt_1 c m Hc Hm).
  assert (P : forall k, Rpower c (-4 / dim m) ^ k = Rpower c (-4 / dim m * INR k))
    by (intros; rewrite <- Rpower_pow, Rpower_mult by apply exp_pos; easy).
  rewrite (Rsum_ext _ (fun j => Rpower c (-4 / dim m) ^ j)).
  - rewrite Rsum_pow, P by lra.
    do 3 f_equal; unfold dim in *; field; lra.
  - intros j _; unfold theta.
    rewrite P, <- Rpower_pow, Rpower_mult by apply exp_pos.
    f_equal; simpl; field; lra.
Qed.

(** ** Chords *)

Lemma chord_score c m hr hi s1 s2 s :
  score c m hr hi s - chord (score c m hr hi) s1 s2 s =
  Rsum (fun j => wave (hr j) (hi j) (theta c m j) s -
                 chord (wave (hr j) (hi j) (theta c m j)) s1 s2 s) m.
Proof.
  unfold score, chord; rewrite Rsum_minus; f_equal.
  rewrite <- !Rsum_scal.
  generalize (theta c m) as w; intros w; generalize m as n.
  induction n as [|n IH]; simpl; lra.
Qed.

(** A function whose second derivative is non-negative lies below its chords. *)
Lemma convex_below_chord (f f' f'' : R -> R) s1 s2 s :
  (forall x, is_derive f x (f' x)) -> (forall x, is_derive f' x (f'' x)) ->
  (forall x, 0 <= f'' x) -> s1 < s2 -> s1 <= s <= s2 ->
  f s <= chord f s1 s2 s.
Proof.
  intros Df Df' Hf'' Hs [Hl Hr].
  assert (MVT : forall (g g' : R -> R) a b, (forall x, is_derive g x (g' x)) -> a <= b ->
            exists x, a <= x <= b /\ g b - g a = g' x * (b - a)).
  { intros g g' a b Dg Hab.
    destruct (MVT_gen g a b g') as (x & Hx & E); [auto| |].
    - intros x _; apply continuity_pt_filterlim, (ex_derive_continuous (V := R_NormedModule)).
      now exists (g' x).
    - rewrite Rmin_left, Rmax_right in Hx by easy; now exists x. }
  destruct (MVT f f' s1 s) as (x & Hx & Ex); [easy..|].
  destruct (MVT f f' s s2) as (y & Hy & Ey); [easy..|].
  destruct (MVT f' f'' x y) as (z & _ & Ez); [easy | lra |].
  assert (Mono : 0 <= f' y - f' x) by (rewrite Ez; apply Rmult_le_pos; [easy | lra]).
  assert (Gap : 0 <= (f' y - f' x) * ((s - s1) * (s2 - s)))
    by (repeat apply Rmult_le_pos; lra).
  assert (E : chord f s1 s2 s - f s =
              (f' y - f' x) * ((s - s1) * (s2 - s)) / (s2 - s1)).
  { unfold chord.
    replace (f s1) with (f s - f' x * (s - s1)) by lra.
    replace (f s2) with (f s + f' y * (s2 - s)) by lra.
    field; lra. }
  apply Rminus_le_0; rewrite E.
  apply Rmult_le_pos; [easy | apply Rlt_le, Rinv_0_lt_compat; lra].
Qed.

(** The error of linear interpolation is at most half the bound [K] on the second derivative
    times [(s - s1)(s2 - s)]. *)
Lemma interpolation_error (f f' f'' : R -> R) K s1 s2 s :
  (forall x, is_derive f x (f' x)) -> (forall x, is_derive f' x (f'' x)) ->
  (forall x, Rabs (f'' x) <= K) -> s1 < s2 -> s1 <= s <= s2 ->
  Rabs (f s - chord f s1 s2 s) <= K / 2 * ((s - s1) * (s2 - s)).
Proof.
  intros Df Df' Hf'' Hs Hss.
  assert (Tilted : forall e, Rabs e = 1 ->
            e * (f s - chord f s1 s2 s) <= K / 2 * ((s - s1) * (s2 - s))).
  { intros e He.
    assert (B : e * f s + K / 2 * s ^ 2 <=
                chord (fun x => e * f x + K / 2 * x ^ 2) s1 s2 s).
    { apply (convex_below_chord (fun x => e * f x + K / 2 * x ^ 2)
               (fun x => e * f' x + K * x) (fun x => e * f'' x + K)); [| | |easy..].
      - intros x; apply (is_derive_plus (V := R_NormedModule)).
        + now apply is_derive_scal.
        + auto_derive; [easy | field].
      - intros x; apply (is_derive_plus (V := R_NormedModule)).
        + now apply is_derive_scal.
        + auto_derive; [easy | ring].
      - intros x; specialize (Hf'' x).
        assert (A : Rabs (e * f'' x) <= K) by (rewrite Rabs_mult, He; lra).
        apply Rabs_le_between in A; lra. }
    assert (E : chord (fun x => e * f x + K / 2 * x ^ 2) s1 s2 s - K / 2 * s ^ 2 =
                e * chord f s1 s2 s + K / 2 * ((s - s1) * (s2 - s)))
      by (unfold chord; field; lra).
    lra. }
  apply Rabs_le; split.
  - specialize (Tilted (-1)); rewrite Rabs_left in Tilted; lra.
  - specialize (Tilted 1); rewrite Rabs_R1 in Tilted; lra.
Qed.
