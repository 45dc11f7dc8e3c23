(** * After the softmax: logits that move by at most [delta] move the attention by at most
    [tanh (delta / 2)] in total variation *)

From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Pianalysis Require Import common.
Open Scope R_scope.

(** The attention weight of key [j] among [n], for logits [x]. *)
Definition softmax (x : nat -> R) (n j : nat) : R := exp (x j) / Rsum (fun i => exp (x i)) n.

(** Half the sum of the absolute differences of two distributions on [n] keys. *)
Definition total_variation (p q : nat -> R) (n : nat) : R := Rsum (fun j => Rabs (q j - p j)) n / 2.

Lemma Rsum_pos f n : (0 < n)%nat -> (forall j, 0 < f j) -> 0 < Rsum f n.
Proof.
  intros Hn Hf; destruct n as [|n]; [lia|].
  clear Hn; induction n as [|n IH]; simpl in *; [specialize (Hf 0%nat); lra|].
  specialize (Hf (S n)); lra.
Qed.

Lemma Rsum_plus f g n : Rsum (fun j => f j + g j) n = Rsum f n + Rsum g n.
Proof. induction n as [|n IH]; simpl; [|rewrite IH]; ring. Qed.

Lemma softmax_sum x n : (0 < n)%nat -> Rsum (softmax x n) n = 1.
Proof.
  intros Hn; unfold softmax, Rdiv.
  pose proof (Rsum_pos (fun i => exp (x i)) n Hn (fun j => exp_pos (x j))) as P.
  rewrite (Rsum_ext _ (fun j => / Rsum (fun i => exp (x i)) n * exp (x j))) by (intros; ring).
  rewrite Rsum_scal; field; lra.
Qed.

(** A group of mass [a] that gains the factor [r] while the rest, [b], loses it. *)
Lemma group_gain a b r :
  0 <= a -> 0 <= b -> 0 < a + b -> 1 <= r ->
  a * r / (a * r + b / r) - a / (a + b) <= (r - 1) / (r + 1).
Proof.
  intros Ha Hb Hab Hr.
  assert (R2 : 1 <= r ^ 2) by nra.
  assert (D : 0 < a * r ^ 2 + b) by nra.
  assert (D' : 0 < a * r + b / r).
  { assert (I : 0 < / r) by (apply Rinv_0_lt_compat; lra).
    unfold Rdiv; replace (a * r + b * / r) with ((a * r ^ 2 + b) * / r) by (field; lra); nra. }
  replace (a * r / (a * r + b / r)) with (a * r ^ 2 / (a * r ^ 2 + b)) by (field; repeat split; lra).
  replace (a * r ^ 2 / (a * r ^ 2 + b) - a / (a + b)) with
    (a * b * (r ^ 2 - 1) / ((a * r ^ 2 + b) * (a + b))) by (field; lra).
  apply Rmult_le_reg_r with ((a * r ^ 2 + b) * (a + b)); [nra|].
  unfold Rdiv at 1; rewrite Rmult_assoc, Rinv_l, Rmult_1_r by nra.
  apply Rmult_le_reg_r with (r + 1); [lra|].
  replace ((r - 1) / (r + 1) * ((a * r ^ 2 + b) * (a + b)) * (r + 1)) with
    ((r - 1) * ((a * r ^ 2 + b) * (a + b))) by (field; lra).
  replace (a * b * (r ^ 2 - 1) * (r + 1)) with ((r - 1) * (a * b * (r + 1) ^ 2)) by ring.
  apply Rmult_le_compat_l; [lra|].
  pose proof (pow2_ge_0 (a * r - b)); nra.
Qed.

Lemma tanh_half d : tanh (d / 2) = (exp d - 1) / (exp d + 1).
Proof.
  unfold tanh, sinh, cosh.
  assert (E : exp d = exp (d / 2) * exp (d / 2)) by (rewrite <- exp_plus; f_equal; lra).
  pose proof (exp_pos (d / 2)) as P.
  rewrite E, exp_Ropp; field; split; nra.
Qed.

(** The weight of a group of keys grows by at most [tanh (delta / 2)]. *)
Lemma group_shift x y delta n (inside : nat -> bool) :
  (0 < n)%nat -> (forall j, (j < n)%nat -> Rabs (y j - x j) <= delta) ->
  Rsum (fun j => if inside j then softmax y n j - softmax x n j else 0) n <= tanh (delta / 2).
Proof.
  intros Hn Hd.
  set (part := fun (z : nat -> R) (b : bool) =>
                 Rsum (fun j => if Bool.eqb (inside j) b then exp (z j) else 0) n).
  assert (Whole : forall z, Rsum (fun i => exp (z i)) n = part z true + part z false).
  { intros z; unfold part; rewrite <- Rsum_plus; apply Rsum_ext; intros j _.
    destruct (inside j); simpl; ring. }
  assert (Share : forall z, Rsum (fun j => if inside j then softmax z n j else 0) n =
                            part z true / (part z true + part z false)).
  { intros z; rewrite <- Whole; unfold softmax, part, Rdiv.
    rewrite (Rmult_comm (Rsum _ _)), <- Rsum_scal; apply Rsum_ext; intros j _.
    destruct (inside j); simpl; ring. }
  assert (Pos : forall z b, 0 <= part z b).
  { intros z b; rewrite <- (Rmult_0_r (INR n)), <- Rsum_const; apply Rsum_le; intros j _.
    pose proof (exp_pos (z j)); destruct (Bool.eqb (inside j) b); lra. }
  assert (Some_ : forall z, 0 < part z true + part z false).
  { intros z; rewrite <- Whole; apply Rsum_pos; [easy | intros; apply exp_pos]. }
  assert (D0 : 0 <= delta) by (specialize (Hd 0%nat Hn); pose proof (Rabs_pos (y 0%nat - x 0%nat)); lra).
  assert (R1 : 1 <= exp delta) by (rewrite <- exp_0; destruct D0 as [D0 | <-];
                                   [left; now apply exp_increasing | right; easy]).
  assert (Up : part y true <= part x true * exp delta).
  { unfold part; rewrite Rmult_comm, <- Rsum_scal; apply Rsum_le; intros j Hj.
    destruct (Bool.eqb (inside j) true); [|lra].
    rewrite <- exp_plus; specialize (Hd j Hj); apply Rabs_le_between in Hd.
    destruct (Rle_lt_or_eq_dec (y j) (delta + x j)) as [L | ->]; [lra | | lra].
    left; now apply exp_increasing. }
  assert (Down : part x false / exp delta <= part y false).
  { unfold part, Rdiv; rewrite Rmult_comm, <- Rsum_scal; apply Rsum_le; intros j Hj.
    destruct (Bool.eqb (inside j) false); [|lra].
    rewrite <- exp_Ropp, <- exp_plus; specialize (Hd j Hj); apply Rabs_le_between in Hd.
    destruct (Rle_lt_or_eq_dec (- delta + x j) (y j)) as [L | ->]; [lra | | lra].
    left; now apply exp_increasing. }
  rewrite (Rsum_ext _ (fun j => (if inside j then softmax y n j else 0) -
                                (if inside j then softmax x n j else 0)))
    by (intros j _; destruct (inside j); ring).
  rewrite Rsum_minus, !Share, tanh_half.
  eapply Rle_trans; [|apply (group_gain (part x true) (part x false)); auto].
  apply Rplus_le_compat_r.
  set (a := part y true) in *; set (b := part y false) in *.
  set (a' := part x true * exp delta) in *; set (b' := part x false / exp delta) in *.
  assert (Ha : 0 <= a) by apply Pos.
  assert (Hab : 0 < a + b) by apply Some_.
  assert (Hb' : 0 <= b') by (unfold b'; apply Rmult_le_pos; [apply Pos | left; apply Rinv_0_lt_compat; lra]).
  assert (Hab' : 0 < a' + b').
  { pose proof (Some_ x); pose proof (Pos x true); pose proof (Pos x false).
    assert (0 < / exp delta) by (apply Rinv_0_lt_compat; lra).
    unfold a', b', Rdiv; destruct (Rle_lt_or_eq_dec 0 (part x true)) as [P | P]; [easy | nra | nra]. }
  apply Rmult_le_reg_r with (a + b); [easy|].
  unfold Rdiv at 1; rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
  apply Rmult_le_reg_r with (a' + b'); [easy|].
  replace (a' / (a' + b') * (a + b) * (a' + b')) with (a' * (a + b)) by (field; lra).
  nra.
Qed.

(** The total variation between the two attention distributions is at most [tanh (delta / 2)]. *)
Theorem attention_shift : forall x y delta n,
  (0 < n)%nat -> (forall j, (j < n)%nat -> Rabs (y j - x j) <= delta) ->
  total_variation (softmax x n) (softmax y n) n <= tanh (delta / 2).
Proof.
  intros x y delta n Hn Hd; unfold total_variation.
  set (inside := fun j => if Rle_dec (softmax x n j) (softmax y n j) then true else false).
  pose proof (group_shift x y delta n inside Hn Hd) as G.
  set (d := fun j => softmax y n j - softmax x n j).
  assert (Z : Rsum d n = 0)
    by (unfold d; rewrite Rsum_minus, !softmax_sum by easy; ring).
  assert (E : Rsum (fun j => Rabs (d j)) n =
              2 * Rsum (fun j => if inside j then d j else 0) n - Rsum d n).
  { rewrite <- Rsum_scal, <- Rsum_minus; apply Rsum_ext; intros j _; unfold inside, d.
    destruct (Rle_dec (softmax x n j) (softmax y n j));
      [rewrite Rabs_pos_eq by lra | rewrite Rabs_left by lra]; ring. }
  fold d in E |- *; change (Rsum (fun j => Rabs (d j)) n / 2 <= tanh (delta / 2)).
  rewrite E, Z; unfold d in *; lra.
Qed.
