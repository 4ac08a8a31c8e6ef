// The page: it shows what stands in the Slack and AWS stand-ins, and sends them
// what people do. It knows nothing of its own.

import { drawBlocks } from "./blocks.js";
import { element, mrkdwn } from "./mrkdwn.js";

const $ = (id) => document.getElementById(id);
let state = null;
let waiting = null; // the view id of the modal that is open
let tab = "channel"; // what is shown of Slack: the channel, one's messages from secbot (direct), or one's home
const read = new Map(); // how many of them each person has seen
const drawn = new Map(); // what is on the page, by key: {json, node}

const me = () => $("me").value;
const on = (press) => ({ names: state.names, press });

async function send(path, body) {
  $("failure").textContent = "";
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// attempt says on the page what went wrong; the console is for the page's own errors.
async function attempt(what) {
  try {
    await what();
  } catch (e) {
    $("failure").textContent = e.message;
  }
}

// ---- Slack ----

function drawMessage(m) {
  const author = state.users.find((u) => u.id === m.user);
  const head = element("p", { class: "head" }, element("b", {}, author?.name ?? "secbot"), author ? "" : element("span", { class: "app" }, "APP"),
    " ", element("time", { datetime: m.ts }, new Date(Number(m.ts) * 1000).toLocaleTimeString()));
  const box = element("article", { class: m.to ? "message ephemeral" : "message", "data-ts": m.ts }, head);
  if (m.to) head.after(element("p", { class: "only" }, "Only visible to you"));
  try {
    const press = (e, option) => attempt(() => click({ channel: m.channel, ts: m.ts }, e, option));
    if (m.blocks) box.append(...drawBlocks(m.blocks, on(press)));
    else box.append(element("p", {}, ...mrkdwn(m.text, state.names)));
  } catch (e) {
    console.error(e);
    box.append(element("p", { class: "wrong" }, `This page can't show the message: ${e.message}`));
  }
  for (const f of m.files ?? []) {
    const source = `/demo/file/${encodeURIComponent(f.id)}`;
    box.append(element("a", { href: source, target: "_blank", rel: "noopener" }, element("img", { src: source, alt: f.title })));
  }
  if (m.edited) box.append(element("small", { class: "edited" }, "(edited)"));
  return box;
}

// click clicks a button, or an option of a menu, of a message or a view.
async function click(where, e, option) {
  if (e.confirm && !(await confirmed(e.confirm))) return;
  const action = option ? `${e.action_id}=${option.value}` : e.action_id;
  await send("/sandbox/click", { user: me(), ...where, action });
}

function confirmed(c) {
  $("confirm-title").textContent = c.title.text;
  $("confirm-text").replaceChildren(...(c.text.type === "mrkdwn" ? mrkdwn(c.text.text, state.names) : [c.text.text]));
  $("confirm-no").textContent = c.deny.text;
  $("confirm-yes").textContent = c.confirm.text;
  const d = $("confirm");
  d.returnValue = "no";
  d.showModal();
  return new Promise((done) => d.addEventListener("close", () => done(d.returnValue === "yes"), { once: true }));
}

function showChannel() {
  const channel = $("channel");
  const direct = tab === "direct";
  const letters = state.direct[me()] ?? [];
  const here = direct ? letters[0]?.channel : state.channel;
  const mine = (state.ephemerals[me()] ?? []).filter((m) => m.channel === here);
  const top = [...(direct ? letters : state.messages).filter((m) => !m.thread), ...mine].sort((a, b) => a.ts.localeCompare(b.ts));
  if (direct) read.set(me(), letters.length);
  tabs(letters.length - (read.get(me()) ?? 0));
  if (tab === "home") return replace(channel, [drawHome()]);
  const atEnd = channel.scrollHeight - channel.scrollTop - channel.clientHeight < 80;
  const before = channel.childElementCount;
  const place = channel.scrollTop;
  const nodes = top.map((m) => {
    const replies = m.to || direct ? [] : state.messages.filter((r) => r.thread === m.ts);
    const node = kept(`message ${m.ts} ${m.to}`, m, () => drawMessage(m));
    thread(node, replies);
    return node;
  });
  if (!nodes.length) nodes.push(kept(`empty ${direct}`, 0, () => element("p", { class: "empty" }, direct ? "secbot has not written to you." : "Nothing has happened yet.")));
  replace(channel, nodes);
  channel.scrollTop = atEnd || before < nodes.length ? channel.scrollHeight : place;
}

// drawHome draws the home tab that was published to the person.
function drawHome() {
  const home = state.homes[me()];
  if (!home) return kept("home", 0, () => element("p", { class: "empty" }, "secbot has published nothing here yet."));
  return kept(`home ${home.id}`, home, () => {
    const press = (e, option, block) => attempt(() => click({ view: home.id, block: block.block_id }, e, option));
    try {
      return element("article", { class: "home" }, ...drawBlocks(home.view.blocks, on(press)));
    } catch (e) {
      console.error(e);
      return element("p", { class: "wrong" }, `This page can't show the home: ${e.message}`);
    }
  });
}

// toMessage shows the message that a link leads to, which is on this page alone.
function toMessage(link) {
  const [, channel, seconds, micros] = link.match(/\/archives\/([^/]+)\/p(\d+)(\d{6})$/) ?? [];
  if (!channel) return false;
  tab = channel === state.channel ? "channel" : "direct";
  show();
  const message = document.querySelector(`#channel [data-ts="${seconds}.${micros}"]`);
  message?.scrollIntoView({ block: "start" });
  return true;
}

document.addEventListener("click", (e) => {
  const link = e.target.closest?.("a[href]");
  if (link && toMessage(link.href)) e.preventDefault();
});

const openHome = () => tab === "home" && attempt(() => send("/sandbox/home", { user: me() }));

function tabs(unread) {
  for (const name of ["channel", "direct", "home"]) $(`tab-${name}`).setAttribute("aria-selected", tab === name);
  $("unread").hidden = unread < 1;
  $("unread").textContent = unread;
}

function thread(node, replies) {
  let box = node.querySelector(":scope > details");
  if (!replies.length) return box?.remove();
  if (!box) node.append((box = element("details", {}, element("summary"), element("div"))));
  box.firstChild.textContent = replies.length === 1 ? "1 reply in the thread" : `${replies.length} replies in the thread`;
  replace(box.lastChild, replies.map((r) => kept(`message ${r.ts}`, r, () => drawMessage(r))));
}

// kept draws anew only what has changed, so that focus and selection stay.
function kept(key, json, draw) {
  const text = JSON.stringify(json);
  const old = drawn.get(key);
  if (old?.text === text) return old.node;
  const node = draw();
  drawn.set(key, { text, node });
  return node;
}

function replace(parent, nodes) {
  const same = parent.childNodes.length === nodes.length && nodes.every((n, i) => parent.childNodes[i] === n);
  if (same) return;
  const focus = document.activeElement?.dataset?.key;
  parent.replaceChildren(...nodes);
  if (focus && document.activeElement === document.body) parent.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
}

// ---- modals ----

function showModal() {
  const view = state.views[me()];
  const d = $("modal");
  if (!view) {
    waiting = null;
    if (d.open) d.close();
    return;
  }
  if (waiting === view.id + view.hash) return;
  waiting = view.id + view.hash;
  const v = view.view;
  $("modal-title").textContent = v.title.text;
  $("modal-error").textContent = "";
  $("modal-close").textContent = v.close?.text ?? "Close";
  $("modal-submit").textContent = v.submit?.text ?? "Submit";
  $("modal-submit").hidden = !v.submit;
  try {
    $("modal-body").replaceChildren(...drawBlocks(v.blocks, on(() => {})));
  } catch (e) {
    console.error(e);
    $("modal-error").textContent = `This page can't show the modal: ${e.message}`;
  }
  if (!d.open) d.showModal();
  $("modal-body").scrollTop = 0;
}

async function submitModal() {
  const view = state.views[me()];
  const values = {}; // of boxes all that are ticked, else one
  for (const boxes of document.querySelectorAll("#modal-body [data-boxes]")) values[boxes.dataset.boxes] = [];
  for (const [name, value] of new FormData($("modal-form"))) values[name] = Array.isArray(values[name]) ? [...values[name], value] : value;
  try {
    const { errors } = await send("/sandbox/submit", { user: me(), view: view.id, values });
    for (const box of document.querySelectorAll("#modal-body .input")) box.querySelector(".wrong").textContent = errors?.[box.dataset.block] ?? "";
  } catch (e) {
    $("modal-error").textContent = e.message;
  }
}

const closeModal = () => attempt(() => send("/sandbox/close", { user: me(), view: state.views[me()].id }));

// ---- AWS ----

const badge = (open, words) => element("span", { class: open ? "badge open" : "badge" }, words);

function breakages(target) {
  return element("div", { class: "actions" }, ...state.breakages.filter((b) => b.kind === target.kind).map((b) => {
    const button = element("button", { "data-key": `${target.id} ${b.id}`, "data-break": b.id, "data-target": target.id }, b.label);
    button.addEventListener("click", () => attempt(() => send("/demo/break", { what: b.id, target: target.id })));
    return button;
  }));
}

// drawAccount is what can be done to the account as a whole.
function drawAccount() {
  const slow = element("button", { "data-key": "slow", id: "slow", "aria-pressed": String(state.slow), title: "Each call that secbot makes takes 2 seconds, so that a scan can be watched and cancelled" },
    state.slow ? "AWS is slow: make it fast" : "Make AWS slow for secbot");
  slow.addEventListener("click", () => attempt(() => send("/demo/slow", { slow: !state.slow })));
  const all = breakages({ kind: "account", id: "account" });
  all.append(slow);
  return element("div", {}, element("p", { class: "as" }, "What no event told of, ", element("code", {}, "/secbot scan"), " finds."), all);
}

function drawGroup(g) {
  const rows = g.rules.map((r) => element("tr", { class: r.world && !r.egress ? "world" : undefined },
    element("td", {}, r.egress ? "out" : "in"), element("td", {}, r.traffic), element("td", {}, element("code", {}, r.peer)), element("td", {}, r.description)));
  const head = element("tr", {}, ...["", "traffic", "from or to", "description"].map((t) => element("th", { scope: "col" }, t)));
  return element("article", { class: "resource", "data-resource": g.id },
    element("h3", {}, `Security group ${g.name}`), element("p", { class: "id" }, `${g.id} in ${g.region}`),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)), breakages({ kind: "group", id: g.id }));
}

function drawBucket(b) {
  const open = b.public.length > 0;
  const block = b.block ? Object.entries(b.block).filter(([, v]) => v).map(([k]) => k.replaceAll("_", " ")) : [];
  const facts = [["ACL", b.ownership === "BucketOwnerEnforced" ? "off (owner enforced)" : b.acl.join(", ")],
    ["Block Public Access", block.length === 4 ? "all on" : block.join(", ") || "off"], ["Policy", b.policy ? element("pre", {}, pretty(b.policy)) : "none"]];
  return element("article", { class: "resource", "data-resource": b.name },
    element("h3", {}, `Bucket ${b.name} `, badge(open, open ? `public by ${b.public.join(" and ")}` : "not public")),
    element("dl", {}, ...facts.flatMap(([k, v]) => [element("dt", {}, k), element("dd", {}, v)])), breakages({ kind: "bucket", id: b.name }));
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 1);
  } catch {
    return json;
  }
}

// ---- the whole ----

function show() {
  $("clock").textContent = new Date(state.now).toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit" });
  showChannel();
  showModal();
  replace($("account"), [kept("account", state.slow, drawAccount)]);
  replace($("aws"), [...state.groups.map((g) => kept(`group ${g.id}`, g, () => drawGroup(g))), ...state.buckets.map((b) => kept(`bucket ${b.name}`, b, () => drawBucket(b)))]);
}

function people() {
  if ($("me").options.length) return;
  $("me").append(...state.users.map((u) => element("option", { value: u.id }, `${u.name}, ${u.role}`)));
  $("completions").append(...state.commands.map((c) => element("option", { value: `/secbot ${c.name} ` }, `${c.usage} ${c.help}`.trim())));
}

function hint() {
  const word = $("text").value.replace(/^\/secbot\s*/, "").split(/\s/)[0];
  const c = state?.commands.find((c) => c.name === word);
  $("hint").textContent = c ? `/secbot ${c.name} ${c.usage} · ${c.help}` : "";
}

$("me").addEventListener("change", () => {
  show();
  openHome();
});
$("pass").addEventListener("click", () => attempt(() => send("/demo/pass", { hours: 2 })));
for (const name of ["channel", "direct", "home"]) {
  $(`tab-${name}`).addEventListener("click", () => {
    tab = name;
    show();
    $("channel").scrollTop = tab === "home" ? 0 : $("channel").scrollHeight;
    openHome();
  });
}
$("text").addEventListener("input", hint);
// Coming here with the Tab key would select everything, and typing replace it.
$("text").addEventListener("focus", () => setTimeout(() => $("text").setSelectionRange($("text").value.length, $("text").value.length)));
$("command").addEventListener("submit", (e) => {
  e.preventDefault();
  const text = $("text").value.trim();
  if (!text.startsWith("/secbot")) {
    $("failure").textContent = "Only /secbot commands lead anywhere here. Try /secbot help.";
    return;
  }
  $("text").value = "/secbot ";
  hint();
  attempt(() => send("/sandbox/command", { user: me(), channel: state.channel, text: text.slice("/secbot".length).trim() }));
});
$("modal-form").addEventListener("submit", (e) => {
  e.preventDefault();
  submitModal();
});
$("modal-close").addEventListener("click", closeModal);
$("modal").addEventListener("cancel", (e) => {
  e.preventDefault();
  closeModal();
});

const stream = new EventSource("/demo/stream");
stream.addEventListener("message", (e) => {
  state = JSON.parse(e.data);
  $("link").textContent = "live";
  people();
  show();
});
stream.addEventListener("error", () => ($("link").textContent = "secbot has stopped"));
