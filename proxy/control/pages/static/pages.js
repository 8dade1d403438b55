'use strict';
// What every page can do: charts, paper, the keyboard, light and dark. Without it the pages still work.
(() => {
  const JUMP_MS = 1200;

  for (const time of document.querySelectorAll('main time')) time.title = time.dateTime;

  for (const box of document.querySelectorAll('[data-chart]')) {
    const chart = new StackedChart(box, document.getElementById('readout'), JSON.parse(box.dataset.chart));
    chart.draw();
  }

  document.getElementById('theme')?.addEventListener('click', () => {
    const isDark = getComputedStyle(document.documentElement).getPropertyValue('--is-dark').trim() === '1';
    document.documentElement.dataset.theme = isDark ? 'light' : 'dark';
    localStorage.setItem('theme', document.documentElement.dataset.theme);
    document.dispatchEvent(new Event('themechange'));
  });

  // A canvas keeps the colours and the width that it was drawn with: for paper it is drawn anew, light and as wide as a sheet.
  function draw(theme, paper) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    document.documentElement.classList.toggle('paper', paper);
    document.dispatchEvent(new Event('themechange'));
  }
  let screen;
  addEventListener('beforeprint', () => {
    screen = document.documentElement.dataset.theme;
    draw('light', true);
  });
  addEventListener('afterprint', () => draw(screen, false));

  // What is to be pasted elsewhere is copied by one click; without a clipboard (no TLS, another host) it is selected.
  for (const block of document.querySelectorAll('main pre, main .secret')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      const code = block.querySelector('code') || block;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = 'Copied';
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = 'Selected';
      }
    });
    block.before(button);
  }

  for (const form of document.querySelectorAll('form[data-confirm]')) {
    form.addEventListener('submit', (event) => {
      if (!confirm(form.dataset.confirm)) event.preventDefault();
    });
  }

  // Whoever reads elsewhere finds his own zone in one click; it stands in the address then, and goes with every link.
  const zone = document.getElementById('main').dataset.zone || 'UTC';
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
  const other = mine === zone ? 'UTC' : mine;
  for (const place of document.querySelectorAll('#range, main .zone:not(.fixed)')) {
    if (other === zone || /^Etc\/(UTC|GMT|Unknown)$/.test(other)) break;
    const there = new URL(location.href);
    there.searchParams.set('tz', other);
    const link = document.createElement('a');
    link.href = there.pathname + there.search.replaceAll('%2F', '/') + there.hash;
    link.textContent = `in ${other}`;
    place.append(place.classList.contains('zone') ? ' · ' : '', link);
  }

  // On a phone the navigation is wider than the screen: what is open is in sight.
  for (const row of document.querySelectorAll('.top nav, .months ul')) {
    const open = row.querySelector('a[aria-current]');
    if (open) row.scrollLeft = open.offsetLeft - row.offsetLeft - (row.clientWidth - open.offsetWidth) / 2;
  }

  // The keyboard

  let jumpUntil = 0;
  const rows = () => [...document.querySelectorAll('tr[data-row], .calls-list > li')];

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.classList.contains('here'));
    const next = all[Math.min(all.length - 1, Math.max(0, now < 0 ? (step > 0 ? 0 : all.length - 1) : now + step))];
    if (now >= 0) all[now].classList.remove('here');
    next.classList.add('here');
    next.scrollIntoView({ block: 'nearest' });
    (next.querySelector('a, summary') || next).focus({ preventScroll: true });
  }

  /** The first that there is, in this order. */
  function focus(...selectors) {
    for (const selector of selectors) {
      const field = document.querySelector(selector);
      if (field) return field.focus();
    }
  }

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, select, textarea, [contenteditable]')) return;
    if (Date.now() < jumpUntil) {
      jumpUntil = 0;
      const link = document.querySelector(`a[data-jump="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    const keys = {
      g: () => { jumpUntil = Date.now() + JUMP_MS; },
      j: () => move(1),
      k: () => move(-1),
      t: () => {
        const details = document.querySelector('#range details');
        if (details) details.open = true;
        focus('#range input');
      },
      '/': () => focus('main input[type=search]', 'main form.choose input:not([type=hidden])', 'main input:not([type=hidden])'),
      '?': () => document.getElementById('help')?.showModal(),
    };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
})();
