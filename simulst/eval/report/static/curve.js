"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const scale = (metric) => (data.units[metric] === "ms" ? 0.001 : 1);
const label = (metric) => (data.units[metric] === "ms" ? `${metric} (s)` : data.units[metric] ? `${metric} (${data.units[metric]})` : metric);
const show = (metric, value) => (value * scale(metric)).toFixed(2);

function choose(select, names, first) {
  for (const name of names) select.append(el("option", { value: name, text: label(name) }));
  select.value = first;
}

function points() {
  const [x, y] = [by("x").value, by("y").value];
  const series = data.series.map((s) => ({
    name: s.name,
    points: s.points
      .filter((p) => p.scores[x] && p.scores[y])
      .map((p) => ({
        label: p.label,
        x: p.scores[x].map((v) => v * scale(x)),
        y: p.scores[y].map((v) => v * scale(y)),
        lines: [`${s.name}${p.label ? `: ${p.label}` : ""}`, ...[x, y].map((m) => `${label(m)}: ${show(m, p.scores[m][0])} [${show(m, p.scores[m][1])}, ${show(m, p.scores[m][2])}]`), p.run],
      }))
      .sort((a, b) => a.x[0] - b.x[0]),
  }));
  return { series, xLabel: label(x), yLabel: label(y) };
}

function table(node, head, rows) {
  node.append(el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { text, scope: "col", ...(text === "policy" || text === "signature" ? { class: "text" } : {}) })))));
  node.append(el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", typeof cell === "string" ? { text: cell } : cell))))));
}

function difference(metric, [value, low, high, p]) {
  const sign = value > 0 ? "+" : "";
  return `${sign}${show(metric, value)}\n[${show(metric, low)}, ${show(metric, high)}] p ${p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`}`;
}

choose(by("x"), data.latencies, data.x);
choose(by("y"), data.qualities, data.y);
by("summary").textContent = data.summary;
const redraw = curveChart(by("chart"), by("legend"), points);
for (const id of ["x", "y"]) by(id).addEventListener("change", redraw);

const metrics = [...data.qualities, ...data.latencies.filter((m) => data.main.includes(m))];
const all = data.series.flatMap((s) => s.points.map((p) => ({ ...p, series: s.name })));
table(by("scores"), ["run", "policy", ...metrics.map(label)], all.map((p) => [p.run, { text: `${p.series} ${p.label}`, class: "text" }, ...metrics.map((m) => (p.scores[m] ? show(m, p.scores[m][0]) : "–"))]));
table(by("signatures"), ["score", "signature"], data.signatures.map(([name, text]) => [name, { text, class: "signature" }]));
if (data.comparison) {
  by("comparison").hidden = false;
  by("baseline").textContent = data.comparison.baseline;
  const names = data.comparison.metrics;
  table(by("differences"), ["run", ...names.map(label)], data.comparison.rows.map((r) => [r.run, ...names.map((m) => (r[m] ? { class: "two", text: difference(m, r[m]) } : "–"))]));
}
