/* Drawings as SVG text: axes, lines told apart by colour and dashes, phase wheels. */

// Okabe and Ito's palette; the first follows the page's own ink.
export const INK = ["currentColor", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
export const DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 2"];
const WIDE = 420;
const HIGH = 250;
const BOX = { left: 58, right: 12, top: 12, bottom: 42 };

export function short(x, digits = 4) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e5 || size < 1e-3) return x.toExponential(1).replace(/\.0e/, "e").replace("e+", "e");
  return String(Number(x.toPrecision(digits)));
}

/** Round numbers across a range: powers of ten on a logarithmic axis. */
export function ticks(low, high, log) {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const last = Math.floor(Math.log10(high) + 1e-9);
    const every = Math.max(1, Math.ceil((last - first) / 5));
    const out = [];
    for (let p = first; p <= last; p += every) out.push(10 ** p);
    return out.length > 1 ? out : [low, high];
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough);
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) out.push(k * step);
  return out;
}

function scale([low, high], log, from, to) {
  const place = log ? Math.log : (x) => x;
  const [a, b] = [place(low), place(high)];
  return (x) => from + ((place(x) - a) / (b - a || 1)) * (to - from);
}

function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
}

function path(points, px, py, [low, high]) {
  let out = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (!Number.isFinite(y)) {
      pen = "M";
      continue;
    }
    out += `${pen}${px(x).toFixed(1)} ${py(Math.min(Math.max(y, low), high)).toFixed(1)}`;
    pen = "L";
  }
  return out;
}

/** A range that holds every y of the lines, with some air. */
export function spread(lines, log = false) {
  const all = lines.flatMap((line) => line.points.map(([, y]) => y)).filter((y) => Number.isFinite(y) && (!log || y > 0));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  if (log) return [low / 1.2, high * 1.2];
  const air = 0.06 * (high - low) || 1e-3;
  return [low - air, high + air];
}

/** lines: [{ name, points, ink, dash, dots }]; marks: [{ x | y, name }]; band: a shaded x range. */
export function chart({ lines, x, y, xlabel, ylabel, xlog, ylog, marks = [], band }) {
  const px = scale(x, xlog, BOX.left, WIDE - BOX.right);
  const py = scale(y, ylog, HIGH - BOX.bottom, BOX.top);
  let out = "";
  if (band) {
    const [a, b] = band.map((v) => px(Math.min(Math.max(v, x[0]), x[1])));
    out += `<rect class="band" x="${a}" y="${BOX.top}" width="${Math.max(b - a, 0)}" height="${HIGH - BOX.top - BOX.bottom}"/>`;
  }
  for (const t of ticks(...x, xlog)) {
    out += `<path class="grid" d="M${px(t)} ${BOX.top}V${HIGH - BOX.bottom}"/><text x="${px(t)}" y="${HIGH - BOX.bottom + 15}" text-anchor="middle">${short(t)}</text>`;
  }
  for (const t of ticks(...y, ylog)) {
    out += `<path class="grid" d="M${BOX.left} ${py(t)}H${WIDE - BOX.right}"/><text x="${BOX.left - 5}" y="${py(t) + 4}" text-anchor="end">${short(t)}</text>`;
  }
  out += `<path class="axis" d="M${BOX.left} ${BOX.top}V${HIGH - BOX.bottom}H${WIDE - BOX.right}"/>`;
  let words = ""; // over the curves, which would strike them through
  for (const mark of marks) {
    if ("x" in mark) {
      if (mark.x < x[0] || mark.x > x[1]) continue;
      const end = px(mark.x) > WIDE - 90;
      out += `<path class="mark" d="M${px(mark.x)} ${BOX.top}V${HIGH - BOX.bottom}"/>`;
      words += `<text x="${px(mark.x) + (end ? -4 : 4)}" y="${BOX.top + 11 + 13 * (mark.row ?? 0)}" text-anchor="${end ? "end" : "start"}">${escaped(mark.name)}</text>`;
    } else if (mark.y >= y[0] && mark.y <= y[1]) {
      out += `<path class="mark" d="M${BOX.left} ${py(mark.y)}H${WIDE - BOX.right}"/>`;
      words += `<text x="${WIDE - BOX.right - 3}" y="${py(mark.y) - 4}" text-anchor="end">${escaped(mark.name)}</text>`;
    }
  }
  for (const line of lines) {
    const ink = INK[line.ink ?? 0];
    if (line.dots) {
      for (const [a, b] of line.points) {
        if (b >= y[0] && b <= y[1]) out += dot(line.dots, px(a), py(b), ink, line.size ?? 2.4);
      }
    } else {
      out += `<path d="${path(line.points, px, py, y)}" fill="none" stroke="${ink}" stroke-width="${line.width ?? 1.8}" stroke-dasharray="${DASHES[line.dash ?? 0]}"/>`;
    }
  }
  out += words;
  out += `<text class="label" x="${(BOX.left + WIDE - BOX.right) / 2}" y="${HIGH - 8}" text-anchor="middle">${escaped(xlabel)}</text>`;
  out += `<text class="label" transform="translate(13 ${(HIGH - BOX.bottom + BOX.top) / 2}) rotate(-90)" text-anchor="middle">${escaped(ylabel)}</text>`;
  return drawing(WIDE, HIGH, out);
}

function dot(shape, x, y, ink, r) {
  if (shape === "square") return `<rect x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}" fill="none" stroke="${ink}" stroke-width="1.2"/>`;
  if (shape === "triangle" || shape === "diamond") {
    const corners = shape === "triangle" ? [[0, -1.4], [1.3, 1], [-1.3, 1]] : [[0, -1.5], [1.5, 0], [0, 1.5], [-1.5, 0]];
    return `<path d="M${corners.map(([a, b]) => `${x + r * a} ${y + r * b}`).join("L")}Z" fill="none" stroke="${ink}" stroke-width="1.2"/>`;
  }
  return `<circle cx="${x}" cy="${y}" r="${r}" fill="${ink}"/>`;
}

function drawing(wide, high, body) {
  return `<svg viewBox="0 0 ${wide} ${high}" aria-hidden="true" focusable="false">${body}</svg>`;
}

/** Names beside their lines: what a colour and its dashes stand for. */
export function legend(lines) {
  return lines
    .map((line) => {
      const ink = INK[line.ink ?? 0];
      const key = line.dots
        ? dot(line.dots, 13, 6, ink, 3.4)
        : `<path d="M0 6H26" stroke="${ink}" stroke-width="2.2" stroke-dasharray="${DASHES[line.dash ?? 0]}"/>`;
      return `<li><svg viewBox="0 0 26 12" aria-hidden="true">${key}</svg>${escaped(line.name)}</li>`;
    })
    .join("");
}

/** Every pair a dot on its ring, fast pairs inside; an arc is what the window showed of a slow pair. */
export function wheel({ phases, shown, unseen }) {
  const n = phases.length;
  const radius = (j) => 22 + (78 * (j + 1)) / n;
  const at = (j, angle) => [110 + radius(j) * Math.cos(angle), 110 - radius(j) * Math.sin(angle)];
  const beyond = new Set(unseen);
  let out = '<circle class="rim" cx="110" cy="110" r="104"/><path class="grid" d="M4 110H216M110 4V216"/>';
  for (let j = 0; j < n; j++) {
    if (shown[j] >= 2 * Math.PI) continue;
    const [x0, y0] = at(j, 0);
    const [x1, y1] = at(j, shown[j]);
    const large = shown[j] > Math.PI ? 1 : 0;
    out += `<path class="shown" d="M${x0.toFixed(1)} ${y0.toFixed(1)}A${radius(j)} ${radius(j)} 0 ${large} 0 ${x1.toFixed(1)} ${y1.toFixed(1)}"/>`;
  }
  for (let j = 0; j < n; j++) {
    const [x, y] = at(j, phases[j]);
    if (beyond.has(j)) out += `<rect class="beyond" x="${(x - 3).toFixed(1)}" y="${(y - 3).toFixed(1)}" width="6" height="6"/>`;
    else out += `<circle class="seen" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="2.4"/>`;
  }
  return drawing(220, 220, out);
}
