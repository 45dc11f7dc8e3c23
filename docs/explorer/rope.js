/* Frequencies, coefficients and scores: Eq. 1 and 3 of arXiv:2306.15595. Angles in radians, spans in tokens. */

/** theta_j = base^(-2j/dim), fastest first. */
export function frequencies(dim, base) {
  const theta = new Float64Array(dim / 2);
  for (let j = 0; j < theta.length; j++) theta[j] = Math.pow(base, (-2 * j) / dim);
  return theta;
}

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Moduli |h_j| <= H: all alike, or falling towards the fast or the slow pairs; the largest is H ("limit"), or
    less where their sum, which no score exceeds, would be above 1 ("trained"). */
export function moduli({ sizes, scale, H }, pairs) {
  const out = new Float64Array(pairs);
  for (let j = 0; j < pairs; j++) {
    const share = { equal: 1, slow: (j + 1) / pairs, fast: (pairs - j) / pairs }[sizes];
    out[j] = H * share;
  }
  const shrink = scale === "trained" ? 1 / Math.max(out.reduce((sum, x) => sum + x, 0), 1) : 1;
  return out.map((x) => x * shrink);
}

/** Coefficients h_j with those moduli; "cell" bends every wave the same way at the middle of the cell at x. */
export function coefficients({ phases, sizes, scale, H, seed, x }, theta) {
  const size = moduli({ sizes, scale, H }, theta.length);
  const next = uniform(seed);
  const middle = Math.floor(x) + 0.5;
  const re = new Float64Array(theta.length);
  const im = new Float64Array(theta.length);
  for (let j = 0; j < theta.length; j++) {
    const random = 2 * Math.PI * next();
    const angle = { zero: 0, cell: -theta[j] * middle, random }[phases];
    re[j] = size[j] * Math.cos(angle);
    im[j] = size[j] * Math.sin(angle);
  }
  return { re, im, size };
}

/** a(s) = f^2 Re sum_j h_j e^(i s theta_j). */
export function score(model, h, s) {
  let total = 0;
  for (let j = 0; j < model.theta.length; j++) {
    const angle = model.theta[j] * s;
    total += h.re[j] * Math.cos(angle) - h.im[j] * Math.sin(angle);
  }
  return model.f * model.f * total;
}

/** B(s) = sum_k |A_k(s)|, A_k the sum of the first k rotations (Eq. 8). */
export function abelSum(theta, s) {
  let re = 0;
  let im = 0;
  let total = 0;
  for (let j = 0; j < theta.length; j++) {
    re += Math.cos(theta[j] * s);
    im += Math.sin(theta[j] * s);
    total += Math.sqrt(re * re + im * im);
  }
  return total;
}

/** 2 H f^2 sum_j sin(theta_j / 2) with moduli |h_j|: the most that a score changes from one token to the next. */
export function adjacentContrast(model, size) {
  let total = 0;
  for (let j = 0; j < model.theta.length; j++) total += size[j] * Math.sin(model.theta[j] / 2);
  return 2 * model.f * model.f * total;
}

/** Pairs whose phase at span s lies beyond all that the window 0..L-1 has shown of them. */
export function unseen(theta, model, window, s) {
  const out = [];
  for (let j = 0; j < theta.length; j++) {
    const shown = theta[j] * (window - 1);
    if (shown < 2 * Math.PI && model.theta[j] * s > shown * (1 + 1e-12)) out.push(j);
  }
  return out;
}
