// One message as a bubble.

import { post } from "./api.js";
import { h, icon, iconButton, tapback, toast } from "./dom.js";
import { day, handle, hue, left, ownPath, sameDay, seconds, time } from "./format.js";
import { now, open, select, state } from "./state.js";

/** The time until something goes; the clock of the page counts it down. */
export function countdown(at, title) {
  return at && h("span", { class: "countdown", title }, icon("hourglass"), h("span", { "data-at": at }, left(at - now())));
}

const RUN = 5 * 60_000;
const STATUS = { pending: "Sending…", queued: "Queued", sent: "Sent", delivered: "Delivered", read: "Read", received: "Received" };

/** Whether the person that the page speaks for wrote a message. */
export const isMine = (message) => !message.outbound && message.from === state.actor[message.chat_id];

const sameRun = (a, b) => a && b && a.from === b.from && a.outbound === b.outbound && Math.abs(a.created_at - b.created_at) < RUN && sameDay(a.created_at, b.created_at);

/** All that decides how a message looks: itself and its neighbours. */
export function dressed(messages, chat) {
  return messages.map((message, n) => {
    const [before, after] = [messages[n - 1], messages[n + 1]];
    const isLast = !sameRun(message, after);
    return {
      ...message,
      mine: isMine(message),
      day: !before || !sameDay(before.created_at, message.created_at) ? day(message.created_at, now()) : null,
      isFirst: !sameRun(before, message),
      isLast,
      carrier: message.service === chat.service ? null : message.service,
      name: chat.is_group && !isMine(message) && !sameRun(before, message) ? message.from : null,
      showsStatus: isLast || message.status === "failed" || (message.outbound && after?.status !== message.status),
      isSelected: message.id === state.messageId,
    };
  });
}

export function render(message) {
  const gone = message.expired_at ?? message.deleted_at;
  const classes = ["message", message.mine ? "mine" : "theirs", message.service.toLowerCase()];
  if (message.outbound) classes.push("line");
  if (gone) classes.push("is-gone");
  if (message.isFirst) classes.push("first");
  if (message.isLast) classes.push("last");
  if (message.isSelected) classes.push("selected");
  return h("li", { class: "entry", "data-id": message.id },
    message.day && h("p", { class: "day" }, message.day),
    message.name && h("p", { class: `author hue-${hue(message.name)}` }, message.outbound ? `${handle(message.name)} (line)` : handle(message.name)),
    h("article", { class: classes.join(" "), tabIndex: -1, "aria-label": label(message), onclick: (event) => clicked(event, message) },
      message.reply_to && quote(message.reply_to),
      h("div", { class: "bubbles" }, message.parts.map((part) => bubble(message, part)),
        tools(message)),
      meta(message, gone)));
}

function clicked(event, message) {
  if (!event.target.closest("a, button, video, audio") && !String(getSelection())) select(message.id);
}

function label(message) {
  const who = message.outbound ? `Line ${handle(message.from)}` : handle(message.from);
  return `${who}, ${time(message.created_at)}, ${message.service}, ${message.status}`;
}

function quote(target) {
  return h("button", { type: "button", class: "quote", onclick: () => open(state.chatId, { messageId: target.id, remember: false }) },
    icon("reply"), h("span", { dir: "auto" }, target.text || "…"));
}

function bubble(message, part) {
  return h("div", { class: "bubble" }, contentOf(message, part), reactions(part.reactions ?? []));
}

function contentOf(message, part) {
  if (part.url && part.mime_type) return media(part);
  if (part.type === "link") return card(part.value, hostOf(part.value), part.value);
  if (part.type === "poll") return poll(message);
  if (part.type === "imessage_app" || part.type === "app_clip") return appCard(part);
  return h("p", { class: "text", dir: "auto" }, styled(part));
}

/** The text in pieces, each with its styles. Ranges count UTF-16 units, as strings of JavaScript do. */
function styled(part) {
  const marks = [...(part.text_decorations ?? []), ...(part.mentions ?? []).map((mention) => ({ range: mention.range, style: "mention" }))].filter((mark) => mark.range);
  if (!marks.length) return part.value;
  const cuts = [...new Set([0, part.value.length, ...marks.flatMap((mark) => mark.range)])].sort((a, b) => a - b);
  return cuts.slice(1).map((end, n) => {
    const here = marks.filter((mark) => mark.range[0] <= cuts[n] && mark.range[1] >= end);
    const classes = here.map((mark) => `style-${mark.style ?? "animation"}`).join(" ");
    const title = here.map((mark) => mark.animation).filter(Boolean).join(", ");
    return h("span", { class: classes || null, title: title || null }, part.value.slice(cuts[n], end));
  });
}

function media(part) {
  const path = ownPath(part.url);
  const tile = () => h("a", { class: "file", href: path, download: part.filename }, icon("file"),
    h("span", {}, h("b", {}, part.filename), h("small", {}, `${part.mime_type}, ${size(part.size_bytes)}`)));
  if (part.mime_type.startsWith("image/")) {
    const image = h("img", { class: "photo", src: path, alt: part.filename, loading: "lazy", decoding: "async" });
    // Of a file that was sent by its URL, the emulator has a placeholder only.
    image.addEventListener("error", () => image.replaceWith(tile()), { once: true });
    return image;
  }
  return tile();
}

const size = (bytes) => (bytes < 1000 ? `${bytes} bytes` : bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

function hostOf(url) {
  try {
    return new URL(url).host;
  } catch {
    return "link";
  }
}

function card(url, title, text) {
  const isWeb = /^https?:\/\//.test(url);
  return h(isWeb ? "a" : "span", isWeb ? { class: "card", href: url, target: "_blank", rel: "noopener noreferrer" } : { class: "card" },
    h("b", {}, title), h("small", {}, text));
}

function appCard(part) {
  const layout = part.layout ?? {};
  const title = layout.caption ?? part.app?.name ?? (part.type === "app_clip" ? "App Clip" : "App");
  const lines = [layout.subcaption, layout.trailing_caption, part.url ?? part.value].filter(Boolean);
  return h("span", { class: "card" }, h("b", {}, title), lines.map((line) => h("small", {}, line)));
}

function poll(message) {
  const options = message.poll?.options ?? [];
  const most = Math.max(1, ...options.map((option) => option.voters.length));
  const me = state.actor[message.chat_id];
  return h("div", { class: "poll" }, h("small", {}, "Poll"), options.map((option) => {
    const voted = option.voters.some((voter) => voter.handle === me);
    const vote = () => post("votes", { message_id: message.id, from: me, option_id: option.option_id, operation: voted ? "remove" : "add" }).catch((error) => toast(error.message, "bad"));
    return h("button", { type: "button", class: "poll-option", "aria-pressed": String(voted), onclick: vote },
      h("meter", { min: 0, max: most, value: option.voters.length, "aria-hidden": "true" }),
      h("span", {}, option.text), h("span", { class: "count" }, option.voters.length));
  }));
}

function reactions(all) {
  if (!all.length) return null;
  return h("span", { class: "reactions" }, all.map((reaction) =>
    h("span", { class: `reaction${reaction.is_me ? " by-line" : ""}`, title: `${reaction.type} by ${handle(reaction.handle.handle)}` },
      h("span", { class: "visually-hidden" }, `${reaction.type} by ${handle(reaction.handle.handle)}`), tapback(reaction))));
}

function tools(message) {
  if (message.expired_at || message.deleted_at) return null;
  const like = () => react(message, "love");
  return h("span", { class: "tools" },
    !message.mine && iconButton("heart", "React with a heart", like, { class: "icon-button small", tabIndex: -1 }),
    iconButton("reply", "Reply", () => reply(message), { class: "icon-button small", tabIndex: -1 }),
    iconButton("info", "Details", () => select(message.id), { class: "icon-button small", tabIndex: -1 }));
}

/** Add the person's tapback to the first part, or remove it. */
export function react(message, type) {
  const me = state.actor[message.chat_id];
  const has = (message.parts[0]?.reactions ?? []).some((reaction) => reaction.type === type && reaction.handle.handle === me);
  return post("reactions", { message_id: message.id, from: me, type, operation: has ? "remove" : "add" }).catch((error) => toast(error.message, "bad"));
}

/** Begin a reply in the composer. */
export function reply(message) {
  Object.assign(state, { reply: message, edit: null, pane: "chat" });
  document.dispatchEvent(new CustomEvent("composing"));
}

function meta(message, gone) {
  const notes = [];
  if (message.effect) notes.push(h("span", { class: "effect" }, icon("sparkle"), message.effect.name.replaceAll("_", " ")));
  if (message.edits.length) notes.push(h("span", {}, `Edited${message.edits.length > 1 ? ` ${message.edits.length} times` : ""}`));
  if (message.key_uses) notes.push(h("span", { class: "key-uses", title: "Later requests with its idempotency key, which sent nothing" }, icon("repeat"), message.key_uses));
  if (message.reconciled) notes.push(h("span", {}, "Recovered late"));
  if (message.zero_retention) notes.push(h("span", {}, "Not kept"));
  if (message.expired_at) notes.push(h("span", { class: "over" }, `Expired ${time(message.expired_at)}`));
  else if (message.deleted_at) notes.push(h("span", { class: "over" }, `Deleted ${time(message.deleted_at)}`));
  else if (message.showsStatus) notes.push(...statusOf(message));
  if (!gone && message.expires_at && message.isLast) notes.push(countdown(message.expires_at, "Until it expires"));
  if (!notes.length) return null;
  return h("p", { class: "meta" }, notes);
}

function statusOf(message) {
  const at = message.read_at ?? message.delivered_at ?? message.sent_at ?? message.created_at;
  const moment = h("time", { title: `${seconds(at)} (${new Date(at).toISOString()})` }, time(at));
  const kind = message.carrier && h("span", { class: `service ${message.service.toLowerCase()}` }, message.carrier);
  if (message.status === "failed") return [kind, h("span", { class: "failed" }, `Not delivered${message.failure_code ? `, code ${message.failure_code}` : ""}`), moment];
  const word = message.outbound ? STATUS[message.status] : message.status === "read" ? "Read by the line" : null;
  return [kind, word && h("span", { class: `status ${message.status}` }, word), moment];
}
