// Block Kit as Slack draws it, from the JSON that secbot has sent. A block that
// is not known here is an error: nothing is left out in silence.

import { element, mrkdwn, when } from "./mrkdwn.js";

// drawBlocks gives the elements of a message's or view's blocks. on.press is
// called with the element that was clicked, with the option that was chosen of a
// menu, and with the block in which that is; on.names tells what ids are called.
export function drawBlocks(blocks, on) {
  return blocks.map((b) => {
    const draw = drawers[b.type];
    if (!draw) throw new Error(`a block of type ${b.type} can't be drawn`);
    return draw(b, on);
  });
}

const drawers = {
  header: (b) => element("h3", {}, plain(b.text)),
  divider: () => element("hr"),
  section(b, on) {
    const box = element("div", { class: "section" });
    if (b.text) box.append(element("p", {}, ...text(b.text, on)));
    if (b.fields) box.append(element("div", { class: "fields" }, ...b.fields.map((f) => element("p", {}, ...text(f, on)))));
    if (b.accessory) box.append(interactive(b.accessory, b, on));
    return box;
  },
  context: (b, on) => element("div", { class: "context" }, ...b.elements.map((e) => contextual(e, on))),
  actions: (b, on) => element("div", { class: "actions" }, ...b.elements.map((e) => interactive(e, b, on))),
  rich_text: (b, on) => element("div", { class: "rich" }, ...b.elements.map((e) => rich(e, on))),
  input(b) {
    const id = `input-${b.block_id}`;
    const control = input(b.element, b, id);
    const help = b.hint ? element("small", { id: `${id}-hint` }, plain(b.hint)) : null;
    if (help) control.setAttribute("aria-describedby", help.id);
    return element("div", { class: "input", "data-block": b.block_id }, element("label", { for: id }, plain(b.label)), control, help, element("p", { class: "wrong", role: "alert" }));
  },
};

const plain = (t) => t.text;

export function text(t, on) {
  if (t.type === "plain_text") return [t.text];
  if (t.type === "mrkdwn") return mrkdwn(t.text, on.names);
  throw new Error(`a text of type ${t.type} can't be drawn`);
}

function contextual(e, on) {
  if (e.type === "image") return element("span", {}, `[${e.alt_text}]`);
  return element("span", {}, ...text(e, on));
}

function interactive(e, block, on) {
  if (e.type === "overflow") return overflow(e, block, on);
  if (e.type !== "button") throw new Error(`an element of type ${e.type} can't be drawn`);
  const b = element("button", { class: e.style, "data-action": e.action_id, "data-key": `${block.block_id}/${e.action_id}` }, plain(e.text));
  b.addEventListener("click", () => on.press(e, undefined, block));
  return b;
}

let menus = 0;

// overflow is the "⋯" with its options, which open over the page.
function overflow(e, block, on) {
  const key = `${block.block_id}/${e.action_id}`;
  const id = `menu-${++menus}`; // the same message may be drawn twice
  const menu = element("div", { class: "menu", id, popover: "auto" }, ...e.options.map((o) => {
    const choice = element("button", { type: "button", "data-action": e.action_id, "data-value": o.value, "data-key": `${key}=${o.value}` }, plain(o.text));
    choice.addEventListener("click", () => {
      menu.hidePopover();
      on.press(e, o, block);
    });
    return choice;
  }));
  const opener = element("button", { type: "button", class: "more", "aria-label": "More actions", "aria-haspopup": "true", popovertarget: id, "data-more": e.action_id, "data-key": key }, "⋯");
  menu.addEventListener("beforetoggle", (t) => t.newState === "open" && requestAnimationFrame(() => place(menu, opener)));
  return element("span", {}, opener, menu);
}

// place puts an open menu below what opens it, or above where there is no room.
function place(menu, opener) {
  const at = opener.getBoundingClientRect();
  const below = at.bottom + 4;
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${below + menu.offsetHeight > innerHeight ? at.top - menu.offsetHeight - 4 : below}px`;
}

function input(e, block, id) {
  const common = { id, name: `${block.block_id}/${e.action_id}`, required: !block.optional };
  switch (e.type) {
    case "plain_text_input": {
      const c = element(e.multiline ? "textarea" : "input", { ...common, maxlength: e.max_length, minlength: e.min_length, placeholder: e.placeholder && plain(e.placeholder) });
      c.value = e.initial_value ?? "";
      return c;
    }
    case "checkboxes": {
      const ticked = new Set((e.initial_options ?? []).map((o) => o.value));
      return element("fieldset", { id, class: "boxes", "data-boxes": common.name, "aria-label": plain(block.label) }, ...e.options.map((o) => element("label", {},
        element("input", { type: "checkbox", name: common.name, value: o.value, checked: ticked.has(o.value) }),
        element("span", {}, plain(o.text), o.description ? element("small", {}, plain(o.description)) : null))));
    }
    case "static_select": {
      const first = e.initial_option?.value;
      return element("select", common, ...e.options.map((o) => element("option", { value: o.value, selected: o.value === first }, o.description ? `${plain(o.text)} (${plain(o.description)})` : plain(o.text))));
    }
  }
  throw new Error(`an input of type ${e.type} can't be drawn`);
}

function rich(e, on) {
  const inner = () => e.elements.map((x) => richPart(x, on));
  switch (e.type) {
    case "rich_text_section": return element("p", {}, ...inner());
    case "rich_text_preformatted": return diff(e.elements.map((x) => x.text).join(""));
    case "rich_text_quote": return element("blockquote", {}, ...inner());
    case "rich_text_list": {
      const start = e.style === "ordered" && e.offset ? e.offset + 1 : undefined;
      return element(e.style === "ordered" ? "ol" : "ul", { start, "data-indent": e.indent || undefined }, ...e.elements.map((x) => element("li", {}, rich(x, on))));
    }
  }
  throw new Error(`rich text of type ${e.type} can't be drawn`);
}

function richPart(x, on) {
  switch (x.type) {
    case "text": {
      let node = x.text;
      for (const [style, tag] of [["code", "code"], ["bold", "b"], ["italic", "i"], ["strike", "s"]]) if (x.style?.[style]) node = element(tag, {}, node);
      return node;
    }
    case "user": return who(x.user_id, on);
    case "usergroup": return who(x.usergroup_id, on);
    case "date": return when(x.timestamp, x.format, x.fallback);
    case "link": return element("a", { href: x.url, target: "_blank", rel: "noopener noreferrer" }, x.text ?? x.url);
  }
  throw new Error(`a rich text element of type ${x.type} can't be drawn`);
}

const who = (id, on) => element("span", { class: "mention" }, `@${on.names[id] ?? id}`);

// diff colours the lines that go and come.
function diff(source) {
  const kinds = { "-": "gone", "+": "come" };
  return element("pre", {}, ...source.split("\n").map((line) => element("span", { class: kinds[line[0]] }, `${line}\n`)));
}
