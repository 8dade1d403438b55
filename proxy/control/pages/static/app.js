'use strict';
// What happens now, as server-sent events over fetch, whose status tells a sign-in that has ended. A tab that nobody looks
// at does not ask.
(() => {
  const byId = (id) => document.getElementById(id);
  const status = byId('status');
  const chart = new SpendChart(byId('chart'), byId('readout'));
  const parser = new DOMParser();
  const series = {};
  const CLOCK = { hourCycle: 'h23', timeZone: ZONE };
  const TZ = document.getElementById('main').dataset.zone;
  const RETRY_MS = [500, 10_000];
  const SILENT_MS = 20_000; // the server speaks every 5 s
  let stream = null;

  function say(state, text) {
    status.dataset.state = state;
    if (status.textContent !== text) status.textContent = text;
  }

  function showTimes(root) {
    for (const time of root.querySelectorAll('time')) {
      const at = new Date(time.dateTime);
      const day = { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', ...CLOCK };
      time.textContent = time.dataset.show === 'day' ? at.toLocaleString([], day) : at.toLocaleTimeString([], CLOCK);
      time.title = time.dateTime;
    }
  }

  function showPart(name, html) {
    const place = byId(`part-${name}`);
    const next = parser.parseFromString(html, 'text/html').body;
    showTimes(next);
    const filled = place.childElementCount > 0;
    const fresh = morphChildren(place, next);
    if (name === 'calls' && filled && matchMedia('(prefers-reduced-motion: no-preference)').matches) {
      for (const row of fresh) row.animate([{ backgroundColor: 'var(--fresh)' }, {}], { duration: 2000, easing: 'ease-out' });
    }
  }

  function showProblem(text) {
    const place = byId('part-problem');
    place.hidden = !text;
    place.textContent = text;
  }

  function showChart() {
    const wanted = series[document.querySelector('input[name=stretch]:checked').value];
    if (wanted) chart.show(wanted);
  }

  function take(parts) {
    for (const [name, part] of Object.entries(parts)) {
      if (name === 'problem') showProblem(part);
      else if (typeof part === 'string') showPart(name, part);
      else series[name] = part;
    }
    if ('minutes' in parts || 'hours' in parts) showChart();
    say('live', `live · ${new Date().toLocaleTimeString([], CLOCK)}`);
  }

  /** Read one stream to its end. Resolves to whether the sign-in has ended, or throws. */
  async function read(signal, alive) {
    const response = await fetch(TZ ? `/page/live?tz=${encodeURIComponent(TZ)}` : '/page/live', { headers: { accept: 'text/event-stream' }, signal, cache: 'no-store', credentials: 'same-origin' });
    if (response.status === 401) return true;
    if (!response.ok) throw new Error((await response.json()).error.message);
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ; ) {
      const { done, value } = await pieces.read();
      if (done) return false;
      alive();
      const events = (rest + value).split('\n\n');
      rest = events.pop();
      for (const event of events) if (event.startsWith('data: ')) take(JSON.parse(event.slice(6)));
    }
  }

  async function watch() {
    if (stream || document.hidden) return;
    const mine = (stream = new AbortController());
    for (let pause = RETRY_MS[0]; stream === mine; pause = Math.min(pause * 2, RETRY_MS[1])) {
      const attempt = new AbortController();
      mine.signal.addEventListener('abort', () => attempt.abort());
      let silence = setTimeout(() => attempt.abort(), SILENT_MS);
      const alive = () => {
        clearTimeout(silence);
        silence = setTimeout(() => attempt.abort(), SILENT_MS);
        pause = RETRY_MS[0];
      };
      let why = 'The connection ended';
      try {
        if (await read(attempt.signal, alive)) return location.reload();
      } catch (error) {
        if (error.name !== 'AbortError' && error.name !== 'TypeError') why = error.message;
      } finally {
        clearTimeout(silence);
      }
      if (stream !== mine) return;
      say('away', `${why} · trying again`);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  function unwatch() {
    if (stream) stream.abort();
    stream = null;
  }

  for (const choice of document.querySelectorAll('input[name=stretch]')) choice.addEventListener('change', showChart);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) unwatch();
    else watch();
  });
  watch();
})();
