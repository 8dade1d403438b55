// Draws a dashboard from its own JSON and what Prometheus answered: {board, data, annotations, now}. The kinds of panels, units and
// transformations are those that our dashboards have; anything else is an error.

const COLORS = ["#3b7dd8", "#e0912b", "#4c9a52", "#c4453c", "#8a63c9", "#2a9d9d", "#b0568d", "#8a8f1e", "#5b6bbf", "#a8663a", "#6e7781"];
const NAMED = { green: "#3d9a50", orange: "#e0912b", red: "#d0453c", blue: "#3b7dd8" };

function digits(value, wanted) {
  if (wanted !== undefined) return wanted;
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return 0;
  return size === 0 ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : Math.min(9, 1 - Math.floor(Math.log10(size)) + 1);
}

function scaled(value, steps, wanted) {
  if (value === 0) return "0" + steps.find(([size]) => size === 1)[1];
  const [size, name] = steps.find(([size]) => Math.abs(value) >= size) || steps[steps.length - 1];
  return (value / size).toFixed(digits(value / size, value === 0 ? 0 : wanted)) + name;
}

const UNITS = {
  currencyUSD: (v, d) => "$" + scaled(v, [[1e6, " M"], [1e4, " K"], [1, ""]], d),
  percentunit: (v, d) => (v * 100).toFixed(digits(v * 100, d)) + "%",
  short: (v, d) => scaled(v, [[1e9, " B"], [1e6, " M"], [1e3, " K"], [1, ""]], d),
  s: (v, d) => scaled(v, [[86400, " d"], [3600, " h"], [60, " min"], [1, " s"], [1e-3, " ms"], [1e-6, " µs"]], d),
  h: (v, d) => UNITS.s(v * 3600, d),
  bytes: (v, d) => scaled(v, [[2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"], [1, " B"]], d),
  reqps: (v, d) => scaled(v, [[1e3, "K"], [1, ""]], d) + " req/s",
  joule: (v, d) => scaled(v, [[1e9, " GJ"], [1e6, " MJ"], [1e3, " kJ"], [1, " J"]], d),
  bool_yes_no: (v) => (v ? "Yes" : "No"),
  dateTimeFromNow: (v, d, now) => {
    const away = v / 1000 - now;
    const text = UNITS.s(Math.abs(away), 0).replace(" d", " days").replace(" min", " minutes").replace(" h", " hours");
    return away < 0 ? text + " ago" : "in " + text;
  },
};

function format(value, unit, decimals, now) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!UNITS[unit]) throw new Error("no unit " + unit);
  return UNITS[unit](value, decimals, now);
}

function legend(template, metric) {
  if (template === "__auto") return Object.entries(metric).map(([k, v]) => `${k}="${v}"`).join(", ") || "value";
  return template.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => metric[name] ?? "").trim() || "(none)";
}

function colorOf(value, defaults) {
  let color = null;
  for (const step of defaults.thresholds.steps) if (step.value === null || value >= step.value) color = step.color;
  return NAMED[color];
}

function element(parent, kind, attributes = {}, text = "") {
  const made = document.createElement(kind);
  Object.assign(made, attributes);
  if (text !== "") made.textContent = text;
  parent.append(made);
  return made;
}

const number = (text) => (text === "NaN" ? NaN : parseFloat(text));

function rows(panel, data) {
  return panel.targets.flatMap((target, n) =>
    data[n].map((one) => ({ name: legend(target.legendFormat, one.metric), metric: one.metric, value: number(one.value[1]) })));
}

function stat(box, panel, data, now) {
  const { unit, decimals } = panel.fieldConfig.defaults;
  const shown = element(box, "div", { className: "stat" });
  const found = rows(panel, data);
  if (!found.length) element(shown, "div", {}, "No data");
  for (const row of found) {
    const one = element(shown, "div", {}, format(row.value, unit, decimals, now));
    one.style.color = colorOf(row.value, panel.fieldConfig.defaults);
    if (panel.targets[0].legendFormat !== "__auto") element(one, "small", {}, row.name);
  }
}

function bars(box, panel, data, now) {
  const { unit, decimals, max } = panel.fieldConfig.defaults;
  const found = rows(panel, data);
  if (!found.length) element(box, "div", { className: "stat" }, "").append("–");
  const whole = max ?? Math.max(...found.map((row) => row.value), 1e-12);
  const list = element(box, "div", { className: "bars" });
  for (const row of found.slice(0, 9)) {
    element(list, "div", { className: "name" }, row.name);
    const fill = element(element(list, "div", { className: "track" }), "div", { className: "fill" });
    fill.style.width = `${Math.max(0, Math.min(100, (100 * row.value) / whole))}%`;
    fill.style.background = colorOf(row.value, panel.fieldConfig.defaults);
    element(list, "div", { className: "value" }, format(row.value, unit, decimals, now));
  }
}

function table(box, panel, data, now) {
  const [join, organize] = panel.transformations;
  const key = join.options.byField;
  const joined = new Map();
  data.forEach((series, n) => series.forEach((one) => {
    const row = joined.get(one.metric[key] ?? "") || joined.set(one.metric[key] ?? "", {}).get(one.metric[key] ?? "");
    row[`Value #${"ABCDEFGH"[n]}`] = number(one.value[1]);
  }));
  const columns = Object.entries(organize.options.renameByName);
  const unitOf = (name) => panel.fieldConfig.overrides.find((o) => o.matcher.options === name)?.properties[0].value ?? panel.fieldConfig.defaults.unit;
  const made = element(box, "table");
  const head = element(element(made, "thead"), "tr");
  element(head, "th", {}, key);
  for (const [, name] of columns) element(head, "th", {}, name);
  const body = element(made, "tbody");
  for (const [name, row] of [...joined].slice(0, 9)) {
    const line = element(body, "tr");
    element(line, "td", {}, name || "(none)");
    for (const [ref, column] of columns) element(line, "td", {}, format(row[ref], unitOf(column), undefined, now));
  }
}

function lines(box, panel, data, { now, start, step, annotations }) {
  const { unit, decimals, custom, min } = panel.fieldConfig.defaults;
  const stacked = custom.stacking.mode === "normal";
  const xs = [];
  for (let at = start; at <= now + 1e-6; at += step) xs.push(at);
  const place = (at) => Math.round((at - start) / step);
  const found = panel.targets.flatMap((target, n) => data[n].map((one) => {
    const ys = new Array(xs.length).fill(null);
    for (const [at, value] of one.values) if (Number.isFinite(number(value))) ys[place(at)] = number(value);
    return { name: legend(target.legendFormat, one.metric), ys };
  })).filter((one) => one.ys.some((y) => y !== null)).slice(0, 12);
  if (stacked) found.sort((a, b) => sum(b.ys) - sum(a.ys));
  const drawn = stacked ? stack(found.map((one) => one.ys)) : found.map((one) => one.ys);
  const plot = element(box, "div", { className: "plot" });
  const list = element(box, "div", { className: "legend" });
  found.forEach((one, n) => {
    const item = element(list, "span");
    element(item, "i").style.background = COLORS[n % COLORS.length];
    item.append(one.name);
    const last = one.ys.findLast((y) => y !== null);
    element(item, "b", {}, format(last, unit, decimals, now));
  });
  const size = plot.getBoundingClientRect();
  const series = found.map((one, n) => ({
    label: one.name, stroke: COLORS[n % COLORS.length], width: 1.5, points: { show: false },
    fill: stacked ? COLORS[n % COLORS.length] + "cc" : null, spanGaps: false,
  }));
  const levels = custom.thresholdsStyle.mode === "line" ? panel.fieldConfig.defaults.thresholds.steps.filter((s) => s.value !== null) : [];
  new uPlot({
    width: Math.floor(size.width), height: Math.floor(size.height), legend: { show: false }, cursor: { show: false },
    series: [{}, ...(stacked ? series.reverse() : series)],
    scales: { y: { range: (_, low, high) => [min ?? low ?? 0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { grid: { stroke: "#eceeef" }, ticks: { show: false }, size: 22, space: 80, font: "11px system-ui, DejaVu Sans", stroke: "#6a7076",
        values: (_, splits) => splits.map((at) => new Date(at * 1000).toISOString().slice(11, at % 60 ? 19 : 16)) },
      { grid: { stroke: "#eceeef" }, ticks: { show: false }, size: 76, font: "11px system-ui, DejaVu Sans", stroke: "#6a7076",
        values: (_, splits) => splits.map((v) => (v === null ? "" : format(v, unit, undefined, now).replace(/(\.\d*?)0+(?=\D*$)/, "$1").replace(/\.(?=\D*$)/, ""))) },
    ],
    hooks: { draw: [(u) => marks(u, levels, annotations)] },
  }, [xs, ...(stacked ? drawn.reverse() : drawn)], plot);
}

const sum = (values) => values.reduce((a, b) => a + (b ?? 0), 0);

function stack(all) {
  const so_far = new Array(all[0]?.length ?? 0).fill(0);
  return all.map((ys) => ys.map((y, n) => (so_far[n] += y ?? 0)));
}

function marks(u, levels, annotations) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const level of levels) {
    const y = u.valToPos(level.value, "y", true);
    line(ctx, NAMED[level.color], [], bbox.left, y, bbox.left + bbox.width, y);
  }
  for (const mark of annotations) {
    const x = u.valToPos(mark.at, "x", true);
    line(ctx, NAMED[mark.color], [4, 4], x, bbox.top, x, bbox.top + bbox.height);
  }
  ctx.restore();
}

function line(ctx, color, dash, x0, y0, x1, y1) {
  ctx.strokeStyle = color;
  ctx.lineWidth = 1.2;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

const KINDS = { stat, bargauge: bars, table, timeseries: lines };

function draw({ board, data, annotations, now, start, step }) {
  document.querySelector("h1").textContent = board.title;
  document.querySelector("header p").textContent = board.description;
  document.querySelector("#variables").textContent = board.templating.list
    .filter((v) => v.type === "query" && !["job", "instance"].includes(v.name)).map((v) => `${v.label}: All`).join("   ");
  for (const panel of board.panels) {
    const { x, y, w, h } = panel.gridPos;
    const box = element(document.querySelector("main"), "section");
    box.style.gridColumn = `${x + 1} / span ${w}`;
    box.style.gridRow = `${y + 1} / span ${h}`;
    element(box, "h2", {}, panel.title);
    const kind = KINDS[panel.type];
    if (panel.type === "timeseries") kind(box, panel, data[panel.id], { now, start, step, annotations });
    else kind(box, panel, data[panel.id], now);
  }
}
