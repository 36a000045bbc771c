// Puts the page together: header, keys, theme, and where the address says to begin.

import { attach } from "./composer.js";
import * as conversation from "./conversation.js";
import { fill, icon, isForInputMethod, toast } from "./dom.js";
import * as emulator from "./emulator.js";
import { get } from "./api.js";
import { left } from "./format.js";
import * as list from "./list.js";
import * as panel from "./panel.js";
import { now, onPaint, open, paint, refresh, show, start, state } from "./state.js";
import { keep, recall } from "./storage.js";

const THEME = "linq-emulator-theme";
const live = document.getElementById("live");
const panes = document.getElementById("panes");
const clock = document.getElementById("clock");
const faults = document.getElementById("faults-chip");
const theme = document.getElementById("theme");

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  const next = name === "dark" ? "light" : "dark";
  fill(theme, icon(next === "dark" ? "moon" : "sun"));
  theme.setAttribute("aria-label", `Switch to the ${next} theme`);
  theme.title = theme.getAttribute("aria-label");
  theme.onclick = () => {
    keep("browser", THEME, next);
    setTheme(next);
  };
}

function paintHeader({ view, pane }) {
  panes.dataset.pane = pane;
  if (!view) return;
  const count = view.faults.length;
  faults.hidden = !count;
  fill(faults, icon("bolt"), `${count} ${count === 1 ? "fault" : "faults"}`);
  const unread = list.unreadCount();
  document.title = `${unread ? `(${unread}) ` : ""}Linq emulator`;
  tick();
}

/** What changes with the time alone. */
function tick() {
  if (!state.view) return;
  const at = now();
  const { frozen, speed } = state.view.clock;
  fill(clock, icon("clock"), new Date(at).toISOString().slice(11, 19), frozen ? " frozen" : speed === 1 ? " UTC" : ` ×${speed}`);
  clock.classList.toggle("frozen", frozen);
  for (const element of document.querySelectorAll("[data-at]")) element.textContent = left(Number(element.dataset.at) - at);
  if (state.panel === "emulator") emulator.tick();
}

function openSettings() {
  state.panel = "emulator";
  show("panel");
  document.querySelector(".panel-body").focus();
}

function keys(event) {
  if (event.defaultPrevented || isForInputMethod(event) || document.querySelector("dialog[open]")) return;
  const isWriting = event.target.closest("input, textarea, select");
  if (event.key === "/" && !isWriting && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    show("list", { remember: false });
    list.focusSearch();
  } else if (event.key === "Escape") {
    if (list.clearSearch()) return;
    if (state.pane === "panel") panel.close();
    else if (state.pane === "chat") show("list");
    document.querySelector(state.pane === "list" ? ".row[tabindex='0']" : ".input")?.focus();
  }
}

/** Show what the address names. */
async function route() {
  const place = new URLSearchParams(location.hash.slice(1));
  const chat = place.get("chat");
  let messageId = place.get("message");
  let index = null;
  if (chat && messageId && (chat !== state.chatId || messageId !== state.messageId)) {
    try {
      ({ index } = await get(`inbox/messages/${encodeURIComponent(messageId)}`));
    } catch {
      messageId = null;
      toast("This message is not here any more", "bad");
    }
  }
  if (chat) await open(chat, { messageId, index, remember: false });
  if (place.get("details")) state.panel = place.get("details");
  show(place.get("details") ? "panel" : chat && state.chatId ? "chat" : "list", { remember: false });
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const preferred = () => recall("browser", THEME) ?? (prefersDark.matches ? "dark" : "light");
prefersDark.addEventListener("change", () => setTheme(preferred()));
setTheme(preferred());
fill(document.getElementById("open-settings"), icon("sliders"));
for (const button of [clock, faults, document.getElementById("open-settings")]) button.addEventListener("click", openSettings);
document.addEventListener("keydown", keys);
document.addEventListener("visibilitychange", () => document.hidden || paint());
addEventListener("popstate", route);
// A file that is dropped is sent; the browser would show it in place of the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  if (name === "drop") attach([...event.dataTransfer.files]);
});
list.setUp();
conversation.setUp();
onPaint(paintHeader);
await refresh();
await panel.setUp();
await route();
start((isLive) => {
  live.textContent = isLive ? "Live" : "Reconnecting…";
  live.classList.toggle("on", isLive);
});
setInterval(tick, 1000);
