// Slack's mrkdwn and mentions, drawn as elements: nothing is ever parsed as HTML.

const emoji = { no_entry: "⛔", warning: "⚠️", white_check_mark: "✅", x: "❌", lock: "🔒", unlock: "🔓", hourglass: "⏳", eyes: "👀" };

const token = /```([\s\S]+?)```|`([^`\n]+)`|<([^>\n]+)>|(?<![\w*])\*(\S(?:[^*\n]*?\S)?)\*(?![\w*])|(?<![\w_])_(\S(?:[^_\n]*?\S)?)_(?![\w_])|(?<![\w~])~(\S(?:[^~\n]*?\S)?)~(?![\w~])|:([a-z0-9_+-]+):|(\n)/g;

const unescaped = (s) => s.replace(/&(amp|lt|gt);/g, (_, e) => ({ amp: "&", lt: "<", gt: ">" })[e]);

export function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) if (v !== undefined && v !== false) e.setAttribute(k, v === true ? "" : v);
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return e;
}

// mrkdwn gives the nodes of a text; names tells what people and groups are called.
export function mrkdwn(text, names) {
  const nodes = [];
  let at = 0;
  for (const m of text.matchAll(token)) {
    if (m.index > at) nodes.push(unescaped(text.slice(at, m.index)));
    nodes.push(part(m, names));
    at = m.index + m[0].length;
  }
  nodes.push(unescaped(text.slice(at)));
  return nodes.filter((n) => n !== "");
}

function part([whole, pre, code, angle, bold, italic, strike, name], names) {
  if (pre !== undefined) return element("pre", {}, unescaped(pre));
  if (code !== undefined) return element("code", {}, unescaped(code));
  if (angle !== undefined) return mention(angle, names);
  if (bold !== undefined) return element("b", {}, ...mrkdwn(bold, names));
  if (italic !== undefined) return element("i", {}, ...mrkdwn(italic, names));
  if (strike !== undefined) return element("s", {}, ...mrkdwn(strike, names));
  if (name !== undefined) return emoji[name] ?? whole;
  return element("br");
}

function mention(inner, names) {
  const [what, label] = inner.split(/\|(.*)/s);
  if (what.startsWith("!date^")) {
    const [, seconds, format] = what.split("^");
    return when(Number(seconds), format, unescaped(label ?? what));
  }
  const id = what.replace(/^!subteam\^/, "@");
  if (/^[@#!]/.test(id)) {
    const known = names[id.slice(1)] ?? label ?? id.slice(1);
    return element("span", { class: "mention" }, (id[0] === "#" ? "#" : "@") + known);
  }
  if (/^https?:\/\//.test(what)) return element("a", { href: unescaped(what), target: "_blank", rel: "noopener noreferrer" }, unescaped(label ?? what));
  return unescaped(label ?? what);
}

// when writes a time in seconds in the reader's own zone.
export function when(seconds, format, fallback) {
  const d = new Date(seconds * 1000);
  if (Number.isNaN(d.getTime())) return fallback ?? "";
  const today = d.toDateString() === new Date().toDateString();
  const day = today ? "today" : d.toLocaleDateString([], { month: "short", day: "numeric", year: "numeric" });
  const text = format.replace(/\{(\w+)\}/g, (all, f) => {
    if (f.startsWith("date")) return day;
    if (f === "time_secs") return d.toLocaleTimeString();
    if (f === "time") return d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return all;
  });
  return element("time", { datetime: d.toISOString(), title: fallback ?? "" }, text);
}
