"use strict";
// Small charts in SVG, drawn at the width they are shown in so that text keeps its size. All text goes through
// textContent: hypotheses and file names are foreign matter.

const SVG = "http://www.w3.org/2000/svg";

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function svg(name, attributes = {}, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function ticks(low, high, wanted) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => span / s <= wanted) || 10 * power;
  const marks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * span; k++) marks.push(k * step);
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9) + (step / power === 2.5 ? 1 : 0)));
  return marks.map((value) => ({ value, label: (value || 0).toFixed(digits) }));
}

function padded(values, share = 0.06) {
  const low = Math.min(...values), high = Math.max(...values);
  const gap = (high - low) * share || Math.abs(high) * 0.1 || 1;
  return [low - gap, high + gap];
}

// A frame with axes, grid and labels; returns the scales and the layer to draw on.
function frame(width, height, { x, y, xLabel, yLabel, name }) {
  const margin = { left: 58, right: 16, top: 14, bottom: 46 };
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name });
  const X = (v) => margin.left + ((v - x[0]) / (x[1] - x[0])) * (width - margin.left - margin.right);
  const Y = (v) => height - margin.bottom - ((v - y[0]) / (y[1] - y[0])) * (height - margin.top - margin.bottom);
  for (const { value, label } of ticks(x[0], x[1], Math.max(3, width / 90))) {
    root.append(svg("line", { class: "grid", x1: X(value), x2: X(value), y1: margin.top, y2: height - margin.bottom }));
    root.append(svg("text", { class: "tick", x: X(value), y: height - margin.bottom + 17, "text-anchor": "middle" }, label));
  }
  for (const { value, label } of ticks(y[0], y[1], Math.max(3, height / 60))) {
    root.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: Y(value), y2: Y(value) }));
    root.append(svg("text", { class: "tick", x: margin.left - 8, y: Y(value) + 4, "text-anchor": "end" }, label));
  }
  const bottom = height - margin.bottom;
  root.append(svg("line", { class: "axis", x1: margin.left, x2: width - margin.right, y1: bottom, y2: bottom }));
  root.append(svg("text", { x: (margin.left + width - margin.right) / 2, y: height - 8, "text-anchor": "middle" }, xLabel));
  const middle = (margin.top + bottom) / 2;
  root.append(svg("text", { transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
  return { root, X, Y, margin };
}

const SHAPES = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (r) => `M${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (r) => `M0,${-1.2 * r}L${1.15 * r},${r}H${-1.15 * r}z`,
  (r) => `M0,${-1.35 * r}L${1.35 * r},0L0,${1.35 * r}L${-1.35 * r},0z`,
  (r) => `M0,${1.2 * r}L${1.15 * r},${-r}H${-1.15 * r}z`,
];
const color = (i) => `var(--c${i % 8})`;
const marker = (i, r) => SHAPES[i % SHAPES.length](r);

function tooltip(box) {
  const tip = el("div", { class: "tip", hidden: "" });
  box.append(tip);
  return {
    show(target, lines) {
      tip.replaceChildren(...lines.map((line, i) => el(i ? "div" : "b", { text: line })));
      tip.hidden = false;
      const at = target.getBoundingClientRect(), area = box.getBoundingClientRect();
      const left = at.left - area.left + at.width / 2 - tip.offsetWidth / 2;
      tip.style.left = `${Math.max(4, Math.min(left, area.width - tip.offsetWidth - 4))}px`;
      const above = at.top - area.top - tip.offsetHeight - 8;
      tip.style.top = `${above > 0 ? above : at.bottom - area.top + 8}px`;
    },
    hide() { tip.hidden = true; },
  };
}

// Redraw when the box changes its width.
function responsive(box, draw) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(box.clientWidth - 16);
    if (now > 0 && now !== width) { width = now; draw(width); }
  }).observe(box);
  return () => { if (width) draw(width); };
}

// Lines of points with error bars. series: [{name, points: [{label, x: [value, low, high], y: [...], lines: []}]}]
function curveChart(box, legend, state) {
  const hidden = new Set();
  const tip = tooltip(box);
  let drawn = null;
  const redraw = responsive(box, (width) => {
    const { series, xLabel, yLabel } = state();
    const shown = series.map((s, i) => ({ ...s, i })).filter((s) => !hidden.has(s.name) && s.points.length);
    const points = shown.flatMap((s) => s.points);
    const x = padded(points.length ? points.flatMap((p) => p.x) : [0, 1]);
    const y = padded(points.length ? points.flatMap((p) => p.y) : [0, 1]);
    const height = Math.round(Math.max(300, Math.min(520, width * 0.62)));
    const { root, X, Y } = frame(width, height, { x, y, xLabel, yLabel, name: `${yLabel} against ${xLabel}` });
    for (const s of shown) {
      const path = s.points.map((p, k) => `${k ? "L" : "M"}${X(p.x[0])},${Y(p.y[0])}`).join("");
      root.append(svg("path", { d: path, fill: "none", stroke: color(s.i), "stroke-width": 2 }));
      for (const p of s.points) {
        const [cx, cy] = [X(p.x[0]), Y(p.y[0])];
        const bars = `M${X(p.x[1])},${cy}H${X(p.x[2])}M${cx},${Y(p.y[1])}V${Y(p.y[2])}`;
        root.append(svg("path", { d: bars, stroke: color(s.i), "stroke-width": 1.2, opacity: 0.45 }));
        const point = svg("path", { class: "point", d: marker(s.i, 5), transform: `translate(${cx} ${cy})`, fill: color(s.i), tabindex: 0, role: "button", "aria-label": p.lines.join(", ") });
        const grip = svg("circle", { cx, cy, r: 14, fill: "transparent" });
        for (const node of [point, grip]) {
          node.addEventListener("pointerenter", () => tip.show(point, p.lines));
          node.addEventListener("pointerleave", () => tip.hide());
          node.addEventListener("focus", () => tip.show(point, p.lines));
          node.addEventListener("blur", () => tip.hide());
        }
        root.append(point, grip);
      }
    }
    labelPoints(root, shown, X, Y, width);
    if (drawn) drawn.replaceWith(root); else box.prepend(root);
    drawn = root;
  });
  state().series.forEach((s, i) => {
    const mark = svg("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" });
    mark.append(svg("path", { d: marker(i, 6), fill: color(i) }));
    const button = el("button", { type: "button", "aria-pressed": "true" }, mark, el("span", { text: s.name }));
    button.addEventListener("click", () => {
      const off = hidden.delete(s.name) ? false : Boolean(hidden.add(s.name));
      button.setAttribute("aria-pressed", String(!off));
      redraw();
    });
    legend.append(button);
  });
  return redraw;
}

// Short labels next to the points, left out where they would cover each other.
function labelPoints(root, shown, X, Y, width) {
  const taken = shown.flatMap((s) => s.points.map((p) => [X(p.x[0]) - 6, Y(p.y[0]) - 6, X(p.x[0]) + 6, Y(p.y[0]) + 6]));
  for (const s of shown) for (const p of s.points) {
    if (!p.label) continue;
    const w = 6.4 * p.label.length, right = X(p.x[0]) + 9 + w < width;
    const left = right ? X(p.x[0]) + 9 : X(p.x[0]) - 9 - w, top = Y(p.y[0]) - 16;
    const box = [left, top, left + w, top + 14];
    if (taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1])) continue;
    taken.push(box);
    root.append(svg("text", { x: left, y: top + 11, fill: color(s.i), class: "label", style: `fill:${color(s.i)}`, "pointer-events": "none" }, p.label));
  }
}

// series: [{name, values}]
function histogram(box, legend, { series, xLabel, yLabel, name }) {
  const all = series.flatMap((s) => s.values);
  const tip = tooltip(box);
  const sorted = [...all].sort((a, b) => a - b);
  const at = (q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  const steps = ticks(at(0.005), at(0.995), 24);
  const step = steps.length > 1 ? steps[1].value - steps[0].value : 1;
  const low = Math.floor(at(0.005) / step) * step, count = Math.max(1, Math.ceil((at(0.995) - low) / step + 1e-9));
  const bins = series.map((s) => {
    const row = new Array(count).fill(0);
    for (const v of s.values) row[Math.max(0, Math.min(count - 1, Math.floor((v - low) / step)))]++;
    return row;
  });
  const top = Math.max(...bins.flat(), 1);
  let drawn = null;
  responsive(box, (width) => {
    const height = Math.round(Math.max(240, Math.min(340, width * 0.4)));
    const { root, X, Y } = frame(width, height, { x: [low, low + count * step], y: [0, top * 1.05], xLabel, yLabel, name });
    bins.forEach((row, i) => row.forEach((n, k) => {
      if (!n) return;
      const slot = X(low + step) - X(low), wide = (slot - 2) / series.length;
      const bar = svg("rect", { x: X(low + k * step) + 1 + i * wide, y: Y(n), width: Math.max(1, wide), height: Y(0) - Y(n), fill: color(i) });
      const ends = k === 0 ? "up to" : k === count - 1 ? "from" : "";
      const range = ends === "up to" ? `up to ${(low + step).toFixed(2)}` : ends ? `from ${(low + k * step).toFixed(2)}` : `${(low + k * step).toFixed(2)} to ${(low + (k + 1) * step).toFixed(2)}`;
      bar.addEventListener("pointerenter", () => tip.show(bar, [series[i].name, `${range} s: ${n} segment${n > 1 ? "s" : ""}`]));
      bar.addEventListener("pointerleave", () => tip.hide());
      root.append(bar);
    }));
    if (drawn) drawn.replaceWith(root); else box.prepend(root);
    drawn = root;
  });
  series.forEach((s, i) => {
    const mark = svg("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" });
    mark.append(svg("path", { d: SHAPES[1](6), fill: color(i) }));
    legend.append(el("span", {}, mark, el("span", { text: ` ${s.name}` })));
  });
}

// When each group of words appeared: one row per emission, text at its time, the spoken segment as a bar on top.
function timeline(box, { duration, events, name }) {
  let drawn = null;
  responsive(box, (width) => {
    const row = 20, head = 34, foot = 40, left = 10, right = 10;
    const times = events.flatMap((e) => [e.time, e.late]).filter((t) => t !== null);
    const [low, high] = [Math.min(0, ...times), Math.max(duration, ...times)];
    const height = head + row * events.length + foot;
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name });
    const X = (t) => left + ((t - low) / (high - low || 1)) * (width - left - right);
    const bottom = height - foot;
    for (const { value, label } of ticks(low, high, Math.max(3, width / 80))) {
      root.append(svg("line", { class: "grid", x1: X(value), x2: X(value), y1: head, y2: bottom }));
      root.append(svg("text", { class: "tick", x: X(value), y: bottom + 16, "text-anchor": "middle" }, label));
    }
    root.append(svg("rect", { x: X(0), y: 8, width: Math.max(1, X(duration) - X(0)), height: 16, rx: 3, fill: "var(--c2)", opacity: 0.35 }));
    root.append(svg("text", { x: X(0) + 6, y: 20 }, `spoken, ${duration.toFixed(1)} s`));
    root.append(svg("text", { x: width / 2, y: height - 6, "text-anchor": "middle" }, "time from the start of the segment (s)"));
    const covered = [];
    events.forEach((e, k) => {
      const y = head + row * k + row / 2;
      if (e.late !== null && e.late - e.time > 1e-3) {
        root.append(svg("line", { x1: X(e.time), x2: X(e.late), y1: y, y2: y, stroke: "var(--c1)", "stroke-width": 2 }));
        root.append(svg("circle", { cx: X(e.late), cy: y, r: 3.5, fill: "var(--panel)", stroke: "var(--c1)", "stroke-width": 2 }));
      }
      root.append(svg("circle", { cx: X(e.time), cy: y, r: 3.5, fill: "var(--c0)" }));
      const edge = Math.max(X(e.time), e.late === null ? 0 : X(e.late)), wanted = 6.6 * e.text.length;
      const places = [
        { room: width - right - edge - 9, x: edge + 8, anchor: "start" },
        { room: X(e.time) - left - 9, x: X(e.time) - 8, anchor: "end" },
        { room: edge - X(e.time) - 14, x: X(e.time) + 8, anchor: "start" }, // on the line itself
      ];
      const place = places.find((p) => p.room >= wanted) || places.reduce((a, b) => (b.room > a.room ? b : a));
      const fits = Math.max(3, Math.floor(place.room / 6.6));
      const text = e.text.length > fits ? `${e.text.slice(0, fits - 1)}…` : e.text;
      const label = svg("text", { class: "label", x: place.x, y: y + 4, "text-anchor": place.anchor }, text);
      label.append(svg("title", {}, e.text));
      root.append(label);
      if (place === places[2]) covered.push(label);
    });
    if (drawn) drawn.replaceWith(root); else box.prepend(root);
    for (const label of covered) {
      const { x, y, width: w, height: h } = label.getBBox();
      label.before(svg("rect", { x: x - 3, y, width: w + 6, height: h, fill: "var(--panel)" }));
    }
    drawn = root;
  });
}
