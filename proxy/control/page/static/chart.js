'use strict';
// Spend over time, as bars. Colours come from the style sheet, so that light and dark have one source.

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
    return { width: this.box.clientWidth, height: Math.max(200, this.box.clientHeight) };
  }

  resize() {
    if (this.plot && this.box.clientWidth) this.plot.setSize(this.size());
  }

  rebuild() {
    if (!this.series || !this.box.clientWidth) return;
    if (this.plot) this.plot.destroy();
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--muted'),
      font: '12px system-ui, sans-serif',
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [8, 6, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: {
          x: { range: () => [this.series.at[0], this.series.at[this.series.at.length - 1] + this.series.step_s] },
          y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        axes: [
          { ...axis, grid: { show: false }, size: 26, gap: 6, space: 70, values: (_plot, marks) => marks.map((at) => clockTime(at)) },
          { ...axis, size: (_plot, values) => 18 + 7 * Math.max(2, ...(values || []).map((text) => text.length)),
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

function clockTime(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

/** One more or one fewer decimal, so that an amount shows three digits. */
function dollars(amount) {
  const decimals = amount >= 10 || amount === 0 ? 2 : amount >= 0.01 ? 4 : 6;
  return '$' + amount.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** The marks of an axis with the decimals that tell neighbours apart. */
function axisDollars(marks) {
  const step = marks.length > 1 ? marks[1] - marks[0] : 1;
  const decimals = Math.min(9, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  return marks.map((mark) => '$' + mark.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
}
