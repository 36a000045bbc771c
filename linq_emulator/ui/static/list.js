// The left column: lines, chats, and what a search has found.

import { get, post } from "./api.js";
import { dialog, h, icon, isForInputMethod, reconcile, toast } from "./dom.js";
import { chatName, handle, hue, initials, short } from "./format.js";
import { countdown } from "./message.js";
import { isUnread, now, onPaint, open, paint, refresh, state } from "./state.js";

const rows = document.getElementById("rows");
const search = document.getElementById("search");
const foot = document.getElementById("list-foot");
const lines = document.getElementById("lines");

/** The server lists no more. */
const MOST_CHATS = 2000;

let found = null;
let asked = 0;

export function avatar(chat) {
  const letters = chat.is_group ? String(chat.handles.filter((other) => other.status === "active").length) : initials(chat.has_name ? chatName(chat) : chat.name);
  return h("span", { class: `avatar hue-${hue(chat.id)}`, "aria-hidden": "true" }, letters);
}

export function badges(chat) {
  return [
    chat.opted_out && h("span", { class: "badge bad" }, "Opted out"),
    chat.blocked && h("span", { class: "badge bad" }, "Blocked"),
    chat.left && h("span", { class: "badge" }, "Left"),
    ["AT_RISK", "CRITICAL"].includes(chat.health) && h("span", { class: "badge warn" }, chat.health === "AT_RISK" ? "At risk" : "Critical"),
  ];
}

function row(chat) {
  const unread = isUnread(chat);
  const last = chat.last;
  const text = last ? (last.gone ? "No longer kept" : last.text || "…") : "No messages";
  const current = chat.id === state.chatId;
  return h("li", { class: "row-item" },
    h("button", {
      type: "button",
      class: `row${unread ? " unread" : ""}`,
      "aria-current": current ? "true" : null,
      tabIndex: -1,
      "data-chat": chat.id,
      onclick: () => open(chat.id),
    },
    avatar(chat),
    h("span", { class: "row-main" },
      h("span", { class: "row-top" },
        h("span", { class: "row-name", dir: "auto" }, chatName(chat)),
        h("span", { class: "row-time" }, short(chat.at, now()))),
      h("span", { class: "row-bottom" },
        last?.status === "failed" && !last.gone && h("span", { class: "failed-mark", title: "Failed" }, "!"),
        h("span", { class: `row-text${last?.gone ? " gone" : ""}`, dir: "auto" }, last?.outbound && !last.gone ? h("span", { class: "arrow" }, "Line: ") : null, text),
        unread && h("span", { class: "dot" }, h("span", { class: "visually-hidden" }, "unread"))),
      h("span", { class: "row-tags" },
        h("span", { class: `service ${chat.service.toLowerCase()}` }, chat.service),
        badges(chat),
        countdown(chat.expires_at, "Until the oldest message expires")))));
}

function foundRow(message) {
  const who = message.outbound ? `to ${message.to.map(handle).join(", ")}` : `from ${handle(message.from)}`;
  return h("li", { class: "row-item" },
    h("button", { type: "button", class: "row found", tabIndex: -1, onclick: () => openFound(message.id) },
      h("span", { class: "row-main" },
        h("span", { class: "row-top" }, h("span", { class: "row-name" }, who), h("span", { class: "row-time" }, short(message.at, now()))),
        h("span", { class: "row-text", dir: "auto" }, message.text),
        message.idempotency_key && h("span", { class: "row-key" }, message.idempotency_key))));
}

async function openFound(id) {
  try {
    const { chat_id: chatId, index } = await get(`inbox/messages/${id}`);
    await open(chatId, { messageId: id, index });
  } catch (error) {
    toast(error.message, "bad");
  }
}

function paintList({ view }) {
  if (!view) return;
  paintLines(view);
  if (found) {
    reconcile(rows, found.found, (message) => `found ${message.id}`, (message) => JSON.stringify(message), foundRow);
    foot.textContent = found.found.length ? "" : "Nothing found";
    if (!found.is_complete) foot.textContent = `${foot.textContent} Only the newest 200,000 messages were searched.`.trim();
  } else {
    const signature = (chat) => JSON.stringify([chat, isUnread(chat), chat.id === state.chatId, short(chat.at, now())]);
    reconcile(rows, view.chats, (chat) => chat.id, signature, row);
    foot.textContent = view.chats.length ? "" : "No chats yet. Send a message with the API, or write as a person.";
    if (view.chats.length === MOST_CHATS && view.total_chats > MOST_CHATS) {
      foot.textContent = `These are the latest ${MOST_CHATS} of ${view.total_chats} chats. The search finds messages of all.`;
    }
  }
  if (!rows.querySelector("button[tabindex='0']")) (rows.querySelector("[aria-current]") ?? rows.querySelector("button"))?.setAttribute("tabindex", "0");
}

function paintLines(view) {
  const total = view.lines.reduce((sum, line) => sum + line.chats, 0);
  const all = { phone_number: null, chats: total, reputation: "HEALTHY" };
  reconcile(lines, [all, ...view.lines], (line) => line.phone_number ?? "all", (line) => JSON.stringify([line, line.phone_number === state.line]), (line) => {
    const name = line.phone_number ? handle(line.phone_number) : "All lines";
    const notes = [
      line.ineligible && "ineligible",
      line.reputation !== "HEALTHY" && line.reputation.toLowerCase().replace("_", " "),
      line.zero_retention && "keeps nothing",
      line.retention_hours && `keeps ${line.retention_hours} h`,
    ].filter(Boolean).join(", ");
    return h("button", {
      type: "button",
      class: `chip${line.ineligible || line.reputation !== "HEALTHY" ? " warn" : ""}`,
      "aria-pressed": String(line.phone_number === state.line),
      onclick: () => { Object.assign(state, { line: line.phone_number, chats: 50 }); refresh(); },
    }, name, h("span", { class: "count" }, line.chats), notes && h("span", { class: "note" }, notes));
  });
}

async function searchNow() {
  const text = search.value.trim();
  const number = ++asked;
  try {
    const answer = text ? await get("inbox/search", { q: text }) : null;
    if (number !== asked) return;
    found = answer;
    paint();
  } catch (error) {
    toast(error.message, "bad");
  }
}

/** Empty the search; false if it was empty. */
export function clearSearch() {
  if (!search.value && !found) return false;
  search.value = "";
  searchNow();
  return true;
}

/** Move the focus by so many rows. */
function move(step) {
  const buttons = [...rows.querySelectorAll("button.row")];
  const index = buttons.indexOf(document.activeElement);
  const target = buttons[index < 0 ? 0 : Math.min(buttons.length - 1, index + step)];
  if (index + step < 0) search.focus();
  else focusRow(target);
}

function focusRow(target) {
  if (!target) return;
  rows.querySelector("button[tabindex='0']")?.setAttribute("tabindex", "-1");
  target.setAttribute("tabindex", "0");
  target.focus();
}

export function newPerson() {
  const numbers = state.view.lines.map((line) => h("option", { value: line.phone_number, selected: line.phone_number === state.line }, handle(line.phone_number)));
  const services = ["", "iMessage", "RCS", "SMS"].map((service) => h("option", { value: service }, service || "As the handle allows"));
  const body = h("div", {},
    h("label", { class: "field" }, "From", h("input", { name: "from", required: true, autocomplete: "off", spellcheck: false, placeholder: "+12025550150, name@example.com or 72345" })),
    h("p", { class: "hint" }, "A number, an e-mail address, a short code of 3 to 8 digits, or an alphanumeric sender."),
    h("label", { class: "field" }, "To the line", h("select", { name: "line" }, numbers)),
    h("label", { class: "field" }, "Service", h("select", { name: "service" }, services)),
    h("label", { class: "field" }, "Message", h("textarea", { name: "text", rows: 3, required: true })));
  dialog("Write as a new person", body, "Send", async ({ from, line, service, text }) => {
    const message = await post("inbound", { from: from.trim(), line, text, ...(service ? { service } : {}) });
    if (message.dropped) throw new Error("This sender is blocked: the message was dropped.");
    await open(message.chat_id);
  });
}

export function setUp() {
  document.getElementById("compose").append(icon("compose"));
  document.getElementById("compose").addEventListener("click", newPerson);
  search.addEventListener("input", searchNow);
  search.addEventListener("keydown", (event) => {
    if (isForInputMethod(event)) return;
    if (event.key === "ArrowDown") { event.preventDefault(); focusRow(rows.querySelector("button.row")); }
    if (event.key === "Enter") rows.querySelector("button.row")?.click();
  });
  rows.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) { event.preventDefault(); move(step); }
  });
  rows.addEventListener("scroll", () => {
    const isNearEnd = rows.scrollTop + rows.clientHeight > rows.scrollHeight - 400;
    if (isNearEnd && !found && state.view && state.chats < Math.min(MOST_CHATS, state.view.total_chats)) {
      state.chats = Math.min(MOST_CHATS, state.chats + 50);
      refresh();
    }
  });
  onPaint(paintList);
}

/** The number of chats with something new, for the title of the page. */
export const unreadCount = () => (state.view ? state.view.chats.filter(isUnread).length : 0);

export function focusSearch() {
  search.focus();
  search.select();
}
