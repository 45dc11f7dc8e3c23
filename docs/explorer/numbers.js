/* Every number of the page for some settings. */
import { abelSum, adjacentContrast, coefficients, frequencies, score, unseen } from "./rope.js";
import { SCHEMES, extended } from "./schemes.js";
import { chord, interpolationBounds } from "./bounds.js";
import { worstCase } from "./worst.js";
import { settled } from "./state.js";

function modelOf(scheme, settings) {
  try {
    return extended(scheme, settings);
  } catch (error) {
    if (error instanceof RangeError) return { refused: error.message };
    throw error;
  }
}

/** Every number of the page for some settings, and what the drawings need. */
export function compute(raw) {
  const settings = settled(raw);
  const { window: L, target, s, H } = settings;
  const theta = frequencies(settings.dim, settings.base);
  const plain = { theta, f: 1 };
  const chosen = modelOf(settings.scheme, settings);
  const x = (s * L) / target; // where Position Interpolation reads span s
  const h = coefficients({ ...settings, x }, theta);
  const largest = Math.max(...h.size);
  const cell = Math.floor(x);
  const ends = [score(plain, h, cell), score(plain, h, cell + 1)];
  const value = score(plain, h, x);
  const models = Object.fromEntries(SCHEMES.map((name) => [name, modelOf(name, settings)]));
  const worst = Object.fromEntries(
    SCHEMES.map((name) => [name, models[name].refused ? null : worstCase(settings, theta, models[name], H, [s, target - 1])]),
  );
  return {
    settings,
    theta,
    h,
    largest,
    chosen,
    models,
    x,
    score: value,
    chord: chord(...ends, x),
    bounds: interpolationBounds(settings, theta, h.size, x),
    abel: abelSum(theta, s),
    extended: chosen.refused ? null : score(chosen, h, s),
    contrast: chosen.refused ? null : adjacentContrast(chosen, h.size),
    plainContrast: adjacentContrast(plain, h.size),
    unseen: {
      plain: unseen(theta, plain, L, s),
      linear: unseen(theta, models.linear, L, s),
      chosen: chosen.refused ? [] : unseen(theta, chosen, L, s),
    },
    worst,
  };
}
