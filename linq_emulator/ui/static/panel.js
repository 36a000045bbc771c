// The right column: where a message came from and what it caused, or the emulator itself.

import { get, post } from "./api.js";
import * as emulator from "./emulator.js";
import { fill, h, icon, iconButton, tapback, toast } from "./dom.js";
import { TAPBACKS, handle, pretty, seconds } from "./format.js";
import { isMine, react, reply } from "./message.js";
import { onPaint, paint, select, show, state } from "./state.js";

const panel = document.getElementById("panel");
const head = h("header", { class: "panel-head" });
const body = h("div", { class: "panel-body", tabIndex: 0, role: "region", "aria-label": "Details" });

let loaded = null;
let loading = null;
let shown = "";
let code = "4001";
let codes = [];

function tab(name, label) {
  const isOn = state.panel === name;
  return h("button", { type: "button", class: "tab", "aria-pressed": String(isOn), onclick: () => { state.panel = name; paint(); } }, label);
}

function paintPanel({ view }) {
  if (!view) return;
  const message = view.conversation?.messages.find((one) => one.id === state.messageId) ?? null;
  const key = JSON.stringify([state.panel, state.messageId]);
  if (head.shown !== key) {
    head.shown = key;
    fill(head, h("h2", { class: "visually-hidden" }, "Details"), iconButton("back", "Back", close, { class: "icon-button narrow-only" }), tab("message", "Message"), tab("emulator", "Emulator"));
    shown = "";
  }
  if (state.panel === "emulator") {
    if (shown !== "emulator") fill(body, emulator.build());
    shown = "emulator";
    emulator.paint(view);
  } else {
    paintMessage(message, view.change);
  }
}

/** Go back from the panel, which only narrow windows notice. */
export function close() {
  show(state.chatId ? "chat" : "list");
}

function paintMessage(message, change) {
  if (!state.messageId) {
    fill(body, h("div", { class: "hint-box" }, icon("info"), h("p", {}, "Select a message to see the request that made it, later uses of its key, and the webhooks that it caused.")));
    shown = "none";
    return;
  }
  const wanted = `${state.messageId} ${change}`;
  if (loading !== wanted) load(state.messageId, wanted);
  if (loaded?.id !== state.messageId) return;
  const text = JSON.stringify([message && { ...message, index: 0 }, loaded, code, state.actor[loaded.chat_id]]);
  if (shown === text) return;
  const openOnes = new Set([...body.querySelectorAll("details[open]")].map((one) => one.dataset.name));
  const top = shown.includes(state.messageId) ? body.scrollTop : 0;
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.action : null;
  shown = text;
  fill(body, message && [timeline(message), actions(message)], facts(message), request(), uses(), deliveries(), edits(message));
  for (const details of body.querySelectorAll("details")) details.open = openOnes.has(details.dataset.name);
  body.scrollTop = top;
  if (focused) body.querySelector(`[data-action="${focused}"]`)?.focus();
}

async function load(id, wanted) {
  loading = wanted;
  try {
    const answer = await get(`inbox/messages/${id}`);
    if (loading !== wanted) return;
    loaded = answer;
    paint();
  } catch (error) {
    if (error.status === 404 && state.messageId === id) select(null, { pane: false });
    // Otherwise the emulator is away for now, and the next change is news of it.
  }
}

function section(title, ...children) {
  return h("section", { class: "block" }, h("h3", {}, title), children);
}

function timeline(message) {
  const steps = [
    [message.outbound ? "Accepted" : "Written", message.created_at],
    message.outbound && ["Sent", message.sent_at],
    message.has_receipts && ["Delivered", message.delivered_at],
    (message.has_receipts || !message.outbound) && ["Read", message.read_at],
    message.deleted_at && ["Deleted", message.deleted_at, "bad"],
    message.expired_at ? ["Expired", message.expired_at, "bad"] : message.expires_at && ["Expires", message.expires_at, "to-come"],
  ].filter(Boolean);
  if (message.status === "failed") steps.splice(1, 0, [`Failed${message.failure_code ? `, ${message.failure_code}` : ""}`, null, "bad"]);
  return h("ol", { class: "timeline" }, steps.map(([name, at, kind]) =>
    h("li", { class: kind ?? (at ? "done" : "") }, h("span", {}, name), at && h("time", { title: new Date(at).toISOString() }, seconds(at)))));
}

function actions(message) {
  if (message.expired_at || message.deleted_at || message.zero_retention) return null;
  const me = state.actor[message.chat_id];
  const given = new Set((message.parts[0]?.reactions ?? []).filter((one) => one.handle.handle === me).map((one) => one.type));
  const receipt = (status, more) => post("receipts", { message_id: message.id, status, ...more }).catch((error) => toast(error.message, "bad"));
  const button = (name, action) => h("button", { type: "button", class: "button small", "data-action": name, onclick: action }, name);
  const choice = h("select", { class: "code", "aria-label": "Code of the failure", "data-action": "code", onchange: (event) => { code = event.target.value; } },
    codes.map((one) => h("option", { value: one, selected: String(one) === code }, one)));
  return section("As the person",
    h("div", { class: "tapbacks" }, TAPBACKS.map((type) =>
      h("button", { type: "button", class: "tapback", "aria-pressed": String(given.has(type)), "aria-label": type, title: type, "data-action": type, onclick: () => react(message, type) }, tapback({ type })))),
    h("div", { class: "buttons-row" },
      button("Reply", () => reply(message)),
      isMine(message) && message.parts.some((part) => part.type === "text") && button("Edit", () => {
        Object.assign(state, { edit: message, reply: null, pane: "chat" });
        document.dispatchEvent(new CustomEvent("composing"));
      }),
      message.has_receipts && button("Delivered", () => receipt("delivered")),
      message.has_receipts && button("Read", () => receipt("read"))),
    message.outbound && h("div", { class: "buttons-row" },
      h("button", { type: "button", class: "button small danger", "data-action": "refuse", onclick: () => receipt("failed", { code: Number(code) }) }, "Refuse delivery with"), choice));
}

function facts(message) {
  const rows = [
    ["Message", loaded.id],
    message && ["Chat", message.chat_id],
    message?.idempotency_key && ["Idempotency key", message.idempotency_key],
    ["Trace id", loaded.trace_id],
    message?.override_optout && ["Opt-out", "overridden by the request"],
    message && !message.outbound && ["From", handle(message.from)],
  ].filter(Boolean);
  return section("Identity", h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name),
    h("dd", {}, h("code", {}, value), iconButton("copy", `Copy: ${name}`, () => copy(value), { class: "icon-button small copy" }))])));
}

async function copy(text) {
  await navigator.clipboard.writeText(text).then(() => toast("Copied"), () => toast("The browser did not allow it", "bad"));
}

function exchange(one, name) {
  return h("div", { class: "exchange" },
    h("p", { class: "request-line" }, h("b", {}, one.method), " ", h("code", {}, one.path), " ", statusChip(one.status),
      h("small", {}, `${seconds(one.at)}, ${one.milliseconds} ms${one.fault ? `, fault ${one.fault}` : ""}`)),
    one.body && json(`Body ${name}`, one.body, "Body"), one.answer && json(`Answer ${name}`, one.answer, "Answer"));
}

function statusChip(status) {
  const kind = status === null ? "bad" : status < 400 ? "good" : "bad";
  return h("span", { class: `badge ${kind}` }, status ?? "reset");
}

function json(name, text, label) {
  return h("details", { "data-name": name }, h("summary", {}, label), h("pre", { tabIndex: 0 }, pretty(text)));
}

function request() {
  return section("Request", loaded.request ? exchange(loaded.request, "request")
    : h("p", { class: "hint" }, "No request of the API made it, or that was too long ago."));
}

function uses() {
  if (!loaded.key_uses.length) return null;
  return section(`Key used again (${loaded.key_uses.length})`, h("p", { class: "hint" }, "These requests had the same idempotency key. They sent nothing."),
    loaded.key_uses.map((one, n) => exchange(one, `use ${n}`)));
}

function deliveries() {
  if (!loaded.deliveries.length) return section("Webhooks", h("p", { class: "hint" }, "No subscription got an event of this message."));
  return section("Webhooks", loaded.deliveries.map((one) => h("div", { class: "delivery" },
    h("p", { class: "request-line" }, h("b", {}, one.event_type), " ",
      h("span", { class: `badge ${{ delivered: "good", pending: "warn" }[one.state] ?? "bad"}` }, one.state)),
    h("p", { class: "target" }, one.target_url),
    one.attempts.map((attempt, n) => h("p", { class: "attempt" }, `${n + 1}. ${seconds(Date.parse(attempt.at))}: ${attempt.status ?? attempt.error}`)),
    json(`event ${one.event_id} ${one.target_url}`, one.body, "Event"))));
}

function edits(message) {
  if (!message?.edits.length) return null;
  return section("Earlier texts", h("ul", { class: "edits" }, message.edits.map((one) => h("li", {}, h("time", {}, seconds(Date.parse(one.at))), " ", one.before))));
}

export async function setUp() {
  panel.append(head, body);
  onPaint(paintPanel);
  const settings = await get("inbox/settings");
  codes = settings.failure_codes;
  emulator.setUp(settings.switches);
  shown = "";
  paint();
}
