// Below a conversation: where the developer writes as the person.

import { post } from "./api.js";
import { fill, h, icon, iconButton, isForInputMethod, toast } from "./dom.js";
import { handle } from "./format.js";
import { paint as paintAll, state } from "./state.js";
import { keep, recallObject } from "./storage.js";

const MAX_FILE = 5_000_000;
const DRAFTS = "linq-emulator-drafts";
const typing = new Set();
/** What is not sent yet, by chat. It outlives a reload. */
const drafts = recallObject("tab", DRAFTS);
let actions = {};
let parts = null;

const draft = (chatId) => drafts[chatId] ?? "";

function keepDraft(chatId, text) {
  if (text) drafts[chatId] = text;
  else delete drafts[chatId];
  keep("tab", DRAFTS, JSON.stringify(drafts));
}

export const setUp = (given) => {
  actions = given;
  document.addEventListener("composing", () => {
    paintAll();
    if (!parts) return;
    if (state.edit && state.edit.chat_id === parts.chat?.id) parts.input.value = state.edit.parts.find((part) => part.type === "text")?.value ?? "";
    grow();
    parts.input.focus();
  });
};

export function build() {
  const input = h("textarea", { class: "input", rows: 1, "aria-label": "Message as the person", enterKeyHint: "send" });
  const file = h("input", { type: "file", class: "visually-hidden", accept: "image/*", tabIndex: -1, "aria-label": "Photo" });
  const actor = h("select", { class: "actor", "aria-label": "Write as" });
  const context = h("div", { class: "context", hidden: true });
  const quick = h("div", { class: "quick", role: "group", "aria-label": "As the person" });
  const send = iconButton("send", "Send as the person", submit, { class: "icon-button filled send" });
  input.addEventListener("keydown", (event) => {
    if (isForInputMethod(event)) return;
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); submit(); }
    if (event.key === "Escape" && (state.reply || state.edit)) { event.stopPropagation(); cancel(); }
  });
  input.addEventListener("input", () => {
    if (!state.edit) keepDraft(parts.chat.id, input.value);
    grow();
  });
  file.addEventListener("change", async () => {
    const files = [...file.files];
    file.value = "";
    await attach(files);
  });
  input.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    // A text that is copied from some programs comes with a picture of itself.
    if (!files.length || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    attach(files);
  });
  actor.addEventListener("change", () => { state.actor[parts.chat.id] = actor.value; paintAll(); });
  parts = { input, actor, context, quick, send, chat: null };
  return h("footer", { class: "composer" }, context,
    h("div", { class: "composer-top" }, actor, quick),
    h("div", { class: "composer-row" }, iconButton("photo", "Send a photo as the person", () => file.click()), file, input, send));
}

/** Show what fits the open chat. */
export function paint(chat) {
  if (parts.chat?.id !== chat.id) begin(chat);
  parts.chat = chat;
  const present = chat.handles.filter((other) => other.status === "active").map((other) => other.handle);
  const me = state.actor[chat.id];
  const text = JSON.stringify([chat.id, present, me, chat.left, typing.has(me + chat.id), state.reply?.id, state.edit?.id]);
  if (parts.shown === text) return;
  parts.shown = text;
  fill(parts.actor, present.map((one) => h("option", { value: one, selected: one === me }, handle(one))));
  parts.actor.hidden = present.length < 2;
  parts.input.placeholder = chat.left ? "The line has left this group" : `Message as ${handle(me)}`;
  parts.input.disabled = parts.send.disabled = chat.left;
  fill(parts.quick,
    h("button", { type: "button", class: "chip", "aria-pressed": String(typing.has(me + chat.id)), onclick: () => type(chat, me) }, "Typing…"),
    h("button", { type: "button", class: "chip", onclick: () => attempt(actions.readAll()) }, "Read all"),
    h("button", { type: "button", class: "chip danger", title: "Opt out", onclick: ({ detail }) => detail < 2 && deliver(chat.id, me, { text: "STOP" }) }, "STOP"));
  paintContext();
  grow();
}

/** Take up what was being written in a chat. What was being edited or replied to in another one is left. */
function begin(chat) {
  state.edit = null;
  if (state.reply?.chat_id !== chat.id) state.reply = null;
  parts.input.value = draft(chat.id);
}

function paintContext() {
  const about = state.edit ?? state.reply;
  parts.context.hidden = !about;
  if (!about) return;
  fill(parts.context, icon(state.edit ? "compose" : "reply"),
    h("span", {}, state.edit ? "Edit: " : "Reply to: ", about.parts.map((part) => part.value ?? part.filename).join(" ")),
    iconButton("close", "Cancel", cancel, { class: "icon-button small" }));
}

function cancel() {
  Object.assign(state, { reply: null, edit: null });
  parts.input.value = draft(parts.chat.id);
  paintAll();
  grow();
}

function grow() {
  parts.input.style.height = "auto";
  parts.input.style.height = `${Math.min(160, parts.input.scrollHeight)}px`;
}

function attempt(promise) {
  return promise.then(() => true, (error) => { toast(error.message, "bad"); return false; });
}

async function submit() {
  // The chat that is shown, which is not yet the one that was chosen while that loads.
  const chatId = parts.chat.id;
  const text = parts.input.value;
  if (!text.trim() || parts.input.disabled) return;
  const { edit, reply } = state;
  const index = edit?.parts.findIndex((part) => part.type === "text");
  const sending = edit ? attempt(post("edits", { message_id: edit.id, text, part_index: index })) : deliver(chatId, state.actor[chatId], { text }, reply);
  // Before the answer: Enter may come again, and the next text be typed.
  if (!edit) keepDraft(chatId, "");
  cancel();
  parts.input.focus();
  if (await sending) return;
  if (!edit) keepDraft(chatId, [text, draft(chatId)].filter(Boolean).join("\n"));
  if (parts.chat?.id !== chatId || state.edit) return;
  Object.assign(state, { edit, reply: state.reply ?? reply });
  parts.input.value = edit ? text : draft(chatId);
  paintAll();
  grow();
}

/** Send as the person; the page then shows the newest messages. */
async function deliver(chatId, from, content, reply = null) {
  const body = { from, chat_id: chatId, ...content, ...(reply ? { reply_to: reply.id } : {}) };
  const done = await attempt(post("inbound", body).then((message) => {
    if (message.dropped) throw new Error("This person is blocked: the message was dropped.");
  }));
  typing.delete(from + chatId);
  if (state.chatId === chatId) actions.showNewest();
  return done;
}

function type(chat, me) {
  const started = !typing.has(me + chat.id);
  return attempt(post("typing", { chat_id: chat.id, from: me, started }).then(() => {
    typing[started ? "add" : "delete"](me + chat.id);
    paintAll();
  }));
}

/** Send files as the person, one after the other. */
export async function attach(files) {
  if (!parts?.input.isConnected || parts.input.disabled) return;
  // Reading and storing them takes a while, in which another chat may be opened.
  const chatId = parts.chat.id;
  const from = state.actor[chatId];
  const { reply } = state;
  for (const file of files) {
    if (file.size > MAX_FILE) toast(`${file.name}: a photo must have at most 5 MB here.`, "bad");
    else await attempt(store(file).then((id) => deliver(chatId, from, { parts: [{ type: "media", attachment_id: id }] }, reply)));
  }
}

async function store(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let binary = "";
  for (let start = 0; start < bytes.length; start += 32768) binary += String.fromCharCode(...bytes.subarray(start, start + 32768));
  const stored = await post("files", { filename: file.name, content_type: file.type, content: btoa(binary) });
  return stored.attachment_id;
}
