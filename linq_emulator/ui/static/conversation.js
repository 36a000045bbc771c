// The middle: the open conversation, of which a window is in the page.

import { post } from "./api.js";
import * as composer from "./composer.js";
import { fill, h, icon, iconButton, reconcile, toast } from "./dom.js";
import { chatName, handle } from "./format.js";
import { avatar, badges } from "./list.js";
import { countdown, dressed, render } from "./message.js";
import { PAGE, WINDOW, markSeen, onPaint, paint, refresh, select, show, state } from "./state.js";

const section = document.getElementById("chat");
const NEAR = 600;

let parts = null;
let shownChat = null;
let shownMessage = null;

function build() {
  const title = h("div", { class: "chat-title" });
  const messages = h("ol", { class: "messages", tabIndex: -1, "aria-label": "Messages", "aria-live": "polite" });
  const scroller = h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": "Messages of the conversation" }, messages);
  const newest = h("button", { type: "button", class: "newest", hidden: true, onclick: toNewest }, icon("down"), "Newest");
  const head = h("header", { class: "chat-head" },
    iconButton("back", "Back to the chats", () => show("list"), { class: "icon-button back" }),
    title,
    iconButton("info", "Details", () => { state.panel = state.messageId ? "message" : "emulator"; show("panel"); }, { class: "icon-button narrow-only" }));
  scroller.addEventListener("scroll", scrolled, { passive: true });
  scroller.addEventListener("keydown", moved);
  fill(section, head, h("div", { class: "stage" }, scroller, newest), composer.build());
  return { title, messages, scroller, newest };
}

function empty() {
  parts = null;
  shownChat = null;
  const hasChats = state.view?.chats.length;
  fill(section, h("div", { class: "empty" },
    h("div", { class: "empty-art", "aria-hidden": "true" }, icon("compose")),
    h("h2", {}, hasChats ? "Choose a chat" : "Nothing was sent yet"),
    h("p", {}, hasChats ? "You see it as the person does, and answer as the person would." : "What your code sends to the API appears here, live. Or be the first to write."),
    h("p", { class: "keys" }, h("kbd", {}, "/"), " search ", h("kbd", {}, "↑"), h("kbd", {}, "↓"), " move ", h("kbd", {}, "Enter"), " open ", h("kbd", {}, "Esc"), " back")));
}

function paintConversation({ view, chatId }) {
  if (!view) return;
  if (!chatId) return empty();
  const conversation = view.conversation;
  if (conversation?.chat.id !== chatId) return;
  parts ??= build();
  const { chat } = conversation;
  chooseActor(chat);
  paintTitle(chat);
  const isOther = shownChat !== chatId;
  const wasAtEnd = isOther || (state.first === null && atEnd());
  const anchor = wasAtEnd ? null : findAnchor();
  parts.messages.setAttribute("aria-busy", "true");
  const items = dressed(conversation.messages, chat);
  reconcile(parts.messages, items, (message) => message.id, signature, render);
  parts.messages.setAttribute("aria-busy", "false");
  parts.messages.querySelector("article:not([tabindex='-1'])") ?? parts.messages.querySelector(".entry:last-child article")?.setAttribute("tabindex", "0");
  if (state.messageId && shownMessage !== state.messageId && scrollTo(state.messageId)) shownMessage = state.messageId;
  else if (wasAtEnd) parts.scroller.scrollTop = parts.scroller.scrollHeight;
  else restore(anchor);
  shownChat = chatId;
  if (!state.messageId) shownMessage = null;
  const hasNewer = conversation.first + conversation.messages.length < conversation.total;
  parts.newest.hidden = !hasNewer && atEnd(300);
  if (!hasNewer && isVisible() && markSeen(chat)) paint();
  composer.paint(chat);
}

const signature = ({ parts: content, ...rest }) => JSON.stringify([rest, content]).replaceAll(/token=[0-9a-f]+|until=\d+/g, "");
const atEnd = (slack = 80) => parts.scroller.scrollTop + parts.scroller.clientHeight >= parts.scroller.scrollHeight - slack;
const isVisible = () => section.offsetParent !== null;

/** The person that the page speaks for: who wrote last in a group, until another is chosen. */
function chooseActor(chat) {
  const present = chat.handles.filter((other) => other.status === "active").map((other) => other.handle);
  if (!present.includes(state.actor[chat.id])) state.actor[chat.id] = present[0] ?? chat.handles[0].handle;
}

function paintTitle(chat) {
  const text = JSON.stringify([chat.name, chat.handles, chat.line, chat.service, chat.opted_out, chat.blocked, chat.left, chat.health, chat.expires_at]);
  if (parts.title.shown === text) return;
  parts.title.shown = text;
  const people = chat.is_group && chat.has_name ? chat.handles.filter((other) => other.status === "active").map((other) => handle(other.handle)).join(", ") : null;
  fill(parts.title, avatar(chat),
    h("div", {}, h("h2", { dir: "auto" }, chatName(chat)),
      h("p", { class: "chat-facts" }, h("span", { class: `service ${chat.service.toLowerCase()}` }, chat.service),
        h("span", {}, `with ${handle(chat.line)}`), people && h("span", { class: "people" }, people), badges(chat), countdown(chat.expires_at, "Until the oldest message expires"))));
}

function scrollTo(messageId) {
  const entry = parts.messages.querySelector(`[data-id="${CSS.escape(messageId)}"]`);
  entry?.scrollIntoView({ block: "nearest" });
  return Boolean(entry);
}

/** The first message that is visible, and where. */
function findAnchor() {
  const top = parts.scroller.getBoundingClientRect().top;
  for (const entry of parts.messages.children) {
    const box = entry.getBoundingClientRect();
    if (box.bottom > top) return { id: entry.dataset.id, offset: box.top };
  }
  return null;
}

function restore(anchor) {
  const entry = anchor && parts.messages.querySelector(`[data-id="${anchor.id}"]`);
  if (entry) parts.scroller.scrollTop += entry.getBoundingClientRect().top - anchor.offset;
}

/** Show more messages where the end of the window comes near. */
function scrolled() {
  const conversation = state.view?.conversation;
  if (!conversation || conversation.chat.id !== state.chatId || !parts) return;
  const { first, total, messages } = conversation;
  const { scrollTop, clientHeight, scrollHeight } = parts.scroller;
  const end = first + messages.length;
  parts.newest.hidden = end === total && atEnd(300);
  if (scrollTop < NEAR && first > 0) {
    state.first = Math.max(0, first - PAGE);
    state.messages = Math.min(WINDOW, end - state.first);
  } else if (scrollTop + clientHeight > scrollHeight - NEAR && end < total) {
    state.messages = Math.min(WINDOW, messages.length + PAGE);
    state.first = first + messages.length + PAGE - state.messages;
  } else if (end === total && state.first !== null && atEnd()) {
    Object.assign(state, { first: null, messages: Math.min(WINDOW, messages.length) });
  } else {
    // Whoever reads above the end stays there, however many messages come.
    if (state.first === null && !atEnd()) Object.assign(state, { first, messages: messages.length });
    return;
  }
  refresh();
}

function showNewest() {
  Object.assign(state, { first: null, messages: 80 });
  shownChat = null;
  return refresh();
}

function toNewest() {
  state.messageId = null;
  return showNewest();
}

function moved(event) {
  const articles = [...parts.messages.querySelectorAll("article")];
  const index = articles.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && index >= 0) {
    event.preventDefault();
    focusMessage(articles[Math.max(0, Math.min(articles.length - 1, index + step))], articles[index]);
  } else if (step && event.target === parts.scroller) {
    event.preventDefault();
    focusMessage(articles.at(-1));
  } else if (event.key === "Enter" && index >= 0) {
    select(articles[index].closest(".entry").dataset.id);
  }
}

function focusMessage(target, before) {
  before?.setAttribute("tabindex", "-1");
  target?.setAttribute("tabindex", "0");
  target?.focus();
}

/** Let the person read what the line has sent. */
export async function readAll() {
  const unread = state.view.conversation.messages.filter((message) => message.has_receipts && !["read", "failed"].includes(message.status) && !message.expired_at && !message.deleted_at);
  if (!unread.length) return toast("Nothing to read: SMS and groups have no receipts, and the rest is read.");
  for (const message of unread) await post("receipts", { message_id: message.id, status: "read" });
}

export function setUp() {
  composer.setUp({ readAll, showNewest });
  onPaint(paintConversation);
}
