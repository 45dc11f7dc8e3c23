/* Singular values of the grid of trained spans, which eigenvalues of its Gram matrix lose below 1e-8 of the largest.

   Centred on 0 the grid of L spans falls into rows cos(theta_j m) and rows sin(theta_j m). It is two grids of half its
   length, moved by +S and by -S, so its triangle follows from theirs: as many steps as L has binary digits. */
import { symmetricEigen } from "./eigen.js";

/** The triangle R of columns = Q R by Householder's reflections; `columns` are not kept. */
function triangle(columns) {
  const rows = columns[0].length;
  const steps = Math.min(columns.length, rows);
  for (let k = 0; k < steps; k++) {
    const own = columns[k].slice(k);
    const norm = Math.sqrt(product(own, own));
    if (norm === 0) continue;
    own[0] += own[0] < 0 ? -norm : norm;
    const half = norm * Math.abs(own[0]); // of |own|^2
    for (let j = k; j < columns.length; j++) {
      const column = columns[j];
      let share = 0;
      for (let i = 0; i < own.length; i++) share += own[i] * column[k + i];
      share /= half;
      for (let i = 0; i < own.length; i++) column[k + i] -= share * own[i];
    }
    columns[k].fill(0, k + 1);
  }
  return columns.map((column) => column.slice(0, steps));
}

/** Columns of the triangles of the even and of the odd rows of a grid of `count` spans around 0. */
export function gridTriangles(theta, count) {
  if (count === 1) return [Array.from(theta, () => Float64Array.of(1)), Array.from(theta, () => new Float64Array(0))];
  const [even, odd] = gridTriangles(theta, Math.floor(count / 2));
  const shift = Math.ceil(count / 2) / 2;
  const moved = (first, second, more) =>
    Array.from(theta, (t, j) => {
      const cos = Math.SQRT2 * Math.cos(t * shift);
      const sin = Math.SQRT2 * Math.sin(t * shift);
      const out = new Float64Array(first[j].length + second[j].length + more.length);
      first[j].forEach((x, i) => (out[i] = x * cos));
      second[j].forEach((x, i) => (out[first[j].length + i] = x * sin));
      out.set(more, first[j].length + second[j].length);
      return out;
    });
  return [triangle(moved(even, odd, count % 2 ? [1] : [])), triangle(moved(odd, even, []))];
}

function product(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}

/** Turn two columns into cos a - sin b and sin a + cos b. */
function rotate(a, b, cos, sin) {
  for (let i = 0; i < a.length; i++) {
    const x = a[i];
    a[i] = cos * x - sin * b[i];
    b[i] = sin * x + cos * b[i];
  }
}

/** Squares of the singular values, and right vectors: vectors[j * n + k] is entry j of vector k.

    Vectors of the Gram matrix make the columns all but orthogonal; Jacobi's rotations do the rest. */
export function singular(columns) {
  const n = columns.length;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) gram[i * n + j] = gram[j * n + i] = product(columns[i], columns[j]);
  const { vectors } = symmetricEigen(gram, n);
  const right = Array.from({ length: n }, (_, k) => Float64Array.from({ length: n }, (_, j) => vectors[j * n + k]));
  const turned = right.map((vector) => {
    const out = new Float64Array(columns[0].length);
    columns.forEach((column, j) => column.forEach((x, i) => (out[i] += x * vector[j])));
    return out;
  });
  const squares = turned.map((column) => product(column, column));
  const rounding = Number.EPSILON ** 2 * Math.max(...squares);
  for (let sweep = 0, busy = true; busy && sweep < 30; sweep++) {
    busy = false;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const both = product(turned[p], turned[q]);
        if (both * both <= 1e-28 * squares[p] * squares[q] || Math.abs(both) <= rounding) continue;
        busy = true;
        const ratio = (squares[q] - squares[p]) / (2 * both);
        const tan = (ratio < 0 ? -1 : 1) / (Math.abs(ratio) + Math.hypot(1, ratio));
        const cos = 1 / Math.hypot(1, tan);
        rotate(turned[p], turned[q], cos, cos * tan);
        rotate(right[p], right[q], cos, cos * tan);
        squares[p] = product(turned[p], turned[p]);
        squares[q] = product(turned[q], turned[q]);
      }
    }
  }
  for (let k = 0; k < n; k++) for (let j = 0; j < n; j++) vectors[j * n + k] = right[k][j];
  return { values: Float64Array.from(squares), vectors };
}
