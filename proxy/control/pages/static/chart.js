'use strict';
// Spend over time, as bars. Colours come from the style sheet, so that light and dark have one source.

/** The zone that all times of the page stand in. */
const ZONE = zoneOf(document.getElementById('main')?.dataset.zone);

/** A browser may not know all that the server knows. */
function zoneOf(name) {
  try {
    return new Intl.DateTimeFormat([], { timeZone: name || 'UTC' }).resolvedOptions().timeZone;
  } catch {
    return 'UTC';
  }
}

/** Of a chart in this box, or on a sheet of paper. */
const sizeOf = (box, height) => (document.documentElement.classList.contains('paper') ? { width: 700, height: 230 } : { width: box.clientWidth, height });

/** uPlot's options that all charts have. */
const PLAIN = {
  tzDate: (at) => uPlot.tzDate(new Date(at * 1000), ZONE),
  padding: [8, 32, 0, 0],  // the last label of the time needs room
  legend: { show: false },
  cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
};
const FROM_ZERO = { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axisStyle = () => ({
  stroke: colour('--muted'),
  font: '12px system-ui, sans-serif',
  grid: { stroke: colour('--line'), width: 1 },
  ticks: { show: false },
});

class SpendChart {
  /** box: where it is drawn; readout: where the bar under the pointer is told. */
  constructor(box, readout) {
    this.box = box;
    this.readout = readout;
    this.series = null;
    this.plot = null;
    this.stepS = 60;
    new ResizeObserver(() => this.resize()).observe(box);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.rebuild());
    document.addEventListener('themechange', () => this.rebuild());
  }

  /** series: {step_s, at: [epoch s], usd: [number], about: text} */
  show(series) {
    const step = this.series && this.series.step_s;
    this.series = series;
    this.box.setAttribute('aria-label', series.about);
    if (!this.plot || step !== series.step_s) this.rebuild();
    else this.plot.setData(this.data());
    this.tell(null);
  }

  forget() {
    if (this.plot) this.plot.destroy();
    this.plot = this.series = null;
    this.readout.textContent = '';
  }

  data() {
    return [this.series.at.map((at) => at + this.series.step_s / 2), this.series.usd];
  }

  size() {
    return sizeOf(this.box, Math.max(200, this.box.clientHeight));
  }

  resize() {
    if (this.plot && this.box.clientWidth) this.plot.setSize(this.size());
  }

  rebuild() {
    if (!this.series || !this.box.clientWidth) return;
    if (this.plot) this.plot.destroy();
    const axis = axisStyle();
    this.plot = new uPlot(
      {
        ...this.size(),
        ...PLAIN,
        scales: {
          x: { range: () => [this.series.at[0], this.series.at[this.series.at.length - 1] + this.series.step_s] },
          y: FROM_ZERO,
        },
        axes: [
          { ...axis, grid: { show: false }, size: 26, gap: 6, space: 70, values: (_plot, marks) => marks.map((at) => clockTime(at)) },
          { ...axis, space: 44, size: (_plot, values) => 18 + 7 * Math.max(2, ...(values || []).map((text) => text.length)),
            values: (_plot, marks) => axisDollars(marks) },
        ],
        series: [
          {},
          { stroke: colour('--accent'), fill: colour('--accent'), width: 0, points: { show: false },
            paths: uPlot.paths.bars({ size: [0.72, 48], radius: 0.15 }) },
        ],
        hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx)] },
      },
      this.data(),
      this.box,
    );
  }

  tell(index) {
    const { at, usd, about } = this.series;
    this.readout.textContent = index == null ? about : `${clockTime(at[index])}  ${dollars(usd[index])}`;
  }
}

/** Groups over time, stacked or as lines. A click on a bar opens the calls of that group and time. */
class StackedChart {
  /** data: {metric, money, stacked, step, at: [epoch s], ends, labels, series: [{name, link, values}], about} */
  constructor(box, readout, data) {
    this.box = box;
    this.readout = readout;
    this.data = data;
    this.plot = null;
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(box);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    document.addEventListener('themechange', () => this.draw());
    box.addEventListener('click', () => this.open());
  }

  size() {
    return sizeOf(this.box, 260);
  }

  /** Each series on top of those below it; the topmost first, so that the ones below are drawn over it. */
  rows() {
    const { series, stacked } = this.data;
    if (!stacked) return series.map((one) => one.values);
    const sums = this.data.at.map(() => 0);
    return series.map((one) => one.values.map((value, index) => (sums[index] += value ?? 0))).reverse();
  }

  draw() {
    if (this.plot) this.plot.destroy();
    if (!this.data.at.length || !this.box.clientWidth) return;
    const { at, stacked, money } = this.data;
    const paint = (index) => colour(`--series-${index % 9}`);
    const drawn = this.data.series.map((_, index) => index);
    if (stacked) drawn.reverse();
    const axis = axisStyle();
    const step = { hour: 3600, day: 86400, week: 7 * 86400, month: 30 * 86400 }[this.data.step];
    const half = step / 2;
    this.plot = new uPlot(
      {
        ...this.size(),
        ...PLAIN,
        scales: {
          x: { range: () => [Math.min(at[0], this.data.from ?? at[0]) - half, Math.max(at[at.length - 1], this.data.to - step) + half] },
          y: FROM_ZERO,
        },
        axes: [
          { ...axis, grid: { show: false }, size: 26, gap: 6, space: 70, splits: this.data.step === 'hour' ? undefined : (_plot, _axis, low, high) => this.marks(low, high, step), values: (_plot, marks) => marks.map((mark) => this.label(mark)) },
          { ...axis, space: 44, size: 70, values: (_plot, marks) => (money ? axisDollars(marks) : marks.map((mark) => short(mark))) },
        ],
        series: [
          {},
          ...drawn.map((index) => (stacked
            ? { stroke: paint(index), fill: paint(index), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 60] }) }
            : { stroke: paint(index), width: 2, points: { show: at.length < 3 } })),
        ],
        hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx)] },
      },
      [at, ...this.rows()],
      this.box,
    );
  }

  /** Where the axis is marked: whole periods counted from the first, as many as there is room for. */
  marks(low, high, step) {
    const first = this.data.at[0];
    const every = step * Math.max(1, Math.ceil((high - low) / step / Math.max(1, this.box.clientWidth / 90)));
    const marks = [];
    for (let mark = first - Math.floor((first - low) / every) * every; mark <= high; mark += every) marks.push(mark);
    return marks;
  }

  /** Days are counted from a midnight on, and some have 23 hours: a quarter of a day later it is the same day for sure. */
  label(mark) {
    const day = { day: 'numeric', month: 'short', timeZone: this.data.zone ? zoneOf(this.data.zone) : ZONE };
    return this.data.step === 'hour'
      ? new Date(mark * 1000).toLocaleString([], { ...day, hour: '2-digit', hourCycle: 'h23' })
      : new Date((mark + 21600) * 1000).toLocaleDateString([], day);
  }

  /** Which series lies under the pointer; null where none does. */
  under(index) {
    const { series, stacked } = this.data;
    const y = this.plot.posToVal(this.plot.cursor.top, 'y');
    let sum = 0;
    for (const one of series) {
      const value = one.values[index] ?? 0;
      sum = stacked ? sum + value : value;
      if (value && y <= sum) return one;
    }
    return null;
  }

  tell(index) {
    if (!this.readout) return;
    if (index == null) {
      this.readout.textContent = '';
      return;
    }
    const { labels, series, stacked, money } = this.data;
    const show = (value) => (money ? dollars(value) : short(value));
    const one = this.under(index);
    const total = series.reduce((sum, each) => sum + (each.values[index] ?? 0), 0);
    const parts = [labels[index]];
    if (one) parts.push(`${one.name} ${show(one.values[index])}`);
    if (stacked) parts.push(`${show(total)} in all`);
    this.readout.textContent = parts.join(' · ');
  }

  open() {
    const index = this.plot?.cursor.idx;
    if (index == null) return;
    const one = this.under(index);
    if (!one || !one.link) return;
    const { at, ends } = this.data;
    const url = new URL(one.link, location.href);
    url.searchParams.set('since', new Date(at[index] * 1000).toISOString());
    url.searchParams.set('until', new Date(ends[index] * 1000).toISOString());
    location.href = url;
  }
}

function short(value) {
  return value >= 1e6 ? `${(value / 1e6).toFixed(1)}M` : value >= 1e3 ? `${(value / 1e3).toFixed(1)}k` : String(Math.round(value * 100) / 100);
}

function clockTime(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZone: ZONE });
}

/** One more or one fewer decimal, so that an amount shows three digits. */
function dollars(amount) {
  const decimals = amount >= 10 || amount === 0 ? 2 : amount >= 0.01 ? 4 : 6;
  return '$' + amount.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** The marks of an axis with the decimals that tell neighbours apart. */
function axisDollars(marks) {
  const step = marks.length > 1 ? marks[1] - marks[0] : 1;
  let decimals = 0;
  while (decimals < 9 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6) decimals += 1;
  return marks.map((mark) => '$' + mark.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
}
