/* The four bounds on how far a score leaves the chord of its unit cell (Theorem 2.1 and what replaces it). */

/** sum_j theta_j^2 in closed form: (1 - c^-2) / (1 - c^(-4/d)). */
export function thetaSquareSum(dim, base) {
  return -Math.expm1(-2 * Math.log(base)) / -Math.expm1((-4 / dim) * Math.log(base));
}

/** |e^(i u t) - 1 - u (e^(i t) - 1)|: one wave of modulus 1 against its chord, u inside the cell. */
function gap(t, u) {
  const re = -2 * Math.sin((u * t) / 2) ** 2 + 2 * u * Math.sin(t / 2) ** 2;
  const im = Math.sin(u * t) - u * Math.sin(t);
  return Math.sqrt(re * re + im * im);
}

/** The bounds at x for coefficients of moduli `size`, H the largest of them. */
export function interpolationBounds({ dim, base }, theta, size, x) {
  const u = x - Math.floor(x);
  const uv = u * (1 - u);
  const H = Math.max(...size);
  let sharp = 0;
  let curvature = 0;
  for (let j = 0; j < theta.length; j++) {
    sharp += gap(theta[j], u);
    curvature += size[j] * theta[j] * theta[j];
  }
  return {
    paper: (dim / (8 * Math.log(base))) * H * uv,
    corrected: 0.5 * thetaSquareSum(dim, base) * H * uv,
    sharp: H * sharp,
    weighted: 0.5 * curvature * uv,
  };
}

/** The chord of the unit cell at x, from the scores at both ends. */
export function chord(left, right, x) {
  const u = x - Math.floor(x);
  return (1 - u) * left + u * right;
}
