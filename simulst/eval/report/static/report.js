"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const unitOf = (metric) => data.units[metric] || "";
const scale = (metric) => (unitOf(metric) === "ms" ? 0.001 : 1);
const label = (metric) => (unitOf(metric) === "ms" ? `${metric} (s)` : unitOf(metric) ? `${metric} (${unitOf(metric)})` : metric);
const show = (metric, value, digits = 2) => (value === null || value === undefined ? "–" : (value * scale(metric)).toFixed(digits));

function table(node, head, rows) {
  node.append(el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { text, scope: "col", ...(text === "signature" ? { class: "text" } : {}) })))));
  node.append(el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", typeof cell === "string" ? { text: cell } : cell))))));
}

function card({ name, title, value, low, high, signature }) {
  const shown = el("div", { class: "value", text: show(name, value) });
  if (unitOf(name) === "ms") shown.append(el("small", { text: " s" }));
  const box = el("div", { class: "card", title: signature }, el("div", { class: "name", text: title }), shown);
  if (low !== null) box.append(el("div", { class: "bound", text: `95 %: ${show(name, low)} to ${show(name, high)}` }));
  return box;
}

function points() {
  const [x, y] = [by("x").value, by("y").value];
  const series = data.curve.series.map((s) => ({
    name: s.name,
    points: s.points.filter((p) => p.scores[x] && p.scores[y]).map((p) => ({
      label: p.label,
      x: p.scores[x].map((v) => v * scale(x)),
      y: p.scores[y].map((v) => v * scale(y)),
      lines: [`${s.name}${p.label ? `: ${p.label}` : ""}`, ...[x, y].map((m) => `${label(m)}: ${show(m, p.scores[m][0])} [${show(m, p.scores[m][1])}, ${show(m, p.scores[m][2])}]`), p.run],
    })).sort((a, b) => a.x[0] - b.x[0]),
  }));
  return { series, xLabel: label(x), yLabel: label(y) };
}

function segment(s) {
  const head = el("header", {}, el("b", { text: `${s.wav} #${s.number}` }));
  if (s.offset !== null) head.append(el("span", { text: `from ${s.offset.toFixed(1)} s` }));
  head.append(el("span", { text: `chrF2 ${s.quality === null ? "–" : s.quality.toFixed(1)}` }));
  if (data.latency) head.append(el("span", { text: `${label(data.latency)} ${show(data.latency, s.latency)}` }));
  if (s.explained) head.append(el("a", { href: s.explained, text: "why" }));
  const pair = el("dl", { class: "pair" });
  for (const [name, text] of [["Source", s.source], ["Reference", s.reference], ["Output", s.prediction]]) {
    if (text || name !== "Source") pair.append(el("dt", { text: name }), el("dd", { text: text || "(nothing)" }));
  }
  const box = el("article", { class: "segment" }, head, pair);
  if (s.events.length && s.duration) {
    const chart = el("div", { class: "chart" });
    box.append(chart);
    timeline(chart, { duration: s.duration, events: s.events, name: `When each word of segment ${s.number} appeared` });
  }
  return box;
}

function segments() {
  const quality = by("order").value === "quality";
  const key = (s) => (quality ? (s.quality ?? 101) : -(s.latency ?? -Infinity));
  by("segments").replaceChildren(...[...data.segments].sort((a, b) => key(a) - key(b)).slice(0, data.shown).map(segment));
}

by("title").textContent = data.title;
by("subtitle").textContent = data.subtitle;
by("cards").append(...data.cards.map(card));
by("notes").append(...data.notes.map((text) => el("p", { class: "soft", text })));
table(by("scores"), ["score", "ideal", "CA", "CA backlog", "signature"], data.scores.map(([name, values, text]) => [label(name), ...values.map((v) => show(name, v, 3)), { text, class: "signature" }]));
if (data.curve) {
  by("curve-section").hidden = false;
  for (const [id, names, first] of [["x", data.curve.latencies, data.curve.x], ["y", data.curve.qualities, data.curve.y]]) {
    for (const name of names) by(id).append(el("option", { value: name, text: label(name) }));
    by(id).value = first;
  }
  const redraw = curveChart(by("chart"), by("legend"), points);
  for (const id of ["x", "y"]) by(id).addEventListener("change", redraw);
}
if (data.histogram) {
  by("histogram-section").hidden = false;
  histogram(by("histogram"), by("histogram-legend"), data.histogram);
}
if (data.talks) {
  by("talks-section").hidden = false;
  table(by("talks"), ["recording", "segments", "empty", "minutes", ...data.talks.metrics.map(label)], data.talks.rows.map((t) => [t.wav, String(t.segments), String(t.empty), t.minutes.toFixed(1), ...data.talks.metrics.map((m) => show(m, t.scores[m]))]));
}
by("order").addEventListener("change", segments);
segments();
for (const [name, value] of data.facts) by("facts").append(el("dt", { text: name }), el("dd", { text: value }));
