/* The worst case in closed form: the largest |a'(s)| when |a(n)| <= 1 at n = 0..L-1 and |h_j| <= H, at most.

   min over lambda of sqrt(c^T (lambda A + (1 - lambda) B)^-1 c), A the Gram matrix of the grid over L and
   B = I / (H^2 d/2). Centred on the grid A falls into a block of cosines and one of sines; the singular vectors
   of the grid make both forms diagonal. */
import { gridTriangles, singular } from "./factor.js";

/** A function whose last few answers are kept, by a key. */
export function keeping(most, make) {
  const kept = new Map();
  return (key, ...given) => {
    if (!kept.has(key)) {
      if (kept.size >= most) kept.delete(kept.keys().next().value);
      kept.set(key, make(...given));
    }
    return kept.get(key);
  };
}

function decomposed(window, theta) {
  const [even, odd] = gridTriangles(theta, window).map(singular);
  const grid = Float64Array.from([...even.values, ...odd.values], (x) => x / window);
  const centre = theta.map((t) => (t * (window - 1)) / 2);
  return { vectors: [even.vectors, odd.vectors], grid, cos: centre.map(Math.cos), sin: centre.map(Math.sin) };
}

const coordinates = keeping(8, decomposed);

/** Squares of singular values over L, and vectors of both blocks; kept for the last few specifications. */
export function gridCoordinates({ dim, base, window }, theta) {
  return coordinates(`${dim} ${base} ${window}`, window, theta);
}

/** Squares of the objective's 2 n coordinates at one span. */
function projected({ vectors, cos, sin }, model, s) {
  const n = cos.length;
  const squares = new Float64Array(2 * n);
  for (let j = 0; j < n; j++) {
    // Two angles reduced apart: their difference would lose digits at long spans.
    const ct = Math.cos(model.theta[j] * s);
    const st = Math.sin(model.theta[j] * s);
    const even = ct * cos[j] + st * sin[j];
    const odd = st * cos[j] - ct * sin[j];
    const row = j * n;
    for (let k = 0; k < n; k++) {
      squares[k] += even * vectors[0][row + k];
      squares[n + k] += odd * vectors[1][row + k];
    }
  }
  const size = model.f ** 4;
  for (let k = 0; k < 2 * n; k++) squares[k] *= size * squares[k];
  return squares;
}

/** The root in log rho, rho = (1 - lambda) beta / lambda, of the derivative of the sum below: Newton's
    method inside a bracket, from where a neighbouring span had it. */
function bestShare(squares, grid, beta, start) {
  let low = Math.log(beta) - 21;
  let high = Math.log(beta) + 14;
  let at = start > low && start < high ? start : 0.5 * (low + high);
  for (let step = 0; step < 80 && high - low > 1e-9; step++) {
    const rho = Math.exp(at);
    let total = 0;
    let first = 0;
    let third = 0;
    let fourth = 0;
    for (let k = 0; k < squares.length; k++) {
      const inverse = 1 / (grid[k] + rho);
      const inner = squares[k] * inverse * inverse;
      total += inner;
      first += inner * grid[k];
      third += inner * inverse;
      fourth += inner * inverse * grid[k];
    }
    if (first > total * beta) high = at;
    else low = at;
    const slope = 2 * rho * (third / total - fourth / first);
    const newton = at - Math.log(first / total / beta) / Math.max(slope, 1e-9);
    if (Math.abs(newton - at) < 1e-9) break;
    // A bracket that is still wide is halved every third time, whatever Newton says.
    const trusted = newton > low && newton < high && (step % 3 !== 2 || high - low < 1);
    at = trusted ? newton : 0.5 * (low + high);
  }
  return at;
}

/** sum q_k^2 / (lambda alpha_k + (1 - lambda) beta) at that share, or at lambda = 0 where that is less. */
function least(squares, grid, beta, at) {
  const lambda = beta / (beta + Math.exp(at));
  let value = 0;
  let trivial = 0;
  for (let k = 0; k < squares.length; k++) {
    value += squares[k] / (lambda * grid[k] + (1 - lambda) * beta);
    trivial += squares[k] / beta;
  }
  return Math.min(value, trivial);
}

/** What the closed form needs of a model at some spans, whatever H is. */
export function objectives(spec, theta, model, spans) {
  const coordinates = gridCoordinates(spec, theta);
  return { grid: coordinates.grid, squares: spans.map((s) => projected(coordinates, model, s)) };
}

/** The closed form at each of those spans. */
export function closedForm({ grid, squares }, H) {
  const beta = (2 / grid.length) / (H * H);
  let at = NaN;
  return squares.map((q) => {
    at = bestShare(q, grid, beta, at);
    return Math.sqrt(least(q, grid, beta, at));
  });
}

export function worstCase(spec, theta, model, H, spans) {
  return closedForm(objectives(spec, theta, model, spans), H);
}
