/* Extension schemes: from a specification and a target to frequencies theta' and the factor f on cos and sin. */
import { frequencies } from "./rope.js";

export const SCHEMES = ["default", "linear", "ntk", "dynamic", "ntk-by-parts", "yarn", "llama3", "base-change"];

/** The model that a scheme makes of a specification; a RangeError says why there is none. */
export function extended(scheme, { dim, base, window, target, newBase }) {
  const theta = frequencies(dim, base);
  const factor = target / window;
  if (scheme === "default") return { theta, f: 1 };
  if (scheme === "linear") return { theta: theta.map((t) => (t * window) / target), f: 1 };
  // Dynamic NTK at the target, with the factor L'/L of its own.
  if (scheme === "ntk") return { theta: frequencies(dim, ntkBase(dim, base, factor)), f: 1 };
  if (scheme === "dynamic") {
    const growth = factor * factor - (factor - 1);
    return { theta: frequencies(dim, ntkBase(dim, base, growth)), f: 1 };
  }
  if (scheme === "base-change") return { theta: frequencies(dim, newBase), f: 1 };
  if (scheme === "ntk-by-parts") return overTurns(theta, window, factor, 1, 32);
  if (scheme === "llama3") return overTurns(theta, window, factor, 1, 4);
  return yarn(theta, { dim, base, window }, factor);
}

function ntkBase(dim, base, growth) {
  if (dim <= 2) throw new RangeError("NTK-aware scaling needs more than one pair");
  return base * Math.pow(growth, dim / (dim - 2));
}

/** gamma + (1 - gamma) / k, exactly 1 and 1/k at the ends of the ramp. */
function between(kept, factor) {
  return kept === 1 ? 1 : 1 / factor + kept * (1 - 1 / factor);
}

function clipped(x) {
  return Math.min(Math.max(x, 0), 1);
}

function overTurns(theta, window, factor, low, high) {
  const turned = theta.map((t) => {
    const turns = (window * t) / (2 * Math.PI);
    return t * between(clipped((turns - low) / (high - low)), factor);
  });
  return { theta: turned, f: 1 };
}

/** The published code: a ramp over pairs, between those that turn 32 times and once in the window. */
function yarn(theta, { dim, base, window }, factor) {
  if (window <= 2 * Math.PI) throw new RangeError("YaRN's ramp needs a window above 2 pi tokens");
  const pair = (turns) => (dim * Math.log(window / (2 * Math.PI * turns))) / (2 * Math.log(base));
  const first = Math.max(Math.floor(pair(32)), 0);
  let last = Math.min(Math.ceil(pair(1)), dim - 1);
  if (first > last) throw new RangeError("every pair turns often: YaRN's ramp runs backwards");
  if (first === last) last += 0.001;
  const turned = theta.map((t, j) => t * between(1 - clipped((j - first) / (last - first)), factor));
  return { theta: turned, f: 0.1 * Math.log(factor) + 1 };
}
