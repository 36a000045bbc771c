// Elements are made from names and texts alone: a text is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Strokes of the icons, in a square of 24. */
const ICONS = {
  back: "M15 5l-7 7 7 7",
  bolt: "M13 3L5 13h6l-1 8 8-10h-6z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  clock: "M12 7v5l3.5 2M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 0 0 0-17z",
  close: "M6 6l12 12M18 6L6 18",
  compose: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  down: "M6 9l6 6 6-6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  dislike: "M7 14V4M7 13.5c1.5 0 3 3 4 6.5 2 0 2.5-2 2-5h5c1.5 0 2-1 1.7-2.3L18 6c-.3-1.2-1-2-2.3-2H7",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  heart: "M12 20C5 15 3.5 11.5 4 8.5 4.6 5 9.5 4 12 8c2.5-4 7.4-3 8 .5.5 3-1 6.5-8 11.5z",
  hourglass: "M7 3.5h10M7 20.5h10M8 3.5c0 5 8 6.5 8 17M16 3.5c0 5-8 6.5-8 17",
  info: "M12 11v6M12 7.5v.01M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 0 0 0-17z",
  like: "M7 10v10M7 10.5c1.5 0 3-3 4-6.5 2 0 2.5 2 2 5h5c1.5 0 2 1 1.7 2.3L18 18c-.3 1.2-1 2-2.3 2H7",
  moon: "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z",
  photo: "M4 6h16v12H4zM4 15l4.5-4.5L13 15l3-3 4 4M15.5 9.5v.01",
  repeat: "M5 11a7 7 0 0 1 12-4l2 2M19 4v5h-5M19 13a7 7 0 0 1-12 4l-2-2M5 20v-5h5",
  reply: "M9 7l-5 5 5 5M4 12h9a6 6 0 0 1 6 6",
  send: "M12 19V5M6 11l6-6 6 6",
  sliders: "M4 7h9M17 7h3M15 5v4M4 12h3M11 12h9M9 10v4M4 17h9M17 17h3M15 15v4",
  sparkle: "M12 3l2 6.5 6.5 2.5-6.5 2.5-2 6.5-2-6.5L3.5 12 10 9.5z",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
};

/** An icon, which a screen reader passes over. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** What stands for a tapback. Not every machine has a font with emojis, so these are drawn, or letters. */
export function tapback(reaction) {
  const { type, custom_emoji: emoji } = reaction;
  const letters = { laugh: "HA HA", emphasize: "!!", question: "?", custom: emoji, sticker: "sticker" }[type];
  const drawing = letters ?? icon(type === "love" ? "heart" : type);
  return h("span", { class: `tap tap-${type}`, "aria-hidden": "true" }, drawing);
}

/**
 * An element. Properties that begin with "on" are listeners, `class`, `role`, `data-*` and `aria-*` are attributes, the
 * others properties of the element. Children are nodes or texts; null and false are left out.
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(class|for|role|list|(data|aria)-.*)$/.test(name)) element.setAttribute(name, value === true ? "" : value);
    else element[name] = value;
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Put these children into an element, instead of those that it has. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** A button with an icon; its name is for screen readers, and for who points at it. */
export function iconButton(name, label, onclick, properties) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...properties }, icon(name));
}

/**
 * Let an element have one child for each item, in their order. A child is made again only when what `signature` says of
 * its item has changed, and the focus stays where it was.
 */
export function reconcile(parent, items, key, signature, render) {
  const before = parent.keyed ?? new Map();
  const after = new Map();
  const wanted = new Set(items.map(key));
  // First: those that stay need not be moved past them, and a node that is moved loses the focus and what is selected in it.
  for (const [id, { node }] of before) if (!wanted.has(id)) node.remove();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let refocus = null;
  let next = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    const text = signature(item);
    let entry = before.get(id);
    if (entry?.text !== text) {
      const node = render(item);
      if (entry) {
        if (focused && entry.node.contains(focused)) refocus = node;
        if (next === entry.node) next = next.nextElementSibling;
        entry.node.remove();
      }
      entry = { node, text };
    }
    after.set(id, entry);
    if (entry.node === next) next = next.nextElementSibling;
    else parent.insertBefore(entry.node, next);
  }
  parent.keyed = after;
  if (refocus) (refocus.matches("[tabindex],button") ? refocus : refocus.querySelector("[tabindex],button"))?.focus();
}

/** Say something for some seconds. */
export function toast(text, kind = "") {
  const note = h("p", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 6000);
}

/** Whether a key is for an input method, and not for the page. Safari says so by its code alone. */
export const isForInputMethod = (event) => event.isComposing || event.keyCode === 229;

/** Show a dialog with a form, and send what it holds once to `submit`, which may throw to keep it open. */
export function dialog(title, body, action, submit) {
  const problem = h("p", { class: "problem", role: "alert" });
  const close = () => box.close();
  let isSending = false;
  const form = h("form", { method: "dialog" },
    h("h2", {}, title), body, problem,
    h("div", { class: "buttons" },
      h("button", { type: "button", class: "button", onclick: close }, "Cancel"),
      h("button", { type: "submit", class: "button primary" }, action)));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isSending) return;
    isSending = true;
    try {
      await submit(Object.fromEntries(new FormData(form)));
      close();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      isSending = false;
    }
  });
  const box = h("dialog", { class: "dialog", "aria-label": title, onclose: () => box.remove() }, form);
  document.body.append(box);
  box.showModal();
  return box;
}
