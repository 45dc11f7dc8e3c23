/* The page: controls and address in, drawings out. */
import { SCHEMES } from "./schemes.js";
import { address, corrections, fromAddress, settled } from "./state.js";
import { compute } from "./numbers.js";
import { NAMES, draw } from "./panels.js";

function fill(root, settings) {
  const form = root.querySelector("form");
  for (const [name, value] of Object.entries(settings)) {
    for (const control of form.querySelectorAll(`[data-for="${name}"]`)) {
      const shown = control.dataset.scale === "log" ? Math.log10(value) : value;
      if (control.type === "range" && name === "s") control.max = settings.target;
      if (document.activeElement !== control || control.type !== "number") control.value = shown;
    }
  }
  form.querySelector(".for-base-change").hidden = settings.scheme !== "base-change";
  form.querySelector(".for-random").hidden = settings.phases !== "random";
}

function start(root) {
  const presets = window.PRESETS;
  const form = root.querySelector("form");
  const chooser = form.querySelector('[data-for="preset"]');
  for (const name of Object.keys(presets)) chooser.append(new Option(name, name));
  chooser.append(new Option("my own", "own"));
  for (const name of SCHEMES) form.querySelector('[data-for="scheme"]').append(new Option(NAMES[name], name));
  let asked = fromAddress(location.hash); // as it was typed: what is half typed changes nothing for good
  let settings = settled(asked);
  let timing = { last: 0, most: 0 };
  let waiting = 0;

  function show() {
    waiting = 0;
    const took = draw(root, settings);
    timing = { last: took, most: Math.max(timing.most, took) };
    root.querySelector(".took").textContent = `drawn in ${took.toFixed(0)} ms`;
  }

  function update(changes, { now = false, from = settings } = {}) {
    asked = { ...from, ...changes };
    settings = settled(asked);
    const sentences = corrections(asked, settings);
    const own = presets[settings.preset];
    if (!own && settings.preset !== "own") sentences.push(`model is my own, not ${settings.preset}: the list has no such name.`);
    if (!own) settings.preset = "own";
    else if (["dim", "base", "window"].some((name) => own[name] !== settings[name])) settings.preset = "own";
    fill(root, settings);
    told(root.querySelector(".changed"), sentences);
    const hash = address(settings);
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    if (now) show();
    else waiting ||= requestAnimationFrame(show);
  }

  form.addEventListener("input", (event) => {
    const name = event.target.dataset.for;
    if (!name) return;
    const raw = event.target.value;
    if (raw === "") return; // a field being retyped
    if (name === "preset") {
      const chosen = presets[raw];
      update(chosen ? { preset: raw, ...chosen, target: 4 * chosen.window, s: 2.5 * chosen.window + 2 } : { preset: raw });
    } else update({ [name]: event.target.dataset.scale === "log" ? Number((10 ** Number(raw)).toPrecision(3)) : raw }, { from: asked });
  });
  // The field is left: it shows what is used, and the line above says so until the next change.
  form.addEventListener("change", () => {
    asked = settings;
    fill(root, settings);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    update({}, { from: settled({}) });
  });
  window.addEventListener("hashchange", () => {
    update({}, { from: fromAddress(location.hash) });
  });
  turning(root, () => settings, update);
  update({}, { now: true, from: asked });
  // For tests, and for whoever wants the numbers.
  window.explorer = { compute, set: (changes) => update(changes, { now: true }), settings: () => settings, timing: () => timing };
}

/** Say it where it is not said yet: a screen reader reads each change aloud. */
function told(line, sentences) {
  const text = sentences.join(" ");
  if (line.textContent !== text) line.textContent = text;
}

/** The button that lets the span run, so that the wheels turn. */
function turning(root, settings, update) {
  const button = root.querySelector(".turn");
  let running = false;
  button.addEventListener("click", () => {
    running = !running;
    button.setAttribute("aria-pressed", String(running));
    button.textContent = running ? "stop" : "let the span run";
    const step = () => {
      if (!running) return;
      const { s, target } = settings();
      update({ s: s + target / 1200 > target ? 0 : Math.round(4 * (s + target / 1200)) / 4 });
      requestAnimationFrame(step);
    };
    if (running) requestAnimationFrame(step);
  });
}

const page = document.getElementById("explorer");
if (page) start(page);
