
const $ = (id) => document.getElementById(id);
// Also where the page's own address does not end in a slash.
const base = location.pathname.endsWith("/") ? "./" : `./${location.pathname.split("/").pop()}/`;

// --- texts

const STATES = { closed: "Closed", half_open: "Half-open", open: "Open", forced_open: "Forced open", forced_closed: "Forced closed" };

// A shape for each state, so that none is told by its colour alone.
const DISC = "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13z";
const SQUARE = "M2 2h12v12H2z";
const MARKS = {
  closed: DISC,
  half_open: `${DISC}M8 3.5v9a4.5 4.5 0 0 0 0-9z`,
  open: "M8 .5L15.5 8L8 15.5L.5 8z",
  forced_open: `${SQUARE}M5 4.5v7h2v-7zM9 4.5v7h2v-7z`,
  forced_closed: `${SQUARE}M4 4h8v8H4zM6 6v4h4V6z`,
};

const number = new Intl.NumberFormat("en");
const plural = (count, one, many = `${one}s`) => `${number.format(count)} ${count === 1 ? one : many}`;

function span(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min ${String(s % 60).padStart(2, "0")} s`;
  const h = Math.floor(m / 60);
  return h < 24 ? `${h} h ${String(m % 60).padStart(2, "0")} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
}

function rate(perSecond) {
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.1) return "<0.1/s";
  return `${perSecond < 10 ? perSecond.toFixed(1) : number.format(Math.round(perSecond))}/s`;
}

const percent = (part) => `${part > 0 && part < 0.01 ? "<1" : Math.round(part * 100)} %`;
const rounded = (value) => `${Math.round(value * 10) / 10} %`;

function nextProbe(circuit) {
  switch (circuit.state) {
    case "open": return circuit.half_open_in_ms > 0 ? `in ${span(circuit.half_open_in_ms + 999)}` : "with the next call";
    case "half_open": return circuit.probe_successes > 0 ? `${circuit.probe_successes} succeeded` : "under way";
    case "forced_open": return "none until reset";
    default: return circuit.ramp_up === null ? "–" : `${Math.floor(circuit.ramp_up * 100)} % let through`;
  }
}

// --- the document: what others have named comes in as text, never as markup

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

function attribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function element(name, className, ...content) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...content);
  return node;
}

function table(heads, rows) {
  const body = element("tbody", "");
  for (const { cells, className } of rows) {
    const [first, ...rest] = cells;
    const head = element("th", "", first);
    head.scope = "row";
    body.append(element("tr", className, head, ...rest.map((cell) => element("td", cell.className, cell.text))));
  }
  const top = element("tr", "", ...heads.map((head, column) => {
    const cell = element("th", rows[0]?.cells[column].className === "n" ? "n" : "", head);
    cell.scope = "col";
    return cell;
  }));
  return element("table", "", element("thead", "", top), body);
}

const panel = (title, className, ...content) => element("section", "panel", element("h3", className, title), ...content);

const settingsTable = (settings) => table(["Setting", "Value", "From"], settings.map(({ key, value, source }) => ({
  cells: [key, { text: value }, { text: source, className: "from" }],
  className: source === "default" ? "default" : "",
})));

// --- a chart of the last minute

function sums({ success, failure, rejected }) {
  const sum = (column) => column.reduce((a, b) => a + b, 0);
  const [ok, bad, held] = [success, failure, rejected].map(sum);
  const seconds = success.length;
  const all = ok + bad + held;
  return { seconds, ok, bad, held, perSecond: seconds ? all / seconds : 0, failed: ok + bad ? bad / (ok + bad) : null, kept: all ? held / all : null };
}

function drawChart(svg, minute, sum) {
  const { success, failure, rejected } = minute;
  const totals = success.map((ok, i) => ok + failure[i] + rejected[i]);
  const peak = Math.max(1, ...totals);
  const first = 60 - success.length;
  const paths = ["", "", ""];
  success.forEach((_, i) => {
    let top = 20;
    [success[i], failure[i], rejected[i]].forEach((count, column) => {
      if (!count) return;
      // What there is must be seen, however little it is.
      const height = Math.max(1, (count / peak) * 19);
      top = Math.max(0, top - height);
      paths[column] += `M${first + i + 0.12} ${top.toFixed(2)}h.76v${height.toFixed(2)}h-.76z`;
    });
  });
  attribute(svg.querySelector("rect"), "width", String(first));
  svg.querySelectorAll("path").forEach((path, column) => attribute(path, "d", paths[column]));
  attribute(svg, "aria-label", sum.seconds === 0 ? "not watched yet"
    : `In the last ${plural(sum.seconds, "second")}: ${plural(sum.ok, "call")} succeeded, ${number.format(sum.bad)} failed, ${number.format(sum.held)} rejected; at most ${plural(peak, "call")} in a second`);
}

// --- a circuit

function drawState(node, circuit) {
  attribute(node, "data-state", circuit.state);
  const state = node.querySelector(".state");
  attribute(state.querySelector("path"), "d", MARKS[circuit.state] ?? DISC);
  text(state.querySelector("span"), STATES[circuit.state] ?? circuit.state);
}

function drawFailure(node, failure) {
  node.hidden = failure === null;
  text(node.querySelector("bdi"), failure ?? "");
}

let folds = 0;

/// A button that shows and hides what is under it, which is drawn only while it is shown.
function fold(button, under, draw) {
  under.id = `fold-${folds += 1}`;
  button.setAttribute("aria-controls", under.id);
  button.addEventListener("click", () => {
    under.hidden = !under.hidden;
    button.setAttribute("aria-expanded", String(!under.hidden));
    draw();
  });
}

class Row {
  constructor(operation) {
    this.operation = operation;
    this.node = $("circuit").content.firstElementChild.cloneNode(true);
    this.of = (selector) => this.node.querySelector(selector);
    text(this.of("h2 bdi"), operation);
    text(this.of(".to-panels .unseen"), ` of ${operation}`);
    this.settings = { settings: [], functions: [] };
    this.keys = new Map();
    fold(this.of(".to-panels"), this.of(".panels"), () => this.drawPanels());
    fold(this.of(".to-keys"), this.of(".keys"), () => this.drawKeys());
    // Or it would be seen again whenever the row is moved or comes out of the filter.
    this.node.addEventListener("animationend", () => this.node.classList.remove("changed"));
  }

  /// Tells what has changed, in words.
  draw(circuit) {
    const before = this.circuit ?? circuit;
    this.circuit = circuit;
    drawState(this.node, circuit);
    const time = this.of("time");
    attribute(time, "datetime", circuit.since);
    attribute(time, "title", new Date(circuit.since).toLocaleString());
    text(time, span(circuit.in_state_ms));
    text(this.of(".next dd"), nextProbe(circuit));
    this.of(".next dd").classList.toggle("some", circuit.state !== "closed" || circuit.ramp_up !== null);
    this.drawMinute(circuit.last_minute);
    drawFailure(this.of(".line > .why"), circuit.last_failure);
    this.drawTags();
    this.drawKeys();
    this.drawPanels();
    const changes = [];
    if (before.state !== circuit.state) {
      this.node.classList.remove("changed");
      void this.node.offsetWidth;
      this.node.classList.add("changed");
      changes.push(`${this.operation} is ${(STATES[circuit.state] ?? circuit.state).toLowerCase()}`);
    }
    const notClosed = circuit.keys?.not_closed ?? 0;
    if ((before.keys?.not_closed ?? 0) !== notClosed) changes.push(`${plural(notClosed, "key")} of ${this.operation} not closed`);
    return changes;
  }

  drawMinute(minute) {
    const sum = sums(minute);
    drawChart(this.of(".chart"), minute, sum);
    const figure = (selector, value, className) => {
      const node = this.of(selector);
      text(node, value);
      node.className = className;
    };
    figure(".calls dd", sum.seconds ? rate(sum.perSecond) : "–", sum.perSecond ? "some" : "");
    figure(".failed dd", sum.failed === null ? "–" : percent(sum.failed), sum.failed >= 0.1 ? "bad" : sum.bad ? "some" : "");
    figure(".held dd", sum.kept === null ? "–" : percent(sum.kept), sum.held ? "some" : "");
  }

  drawTags() {
    const { ramp_up: ramp } = this.circuit;
    const value = (key) => this.settings.settings.find((setting) => setting.key === key)?.value;
    const tags = [];
    if (this.settings.functions.length && value("enabled") === "false") tags.push(["not enabled", ""]);
    else if (value("dry_run") === "true") tags.push(["dry run", ""]);
    if (ramp !== null) tags.push(["ramping up", "warn"]);
    const node = this.of(".tags");
    if (node.dataset.shown === (node.dataset.shown = JSON.stringify(tags))) return;
    node.replaceChildren(...tags.map(([tag, kind]) => element("span", `tag ${kind}`, tag)));
  }

  drawKeys() {
    const { keys } = this.circuit;
    const [button, list] = [this.of(".to-keys"), this.of(".keys")];
    button.hidden = keys === null;
    if (keys === null) return;
    const { total, not_closed: notClosed, shown } = keys;
    text(button, notClosed ? `${plural(total, "key")}, ${number.format(notClosed)} not closed` : plural(total, "key"));
    button.classList.toggle("warn", notClosed > 0);
    if (list.hidden) return;
    const known = this.keys;
    this.keys = new Map(shown.map((circuit) => [circuit.key, known.get(circuit.key) ?? $("key").content.firstElementChild.cloneNode(true)]));
    for (const circuit of shown) {
      const node = this.keys.get(circuit.key);
      drawState(node, circuit);
      text(node.querySelector(".name bdi"), circuit.key);
      const next = circuit.state === "open" ? `, next probe ${nextProbe(circuit)}` : "";
      text(node.querySelector(".when"), `${span(circuit.in_state_ms)}${next}`);
      drawFailure(node.querySelector(".why"), circuit.last_failure);
    }
    const nodes = [...this.keys.values()];
    if (total > shown.length) {
      this.others ??= element("li", "others");
      text(this.others, `and ${number.format(total - shown.length)} more`);
      nodes.push(this.others);
    }
    arrange(list, nodes);
  }

  drawPanels() {
    const panels = this.of(".panels");
    if (panels.hidden) return;
    this.figures ??= element("div", "panel");
    this.figures.replaceChildren(...figures(this.circuit));
    if (this.drawn === this.settings) return;
    this.drawn = this.settings;
    const functions = this.settings.functions.map(({ location, settings }) => panel(location, "place", settings.length ? settingsTable(settings) : element("p", "", "One attempt, no retries.")));
    panels.replaceChildren(this.figures, panel("Settings", "", settingsTable(this.settings.settings)), element("div", "", ...functions));
  }
}

function figures(circuit) {
  const row = (name, value) => ({ cells: [name, { text: typeof value === "number" ? number.format(value) : value, className: "n" }] });
  const { calls, window: w, retry_budget: budget } = circuit;
  const rows = [
    row("Succeeded", calls.success), row("Failed", calls.failure), row("Rejected", calls.rejected),
    row("Ignored", calls.ignored), row("Cancelled", calls.cancelled), row("Stale", calls.stale),
  ];
  const now = [row("Failures in a row", circuit.consecutive_failures), row("Re-opened in a row", circuit.reopens)];
  if (circuit.state === "half_open") now.push(row("Probes succeeded in a row", circuit.probe_successes));
  if (circuit.ramp_up !== null) now.push(row("Let through", rounded(circuit.ramp_up * 100)));
  if (w) {
    now.push(row("Calls in the window", w.calls),
      row("Failed of them", `${number.format(w.failures)} (${rounded(w.failure_rate)})`),
      row("Slow of them", `${number.format(w.slow)} (${rounded(w.slow_call_rate)})`),
      row("Opens at failures of", rounded(w.threshold)));
    if (w.baseline !== null) now.push(row("Normal failures", `${rounded(w.baseline)} ± ${rounded(w.deviation ?? 0)}`));
  }
  if (budget) now.push(row("Retries saved up", budget.saved), row("Retries made", budget.granted), row("Retries refused", budget.refused));
  return [element("h3", "", circuit.keys ? "Calls since the start, without those of keys" : "Calls since the start"), table(["Outcome", "Calls"], rows), element("h3", "second", "Now"), table(["Figure", "Value"], now)];
}

/// The most of `present` that are in the order of `wanted` already: its longest increasing subsequence.
function inOrder(present, wanted) {
  const place = new Map(wanted.map((node, index) => [node, index]));
  // Of the subsequences of each length, the one that ends first.
  const ends = [];
  for (const node of present) {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (place.get(ends[middle].node) < place.get(node)) low = middle + 1;
      else high = middle;
    }
    ends[low] = { node, before: ends[low - 1] };
  }
  const found = new Set();
  for (let end = ends.at(-1); end; end = end.before) found.add(end.node);
  return found;
}

/// Puts nodes in this order, moving as few as can be; whoever has the focus keeps it.
function arrange(list, nodes) {
  const wanted = new Set(nodes);
  [...list.children].filter((node) => !wanted.has(node)).forEach((node) => node.remove());
  const focused = document.activeElement;
  const stay = inOrder([...list.children], nodes);
  let at = list.firstElementChild;
  for (const node of nodes) {
    while (at && !stay.has(at)) at = at.nextElementSibling;
    if (node === at) at = at.nextElementSibling;
    else list.insertBefore(node, at);
  }
  if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
}

// --- all of them

let rows = new Map();
let settings = new Map();

function drawAll(view) {
  const known = rows;
  rows = new Map(view.circuits.map(({ operation }) => [operation, known.get(operation) ?? new Row(operation)]));
  const changes = [];
  for (const circuit of view.circuits) {
    const row = rows.get(circuit.operation);
    row.settings = settings.get(circuit.operation) ?? row.settings;
    changes.push(...row.draw(circuit));
  }
  arrange($("circuits"), [...rows.values()].map((row) => row.node));
  if (changes.length) text($("said"), changes.length > 5 ? `${changes.length} changes of state` : changes.join(", "));
  drawSummary(view.circuits);
  drawShared(view.shared);
  $("footer").hidden = false;
  filter();
}

function drawSummary(circuits) {
  const count = (state) => circuits.filter((circuit) => circuit.state === state).length;
  const parts = ["forced_open", "open", "half_open", "forced_closed", "closed"].map((state) => [count(state), STATES[state].toLowerCase()]);
  const keys = circuits.reduce((sum, circuit) => sum + (circuit.keys?.not_closed ?? 0), 0);
  const texts = parts.filter(([n]) => n).map(([n, name]) => `${n} ${name}`);
  if (keys) texts.push(`${plural(keys, "key")} not closed`);
  text($("summary"), texts.join(" · "));
  const open = count("open") + count("forced_open");
  document.title = open ? `(${open} open) Circuits` : "Circuits";
}

function drawShared(shared) {
  $("shared").hidden = shared === null;
  if (shared === null) return;
  const { server, namespace, quorum, connected, errors } = shared;
  $("shared").classList.toggle("gone", !connected);
  const how = connected ? "Shared" : "Not connected: each replica goes by its own circuits. To be shared";
  text($("shared"), `${how} through ${server}, namespace ${namespace}, quorum ${quorum}${errors ? `, ${plural(errors, "error")} so far` : ""}`);
}

// --- the filter, which is kept in the fragment of the address

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { node, circuit } of rows.values()) {
    const names = [circuit.operation, ...(circuit.keys?.shown ?? []).map((key) => key.key)].map((name) => name.toLowerCase());
    const matches = names.some((name) => words.every((word) => name.includes(word)));
    node.hidden = !matches;
    shown += matches ? 1 : 0;
  }
  $("filter").parentElement.classList.toggle("filled", $("filter").value !== "");
  text($("matches"), words.length ? `${shown} of ${rows.size}` : "");
  $("heads").hidden = shown === 0;
  $("circuits").hidden = shown === 0;
  $("nothing").hidden = shown > 0 || heard === null;
  text($("nothing").querySelector("span"), rows.size ? "No circuit has such a name." : "There is no circuit yet: one comes with the first call of a guarded function.");
  $("clear").hidden = rows.size === 0;
}

function readFragment() {
  try {
    $("filter").value = decodeURIComponent(location.hash.slice(1));
  } catch {
    $("filter").value = "";
  }
  filter();
}

function setFilter(value) {
  if ($("filter").value !== value) $("filter").value = value;
  filter();
  // Last, as a browser that is asked too often throws.
  history.replaceState(null, "", value ? `#${encodeURIComponent(value)}` : location.pathname + location.search);
}

// --- the stream

// Many circuits that change their states often would leave the page no time for anything but drawing:
// it rests in between, and then draws what has come last.
const RESTS = 4;
let newest = null;
let rested = 0;
let pending = null;

function drawNewest() {
  clearTimeout(pending);
  pending = null;
  const begun = performance.now();
  drawAll(JSON.parse(newest));
  const ended = performance.now();
  rested = ended + RESTS * (ended - begun);
}

const SILENCE = 5_000;
let source = null;
let heard = null;
let attempts = 0;
let waiting = 0;

function show(is, words) {
  attribute($("stream"), "data-is", is);
  text($("stream-text"), words);
  $("lost").hidden = is !== "lost" || heard === null;
  document.body.classList.toggle("stale", is === "lost");
}

function connect() {
  clearTimeout(waiting);
  source?.close();
  source = new EventSource(`${base}events`);
  source.begun = performance.now();
  source.addEventListener("settings", ({ data }) => {
    settings = new Map(JSON.parse(data).circuits.map((circuit) => [circuit.operation, circuit]));
  });
  source.addEventListener("circuits", ({ data }) => {
    heard = performance.now();
    attempts = 0;
    show("live", "Live");
    newest = data;
    if (heard >= rested) drawNewest();
    else pending ??= setTimeout(drawNewest, rested - heard);
  });
  source.addEventListener("error", lost);
}

/// The browser would try again by itself, but not after every kind of failure, and at a pace of its own.
function lost() {
  source.close();
  show("lost", heard === null ? "No connection, trying again" : "Connection lost");
  attempts += 1;
  clearTimeout(waiting);
  waiting = setTimeout(connect, 250 + Math.random() * Math.min(8_000, 500 * 2 ** attempts));
}

setInterval(() => {
  const now = performance.now();
  const silent = now - Math.max(heard ?? 0, source.begun);
  if (source.readyState !== EventSource.CLOSED && silent > SILENCE) lost();
  if (heard !== null) text($("lost-for"), ` ${span(now - heard)} ago`);
}, 1_000);

addEventListener("online", connect);
addEventListener("pageshow", ({ persisted }) => persisted && connect());
addEventListener("pagehide", () => source.close());
addEventListener("hashchange", readFragment);
$("filter").addEventListener("input", () => setFilter($("filter").value));
$("filter").addEventListener("keydown", (event) => {
  if (event.key === "Escape") setFilter("");
});
$("clear").addEventListener("click", () => {
  setFilter("");
  $("filter").focus();
});
addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey;
  if (event.key !== "/" || typing) return;
  event.preventDefault();
  $("filter").focus();
  $("filter").select();
});
$("json").href = `${base}circuits.json`;
show("waiting", "Connecting");
readFragment();
connect();
