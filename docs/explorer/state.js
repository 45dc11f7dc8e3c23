/* Settings: their ranges, how they stand in the address, and how the address is read back. */
import { SCHEMES } from "./schemes.js";

export const DEFAULTS = {
  preset: "llama-7b",
  dim: 128,
  base: 10000,
  window: 2048,
  target: 8192,
  scheme: "linear",
  newBase: 500000,
  s: 5002,
  H: 1,
  phases: "cell",
  sizes: "equal",
  scale: "trained",
  seed: 0,
};

/** [least, most, whether whole]; `dim` is the rotary dimension, even. */
export const RANGES = {
  dim: [2, 256, true],
  base: [1.01, 1e8, false],
  window: [16, 1048576, true],
  target: [16, 4194304, true],
  newBase: [1.01, 1e9, false],
  s: [0, 4194304, false],
  H: [0.01, 1e5, false],
  seed: [0, 999, true],
};

export const CHOICES = {
  scheme: SCHEMES,
  phases: ["cell", "zero", "random"],
  sizes: ["equal", "slow", "fast"],
  scale: ["trained", "limit"],
};

const LABELS = {
  dim: "rotary dimension d",
  base: "base c",
  window: "window L",
  target: "target L'",
  scheme: "scheme",
  newBase: "its base c'",
  s: "span s",
  H: "limit H on |h|",
  phases: "phases of h",
  sizes: "sizes |h|",
  scale: "head drawn",
  seed: "seed",
};

function inRange(name, value) {
  const [least, most, whole] = RANGES[name];
  const bounded = Math.min(Math.max(value, least), most);
  return whole ? Math.round(bounded) : bounded;
}

/** Settings that can be computed: numbers in range, the target at least the window, s within the target. */
export function settled(raw) {
  const out = { ...DEFAULTS };
  for (const [name, value] of Object.entries(raw)) {
    if (name in RANGES && Number.isFinite(Number(value)) && value !== "") out[name] = inRange(name, Number(value));
    else if (name in CHOICES && CHOICES[name].includes(value)) out[name] = value;
    else if (name === "preset") out.preset = String(value);
  }
  out.dim = Math.max(2, 2 * Math.round(out.dim / 2));
  out.target = Math.max(out.target, out.window);
  out.s = Math.min(out.s, out.target);
  return out;
}

/** What the settings had to change of what was asked, in words: a sentence each. */
export function corrections(asked, settings) {
  const out = [];
  for (const [name, value] of Object.entries(asked)) {
    const used = settings[name];
    if (!(name in LABELS) || (name in RANGES && value !== "" ? Number(value) === used : String(value) === String(used))) continue;
    out.push(`${LABELS[name]} is ${used}, not ${value === "" ? "empty" : value}: ${allowed(name, settings)}.`);
  }
  return out;
}

function allowed(name, { window, target }) {
  if (name in CHOICES) return `allowed are ${CHOICES[name].join(", ")}`;
  const [least, most] = { ...RANGES, target: [window, RANGES.target[1], true], s: [0, target, false] }[name];
  const kind = { dim: "even", target: "whole", window: "whole", seed: "whole" }[name];
  return `allowed are ${kind ? `${kind} ` : ""}numbers from ${least} to ${most}`;
}

/** "#dim=128&..." of what differs from the first view. */
export function address(settings) {
  const parts = Object.entries(settings).filter(([name, value]) => value !== DEFAULTS[name]);
  return parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
}

/** What an address asks for; what it does not hold is as in the first view. */
export function fromAddress(hash) {
  return { ...DEFAULTS, ...Object.fromEntries(new URLSearchParams(hash.replace(/^#/, ""))) };
}
