// Below a conversation: where the developer writes as the person.

import { post } from "./api.js";
import { fill, h, icon, iconButton, toast } from "./dom.js";
import { handle } from "./format.js";
import { paint as paintAll, refresh, state } from "./state.js";

const MAX_FILE = 5_000_000;
const typing = new Set();
let actions = {};
let parts = null;

export const setUp = (given) => {
  actions = given;
  document.addEventListener("composing", () => {
    paintAll();
    if (state.edit) parts.input.value = state.edit.parts.find((part) => part.type === "text")?.value ?? "";
    parts?.input.focus();
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
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
    if (event.key === "Escape" && (state.reply || state.edit)) { event.stopPropagation(); cancel(); }
  });
  input.addEventListener("input", grow);
  file.addEventListener("change", () => attach(file));
  actor.addEventListener("change", () => { state.actor[state.chatId] = actor.value; paintAll(); });
  parts = { input, actor, context, quick, send, chat: null };
  return h("footer", { class: "composer" }, context,
    h("div", { class: "composer-top" }, actor, quick),
    h("div", { class: "composer-row" }, iconButton("photo", "Send a photo as the person", () => file.click()), file, input, send));
}

/** Show what fits the open chat. */
export function paint(chat) {
  const present = chat.handles.filter((other) => other.status === "active").map((other) => other.handle);
  const me = state.actor[chat.id];
  const text = JSON.stringify([chat.id, present, me, chat.left, typing.has(me + chat.id), state.reply?.id, state.edit?.id]);
  if (parts.shown === text) return;
  if (parts.chat !== chat.id) parts.input.value = "";
  Object.assign(parts, { shown: text, chat: chat.id });
  fill(parts.actor, present.map((one) => h("option", { value: one, selected: one === me }, handle(one))));
  parts.actor.hidden = present.length < 2;
  parts.input.placeholder = chat.left ? "The line has left this group" : `Message as ${handle(me)}`;
  parts.input.disabled = parts.send.disabled = chat.left;
  fill(parts.quick,
    h("button", { type: "button", class: "chip", "aria-pressed": String(typing.has(me + chat.id)), onclick: () => type(chat, me) }, "Typing…"),
    h("button", { type: "button", class: "chip", onclick: () => attempt(actions.readAll()) }, "Read all"),
    h("button", { type: "button", class: "chip danger", title: "Opt out", onclick: () => deliver({ text: "STOP" }) }, "STOP"));
  paintContext();
  grow();
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
  if (state.edit) parts.input.value = "";
  Object.assign(state, { reply: null, edit: null });
  paintAll();
}

function grow() {
  parts.input.style.height = "auto";
  parts.input.style.height = `${Math.min(160, parts.input.scrollHeight)}px`;
}

function attempt(promise) {
  return promise.then(() => true, (error) => { toast(error.message, "bad"); return false; });
}

async function submit() {
  const text = parts.input.value;
  if (!text.trim() || parts.input.disabled) return;
  const { chatId, edit, reply } = state;
  const index = edit?.parts.findIndex((part) => part.type === "text");
  const sending = edit ? attempt(post("edits", { message_id: edit.id, text, part_index: index })) : deliver({ text });
  // Before the answer: Enter may come again, and the next text be typed.
  parts.input.value = "";
  Object.assign(state, { reply: null, edit: null });
  paintAll();
  grow();
  parts.input.focus();
  if (await sending || state.chatId !== chatId || parts.input.value) return;
  parts.input.value = text;
  Object.assign(state, { reply, edit });
  paintAll();
  grow();
}

/** Send as the person; the page then shows the newest messages. */
async function deliver(content) {
  const chatId = state.chatId;
  const body = { from: state.actor[chatId], chat_id: chatId, ...content, ...(state.reply ? { reply_to: state.reply.id } : {}) };
  const done = await attempt(post("inbound", body).then((message) => {
    if (message.dropped) throw new Error("This person is blocked: the message was dropped.");
  }));
  typing.delete(body.from + chatId);
  state.first = null;
  refresh();
  return done;
}

function type(chat, me) {
  const started = !typing.has(me + chat.id);
  return attempt(post("typing", { chat_id: chat.id, from: me, started }).then(() => {
    typing[started ? "add" : "delete"](me + chat.id);
    paintAll();
  }));
}

async function attach(field) {
  const [file] = field.files;
  field.value = "";
  if (!file) return;
  if (file.size > MAX_FILE) return toast("A photo must have at most 5 MB here.", "bad");
  const bytes = new Uint8Array(await file.arrayBuffer());
  let binary = "";
  for (let start = 0; start < bytes.length; start += 32768) binary += String.fromCharCode(...bytes.subarray(start, start + 32768));
  await attempt(post("files", { filename: file.name, content_type: file.type, content: btoa(binary) })
    .then((stored) => deliver({ parts: [{ type: "media", attachment_id: stored.attachment_id }] })));
}
