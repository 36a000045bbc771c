// What the page shows, and how it keeps up: it reads again what it shows whenever something has changed.

import { follow, get } from "./api.js";
import { toast } from "./dom.js";
import { keep, recallObject } from "./storage.js";

export const PAGE = 60;
/** The most messages that are in the page at a time. */
export const WINDOW = 240;

const SEEN = "linq-emulator-seen";

export const state = {
  view: null,
  line: null,
  chats: 50,
  chatId: null,
  first: null,
  messages: 80,
  messageId: null,
  pane: "list",
  panel: "emulator",
  actor: {},
  reply: null,
  edit: null,
};

const painters = [];
let reading = null;
let isStale = false;
let readAt = 0;
let seen = recallObject("browser", SEEN);

/** Call this with each new view. */
export const onPaint = (painter) => painters.push(painter);

export function paint() {
  for (const painter of painters) painter(state);
}

/** Read again what is shown. Calls during a read are one more read after it. */
export function refresh() {
  isStale = true;
  reading ??= readUntilFresh().finally(() => {
    reading = null;
  });
  return reading;
}

async function readUntilFresh() {
  while (isStale) {
    isStale = false;
    const { line, chats, chatId, first, messages } = state;
    let view;
    try {
      view = await get("inbox", { line, chats, chat: chatId, first, messages });
    } catch {
      return; // The emulator has ended. When it is there again, the stream says so.
    }
    if (chatId !== state.chatId || first !== state.first || messages !== state.messages || line !== state.line) {
      isStale = true;
      continue;
    }
    if (line && !view.lines.some((one) => one.phone_number === line)) {
      // A reset has removed it.
      state.line = null;
      isStale = true;
      continue;
    }
    readAt = performance.now();
    state.view = view;
    if (state.chatId && !view.conversation) {
      Object.assign(state, { chatId: null, messageId: null, pane: "list" });
      toast("This chat is not here any more", "bad");
    }
    paint();
  }
}

export function start(onState) {
  follow(refresh, onState);
}

/** The virtual time now, in milliseconds. */
export function now() {
  const clock = state.view?.clock;
  if (!clock) return Date.now();
  return clock.frozen ? clock.now : clock.now + (performance.now() - readAt) * clock.speed;
}

/** Show the newest messages of a chat, or the one of a place in it. */
export async function open(chatId, { messageId = null, index = null, remember = true } = {}) {
  const first = index === null ? null : Math.max(0, index - PAGE / 2);
  Object.assign(state, { chatId, messageId, first, messages: 80, pane: "chat" });
  if (messageId) state.panel = "message";
  if (remember) remembered();
  paint();
  await refresh();
}

/** Go to a pane, which only narrow windows notice. */
export function show(pane, { remember = true } = {}) {
  state.pane = pane;
  if (remember) remembered();
  paint();
}

function remembered() {
  const place = new URLSearchParams();
  if (state.chatId && state.pane !== "list") place.set("chat", state.chatId);
  if (state.messageId && state.chatId) place.set("message", state.messageId);
  if (state.pane === "panel") place.set("details", state.panel);
  const target = place.size ? `#${place}` : location.pathname;
  if (target !== (location.hash || location.pathname)) history.pushState(null, "", target);
}

/** Select a message, and show where it came from. */
export function select(messageId, { pane = true } = {}) {
  Object.assign(state, { messageId, panel: messageId ? "message" : state.panel });
  if (pane && messageId) state.pane = "panel";
  remembered();
  paint();
}

/** After another start, the numbers of the same chat may be smaller. */
export const isUnread = (chat) => chat.last_outbound !== (seen[chat.id] ?? 0);

/** Remember that the last message of a chat was looked at. */
export function markSeen(chat) {
  if (!isUnread(chat) || document.hidden) return false;
  seen = { ...recallObject("browser", SEEN), [chat.id]: chat.last_outbound };
  keep("browser", SEEN, JSON.stringify(seen));
  return true;
}

// Another tab has looked at something.
addEventListener("storage", ({ key }) => {
  if (key !== null && key !== SEEN) return;
  seen = recallObject("browser", SEEN);
  paint();
});

/** Forget what was looked at: after a reset, the numbers begin again. */
export function forgetSeen() {
  seen = {};
  keep("browser", SEEN, null);
}
