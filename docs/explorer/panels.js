/* What is drawn of those numbers: five charts, the phase wheels, two tables. */
import { abelSum, score } from "./rope.js";
import { SCHEMES } from "./schemes.js";
import { interpolationBounds } from "./bounds.js";
import { closedForm, keeping, objectives } from "./worst.js";
import { chart, legend, short, spread, wheel } from "./plots.js";
import { compute } from "./numbers.js";

const EXACT_DOTS = ["square", "triangle", "diamond"]; // told apart without colour, too
const CURVE = 100; // spans at which a worst case is drawn
export const NAMES = {
  default: "no change (extrapolation)",
  linear: "Position Interpolation",
  ntk: "NTK-aware",
  dynamic: "dynamic NTK",
  "ntk-by-parts": "NTK-by-parts",
  yarn: "YaRN",
  llama3: "Llama 3",
  "base-change": "another base",
};

// Curves that do not depend on the span shown are drawn once and kept.
const curveObjectives = keeping(24, objectives);
const worstCurve = keeping(24, closedForm);
const abelCurve = keeping(8, (theta, spans) => spans.map((s) => abelSum(theta, s)));

/** The name of a scheme under these settings: another base says which. */
function named(scheme, { newBase }) {
  return scheme === "base-change" ? `${NAMES[scheme]} (${Number(newBase.toPrecision(6))})` : NAMES[scheme];
}

function key({ dim, base, window, target, newBase }, ...more) {
  return [dim, base, window, target, newBase, ...more].join(" ");
}

function linspace(low, high, count) {
  return Array.from({ length: count }, (_, k) => low + ((high - low) * k) / (count - 1));
}

function scorePanel({ settings, theta, h, x }) {
  const cell = Math.floor(x);
  const plain = { theta, f: 1 };
  const range = [Math.max(cell - 4, 0), Math.max(cell - 4, 0) + 9];
  const curve = { name: "score a", ink: 1, points: linspace(...range, 241).map((t) => [t, score(plain, h, t)]) };
  const knots = linspace(...range, 10).map((t) => [t, score(plain, h, t)]);
  const lines = [
    curve,
    { name: "chords of unit cells", ink: 0, dash: 1, width: 1.2, points: knots },
    { name: "trained positions", ink: 0, dots: "square", points: knots.filter(([t]) => t < settings.window) },
    { name: "read by Position Interpolation at x", ink: 2, dots: "circle", size: 5, points: [[x, score(plain, h, x)]] },
  ];
  return {
    lines,
    picture: chart({ lines, x: range, y: spread(lines), xlabel: "position x = s L / L' (tokens)", ylabel: "score a(x)", band: [cell, cell + 1] }),
  };
}

// In units of max|h|, in which every bound but the weighted one is a number of the model alone.
function boundsPanel({ settings, theta, h, x, largest, score: value, chord: line }) {
  const cell = Math.floor(x);
  const plain = { theta, f: 1 };
  const at = linspace(0, 1, 61);
  const ends = [score(plain, h, cell), score(plain, h, cell + 1)];
  const bound = at.map((u) => (u < 1 ? interpolationBounds(settings, theta, h.size, cell + u) : null));
  const of = (form) => at.map((u, k) => [u, bound[k] ? bound[k][form] / largest : 0]);
  const lines = [
    { name: "|a - chord|", ink: 1, width: 2.6, points: at.map((u) => [u, Math.abs(score(plain, h, cell + u) - (1 - u) * ends[0] - u * ends[1]) / largest]) },
    { name: "paper (not a theorem)", ink: 2, dash: 1, points: of("paper") },
    { name: "corrected", ink: 3, dash: 2, points: of("corrected") },
    { name: "sharp", ink: 0, dash: 3, points: of("sharp") },
    { name: "weighted", ink: 4, dash: 4, points: of("weighted") },
  ];
  const here = { name: "this span", ink: 2, dots: "circle", size: 5, points: [[x - cell, Math.abs(value - line) / largest]] };
  const [, high] = spread(lines);
  return {
    lines,
    picture: chart({ lines: [...lines, here], x: [0, 1], y: [0, high], xlabel: `place in the cell [${cell}, ${cell + 1}] (tokens)`, ylabel: "deviation / max|h|" }),
  };
}

function abelPanel({ settings, theta }) {
  const spans = linspace(0, settings.target, 241);
  const sums = abelCurve(key(settings), theta, spans);
  const lines = [{ name: "B(s) / d at 241 spans", ink: 1, points: spans.map((s, k) => [s, sums[k] / settings.dim]) }];
  const range = spread(lines, true);
  const marks = [{ y: 1, name: "B = d" }, { x: settings.window, name: "L" }, { x: settings.s, name: "s", row: 1 }];
  return {
    lines,
    picture: chart({ lines, x: [0, settings.target], y: [Math.min(range[0], 0.8), Math.max(range[1], 1.3)], ylog: true, xlabel: "span s (tokens)", ylabel: "B(s) / d", marks }),
  };
}

function wavesPanel({ settings, theta, chosen }) {
  const points = (model) => Array.from(model.theta, (t, j) => [j, (2 * Math.PI) / t]);
  const lines = [{ name: "as trained", ink: 1, dots: "circle", points: points({ theta }) }];
  if (!chosen.refused) lines.push({ name: named(settings.scheme, settings), ink: 2, dots: "square", points: points(chosen) });
  const [low, high] = spread(lines, true);
  const marks = [{ y: settings.window, name: "L" }];
  if (settings.target > 1.5 * settings.window) marks.push({ y: settings.target, name: "L'" });
  return {
    lines,
    picture: chart({ lines, x: [-0.5, theta.length - 0.5], y: [low, Math.max(high, 2 * settings.target)], ylog: true, xlabel: "pair j (fast to slow)", ylabel: "wavelength (tokens a turn)", marks }),
  };
}

/** Exact worst cases [span, value] of a scheme, where the record has this model, target and H. */
function exact(settings, scheme) {
  const kept = window.EXACT;
  const same = ["dim", "base", "window", "target", "H"].every((name) => kept[name] === settings[name]);
  return (same && kept.worst[scheme]) || [];
}

function worstPanel({ settings, theta, models, worst }) {
  const spans = linspace(0, settings.target - 1, CURVE);
  const curve = (name) => {
    const squares = curveObjectives(key(settings, name), settings, theta, models[name], spans);
    return worstCurve(key(settings, name, settings.H), squares, settings.H);
  };
  const names = [...new Set(["default", "linear", settings.scheme])].filter((name) => !models[name].refused);
  const lines = names.map((name, at) => ({
    name: named(name, settings),
    ink: at + 1,
    dash: at,
    points: curve(name).map((y, k) => [spans[k], y]),
  }));
  for (const [at, name] of names.entries()) {
    const proved = exact(settings, name);
    if (proved.length) lines.push({ name: `exact: ${named(name, settings)}`, ink: at + 1, dots: EXACT_DOTS[at], size: 3.2, points: proved });
  }
  const own = worst[settings.scheme];
  const here = { name: "here", ink: 0, dots: "circle", size: 4.5, points: own ? [[settings.s, own[0]]] : [] };
  const [, high] = spread(lines);
  const marks = [{ x: settings.window, name: "L" }, { y: 1, name: "trained scores: at most 1" }];
  return {
    lines,
    picture: chart({ lines: [...lines, here], x: [0, settings.target], y: [0, high], xlabel: "span s (tokens)", ylabel: "closed form: |a'(s)| at most", marks }),
  };
}

function wheels({ settings, theta, models, chosen, unseen: beyond }) {
  const shown = theta.map((t) => t * (settings.window - 1));
  const turned = (model) => Array.from(model.theta, (t) => t * settings.s);
  const all = [
    ["extrapolation", { theta }, beyond.plain],
    ["Position Interpolation", models.linear, beyond.linear],
  ];
  if (!chosen.refused && !["default", "linear"].includes(settings.scheme)) all.push([named(settings.scheme, settings), chosen, beyond.chosen]);
  return all
    .map(([name, model, outside]) => {
      const picture = wheel({ phases: turned(model), shown, unseen: outside });
      return `<figure>${picture}<figcaption>${name}: ${outside.length} of ${theta.length} pairs at a phase never seen</figcaption></figure>`;
    })
    .join("");
}

function numbers(result) {
  const { settings, bounds, largest } = result;
  const name = named(settings.scheme, settings);
  const perH = (value) => short(value / largest, 6);
  const rows = [
    ["max|h| of the head drawn", short(largest, 6), "score"],
    ["Position Interpolation reads s at x = s L / L'", short(result.x, 6), "tokens"],
    ["score a(x)", short(result.score, 6), "score"],
    ["its chord", short(result.chord, 6), "score"],
    ["|a(x) - chord|", perH(Math.abs(result.score - result.chord)), "max|h|"],
    ["bound: paper (not a theorem)", perH(bounds.paper), "max|h|"],
    ["bound: corrected", perH(bounds.corrected), "max|h|"],
    ["bound: sharp", perH(bounds.sharp), "max|h|"],
    ["bound: weighted", perH(bounds.weighted), "max|h|"],
    [`score a'(s), ${name}`, result.extended === null ? "none" : short(result.extended, 6), "score"],
    ["B(s)", short(result.abel, 6), "1"],
    ["adjacent contrast, at most: as trained", perH(result.plainContrast), "max|h|"],
    [`adjacent contrast, at most: ${name}`, result.contrast === null ? "none" : perH(result.contrast), "max|h|"],
  ];
  const cells = rows.map(([quantity, value, unit]) => `<tr><th scope="row">${quantity}</th><td>${value}</td><td>${unit}</td></tr>`);
  const worst = SCHEMES.map((scheme) => {
    const both = result.worst[scheme];
    const own = scheme === settings.scheme ? ' class="own"' : "";
    const proved = exact(settings, scheme).filter(([s]) => s === settings.target - 1);
    const last = proved.length ? short(proved[0][1]) : "not kept";
    const told = both ? [...both.map((y) => short(y)), last].map((y) => `<td>${y}</td>`).join("") : `<td colspan="3">${result.models[scheme].refused}</td>`;
    return `<tr${own}><th scope="row">${named(scheme, settings)}</th>${told}</tr>`;
  });
  return { cells: cells.join(""), worst: worst.join("") };
}

/** Where the chosen scheme reads span s: only Position Interpolation reads it at one position between trained ones. */
function reading(settings) {
  const { scheme } = settings;
  if (scheme === "linear") {
    const x = (settings.s * settings.window) / settings.target;
    const between = x > settings.window - 1 ? "beyond the last trained position" : "between trained positions";
    const where = x < settings.window && Number.isInteger(x) ? "at a trained position" : between;
    return `It reads span s at x = s L / L' = ${short(x, 7)}, ${where}; x stands in the shaded cell.`;
  }
  const there = "Shown is where Position Interpolation reads it, x = s L / L'.";
  if (scheme === "default") return `With no change span s is read at s itself, from L on beyond all trained positions. ${there}`;
  return `Under ${named(scheme, settings)} each pair turns by a factor of its own: span s is read at no one position, and its score a'(s) stands in the table below. ${there}`;
}

const PANELS = { score: scorePanel, bounds: boundsPanel, abel: abelPanel, waves: wavesPanel, worst: worstPanel };

/** Draw everything that follows from the settings; the milliseconds it took. */
export function draw(root, settings) {
  const started = performance.now();
  const result = compute(settings);
  for (const [name, panel] of Object.entries(PANELS)) {
    const box = root.querySelector(`[data-panel="${name}"]`);
    const { lines, picture } = panel(result);
    box.querySelector(".picture").innerHTML = picture;
    box.querySelector("ul").innerHTML = legend(lines);
  }
  root.querySelector(".wheels").innerHTML = wheels(result);
  root.querySelector(".reading").textContent = reading(settings);
  const { cells, worst } = numbers(result);
  root.querySelector(".numbers tbody").innerHTML = cells;
  root.querySelector(".worst tbody").innerHTML = worst;
  const refused = result.chosen.refused;
  root.querySelector(".refused").textContent = refused ? `${named(settings.scheme, settings)}: ${refused}.` : "";
  return performance.now() - started;
}

