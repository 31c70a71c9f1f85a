'use strict';
// One function draws the whole page from one report; morph then changes only what differs, so a selection,
// the focus and the moving wire survive the second.

// el makes an element: el('p.soft', 'text', child). Text is always text, never markup.
function el(spec, ...children) {
  const [tag, ...classes] = spec.split('.');
  const node = svgTags.has(tag) ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  if (classes.length) node.setAttribute('class', classes.join(' '));
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    if (child instanceof Node) node.append(child);
    else if (typeof child === 'object') for (const [name, value] of Object.entries(child)) node.setAttribute(name, value);
    else node.append(String(child));
  }
  return node;
}
const svgTags = new Set(['svg', 'path']);

function morph(old, now) {
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName) { old.replaceWith(now); return; }
  if (old.nodeType === Node.TEXT_NODE) { if (old.data !== now.data) old.data = now.data; return; }
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const from = [...old.childNodes], to = [...now.childNodes];
  to.forEach((child, i) => from[i] ? morph(from[i], child) : old.append(child));
  from.slice(to.length).forEach(child => child.remove());
}

// Words and numbers.

const count = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });
const fine = new Intl.NumberFormat('en', { maximumFractionDigits: 6 }); // 0.01° of latitude is a kilometre
const known = v => v !== null && v !== undefined;
const plural = (n, one, many) => `${count.format(n)} ${n === 1 ? one : many || one + 's'}`;

function bytes(n) {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (Math.abs(n) < 1000 || unit === 'GiB') return `${unit === 'B' || n >= 100 ? count.format(n) : n.toFixed(1)} ${unit}`;
    n /= 1024;
  }
}

function duration(s) {
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 90) return `${Math.floor(s)} s`;
  if (s < 5400) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} days ${Math.floor(s % 86400 / 3600)} h`;
}

const ago = s => !known(s) ? 'never' : s < 1.5 ? 'now' : `${duration(s)} ago`;
const rate = v => !known(v) ? '…' : v === 0 ? '0/s' : `${v < 10 ? v.toFixed(1) : count.format(v)}/s`;

function shown(v) {
  if (v.value === null) return v.quality || 'no value';
  if (typeof v.value === 'boolean') return v.value ? 'on' : 'off';
  if (typeof v.value !== 'number') return String(v.value);
  if (v.unit === 'B') return bytes(v.value);
  if (v.unit === 's' && v.value >= 90) return duration(v.value);
  const text = (v.unit === '°' ? fine : plain).format(v.value).replace(/^-0$/, '0');
  return v.unit ? `${text} ${v.unit}` : text;
}

// The parts of the page.

const pairs = rows => el('dl', rows.filter(Boolean).map(([name, value, kind]) => el('div', el('dt', name), el(kind ? 'dd.' + kind : 'dd', value))));
const pill = (kind, text) => el('span.pill.' + kind, el('span.dot'), text);

function head(r) {
  const g = r.gateway;
  return el('header',
    el('h1', g.id),
    verdict(r),
    el('span.soft.small.right', [`version ${g.version}`, `up ${duration(g.uptime_seconds)}`, g.memory_bytes ? `${bytes(g.memory_bytes)} memory` : ''].filter(Boolean).join(' · ')));
}

// A device or a link that is down, and an alarm, are no problem of the gateway, but it is not calm either.
function verdict(r) {
  if (r.problems.length) return pill('bad', plural(r.problems.length, 'problem'));
  const offline = r.devices.filter(d => !d.online).length, down = r.clouds.filter(c => !c.connected).length;
  const alarms = (r.alarms || []).length;
  const missing = [alarms && plural(alarms, 'alarm'), offline && `${plural(offline, 'device')} offline`, down && `${plural(down, 'link')} down`].filter(Boolean);
  return missing.length ? pill('warn', missing.join(', ')) : pill('good', 'healthy');
}

function flow(r) {
  const online = r.devices.filter(d => d.online).length;
  const up = r.clouds.filter(c => c.connected).length;
  const waiting = r.clouds.reduce((n, c) => n + c.queued, 0);
  const readings = r.gateway.readings_per_second;
  const received = known(readings) ? readings + r.broker.received_per_second : null; // from devices and clients
  const sent = r.clouds.reduce((n, c) => n + (c.sent_per_second || 0), 0);
  const last = !r.clouds.length ? ['wire', 'no cloud'] : up < r.clouds.length ? ['wire.cut', up ? 'one link is down' : 'no link'] : [sent > 0 ? 'wire.moving' : 'wire', rate(sent)];
  return el('section.card.flow', { 'aria-label': 'from the devices to the cloud' },
    el('div.node', el('b', `${online}/${r.devices.length}`), r.devices.length === 1 ? 'device' : 'devices'),
    el(received > 0 ? 'div.wire.moving' : 'div.wire', rate(received)),
    el('div.node', el('b', count.format(waiting)), 'waiting'),
    el('div.' + last[0], last[1]),
    el('div.node', el('b', r.clouds.length ? `${up}/${r.clouds.length}` : '–'), r.clouds.length === 1 ? 'cloud' : 'clouds'));
}

function device(d) {
  const state = d.online ? known(d.age_seconds) ? 'good' : 'warn' : 'bad';
  return el(`article.card.${state}${d.values.length > 8 ? '.many' : ''}`,
    el('div.top', el('span.dot'), el('h3', d.name), el('span.soft.small.right', d.online ? ago(d.age_seconds) : 'offline')),
    d.values.length ? pairs(d.values.map(v => [v.channel.replaceAll('_', ' '), shown(v), d.online ? 'main' : 'soft'])) : el('p.soft', d.online ? 'no reading yet' : 'no value known'),
    d.online ? null : el('p.note.bad', d.reason || 'not opened yet'),
    ...(d.lost || []).map(l => el('p.note.warn', l)),
    el('p.note.soft', d.kind, d.online || !d.values.length ? '' : ` · values from ${ago(d.age_seconds)}`, d.errors ? ` · ${plural(d.errors, 'error')}` : '',
      d.online && d.last_error ? `, the last ${ago(d.last_error_seconds)}: ${d.last_error}` : ''));
}

function cloud(c, link) {
  const since = known(c.since_seconds) ? ` for ${duration(c.since_seconds)}` : '';
  return el('article.card',
    el('div.top', el('h3', c.name), c.connected ? pill('good', 'connected' + since) : pill('bad', (link && !link.up ? 'link cut' : 'no link') + since),
      link ? el('button.right', { type: 'button', 'data-up': String(!link.up) }, link.up ? 'Cut the link' : 'Restore the link') : null),
    el('p.figure', count.format(c.queued), el('span', c.queued ? ` waiting · ${bytes(c.queued_bytes)}${known(c.oldest_seconds) ? ` · oldest ${duration(c.oldest_seconds)}` : ''}` : ' waiting')),
    spark(waited.get(c.name) || []),
    c.draining ? el('p.note.soft', `backlog: ${count.format(c.draining.left)} left at ${rate(c.draining.per_second)}`, known(c.draining.remaining_seconds) ? `, ${duration(c.draining.remaining_seconds)} more` : '') : null,
    pairs([
      ['acknowledged by the cloud', `${count.format(c.sent)} · ${rate(c.sent_per_second)}`],
      ['received from it', count.format(c.received)],
      c.dropped ? ['dropped by a limit', count.format(c.dropped)] : null,
      c.resent ? ['sent again', count.format(c.resent)] : null,
      c.refused ? ['refused from it', count.format(c.refused)] : null,
      c.sessions_lost ? ['sessions it has lost', count.format(c.sessions_lost)] : null,
      c.rejected ? ['rejected by it', count.format(c.rejected)] : null,
      c.server ? ['server', c.server] : null,
    ]),
    c.last_error ? el(c.connected ? 'p.note.soft' : 'p.note.bad', c.connected ? 'last error: ' : '', c.last_error, known(c.last_error_seconds) ? ` · ${ago(c.last_error_seconds)}` : '') : null);
}

// What waited for each cloud since this page was opened, at most three minutes back.
const waited = new Map();
const remembered = 180;

function remember(r) {
  const now = Date.now() / 1000;
  for (const c of r.clouds) {
    const points = waited.get(c.name) || [];
    points.push({ at: now, queued: c.queued });
    while (points[0].at < now - remembered) points.shift();
    waited.set(c.name, points);
  }
}

function spark(points) {
  const top = Math.max(...points.map(p => p.queued), 0), now = points.length ? points[points.length - 1].at : 0;
  const box = { viewBox: `0 0 ${remembered} 44`, preserveAspectRatio: 'none', role: 'img', 'aria-label': 'messages waiting in the last three minutes' };
  if (!top) return el('svg.spark', box, el('path.flat', { d: `M0,42 L${remembered},42` }));
  const x = p => (remembered - (now - p.at)).toFixed(1);
  const line = points.map(p => `${x(p)},${(42 - 40 * p.queued / top).toFixed(1)}`).join(' L');
  return el('svg.spark', box, el('path.area', { d: `M${x(points[0])},44 L${line} L${remembered},44 Z` }), el('path.line', { d: `M${line}` }));
}

function local(r) {
  const b = r.broker, s = r.store;
  return el('section.wide',
    el('article.card', el('div.top', el('h3', 'Broker')), pairs([
      ['clients connected', count.format(b.clients), 'main'],
      ['messages from clients', `${count.format(b.messages_received)} · ${rate(b.received_per_second)}`],
      ['messages to clients', `${count.format(b.messages_sent)} · ${rate(b.sent_per_second)}`],
      ['subscriptions', count.format(b.subscriptions)],
      ['retained', count.format(b.retained)],
      ['sessions', count.format(b.sessions)],
      b.messages_dropped ? ['dropped', count.format(b.messages_dropped)] : null,
      b.connections_refused ? ['connections refused', count.format(b.connections_refused)] : null,
      ...r.gateway.listens.map(l => [l.what, l.address]),
    ])),
    el('article.card', el('div.top', el('h3', 'Store')), pairs([
      ['file', bytes(s.file_bytes), 'main'],
      ['written since the start', `${bytes(s.written_bytes)}${known(s.written_per_second) ? ` · ${bytes(s.written_per_second)}/s` : ''}`],
      ['commits', count.format(s.commits)],
      ['syncs to disk', count.format(s.syncs)],
      ['writes avoided', count.format(s.cancelled)],
      ['waiting for a commit', bytes(s.pending_bytes)],
      known(s.commit_seconds) ? ['a commit takes', duration(s.commit_seconds)] : null,
      s.path ? ['path', s.path] : null,
    ]), s.last_error ? el('p.note.bad', s.last_error) : null, s.damage ? el('p.note.bad', `${s.damage[0].toUpperCase()}${s.damage.slice(1)}.`) : null));
}

function draw(r) {
  document.title = r.problems.length ? `! ${r.gateway.id}` : r.gateway.id;
  const now = el('main', { id: 'page' },
    head(r),
    r.problems.length ? el('ul.problems', r.problems.map(p => el('li', p))) : null,
    (r.alarms || []).length ? el('ul.alarms', r.alarms.map(a => el('li', el('b', a.name), ` ${a.alarm}`, a.since ? el('span.soft', ` · since ${new Date(a.since).toLocaleString()}`) : ''))) : null,
    flow(r),
    el('h2', 'Clouds'),
    r.clouds.length ? el('section.wide', r.clouds.map(c => cloud(c, r.link))) : el('p.none', 'None configured. Everything stays on this machine until there is a [[cloud]] section.'),
    el('h2', 'Devices'),
    r.devices.length ? el('section.grid', r.devices.map(device)) : el('p.none', 'None configured. “gateway devices” lists the kinds.'),
    el('h2', 'On this machine'),
    local(r),
    el('footer', 'topics below ', el('code', r.gateway.prefix + '/'), ' · ', el('a', { href: 'metrics' }, 'metrics'), ' · ', el('a', { href: 'healthz' }, 'health'), ' · ', el('a', { href: 'v1/status' }, 'this page as JSON')));
  morph(document.getElementById('page'), now);
}

// Once a second while somebody looks.

let answered = 0;
async function poll() {
  const silence = document.getElementById('silence');
  try {
    const res = await fetch('v1/status', { signal: AbortSignal.timeout(4000), cache: 'no-store' });
    if (!res.ok) throw new Error(`it answers ${res.status}`);
    const r = await res.json();
    remember(r);
    draw(r);
    answered = Date.now();
    silence.hidden = true;
    document.getElementById('page').className = '';
  } catch (err) {
    const seconds = (Date.now() - answered) / 1000;
    silence.textContent = answered ? `No answer from the gateway. What stands below is ${duration(seconds)} old.` : 'No answer from the gateway.';
    silence.hidden = false;
    document.getElementById('page').className = 'stale';
  }
  setTimeout(poll, document.hidden ? 5000 : 1000);
}

document.addEventListener('click', async event => {
  const up = event.target.getAttribute && event.target.getAttribute('data-up');
  if (!up) return;
  await fetch('v1/link', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: `{"up":${up}}` }).catch(() => {});
});

poll();
