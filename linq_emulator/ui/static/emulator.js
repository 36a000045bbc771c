// The emulator itself: its clock, faults and switches, and the return to the start.

import { command, post } from "./api.js";
import { dialog, fill, h, iconButton, reconcile, toast } from "./dom.js";
import { forgetSeen, now, refresh, state } from "./state.js";

const PRESETS = [
  ["503 three times", { kind: "status", status: 503, code: 4004, count: 3 }],
  ["429 for 5 s", { kind: "status", status: 429, code: 1007, retry_after: 5, lasts: 5 }],
  ["Reset after it was done", { kind: "reset", when: "after", method: "POST", count: 1 }],
  ["Slow by 2 s", { kind: "latency", seconds: 2 }],
];
const KINDS = ["status", "latency", "reset", "truncate", "malformed", "trickle"];

let switches = [];
let parts = null;
let filter = "";

const attempt = (promise) => promise.then(refresh, (error) => toast(error.message, "bad"));
const clock = (change) => attempt(post("clock", change));

export function setUp(declared) {
  switches = declared;
}

export function build() {
  const time = h("p", { class: "big-time", "aria-live": "off" });
  const date = h("p", { class: "hint" });
  const freeze = h("button", { type: "button", class: "button small", onclick: () => clock({ freeze: !state.view.clock.frozen }) });
  const speed = h("select", { "aria-label": "Speed", onchange: (event) => clock({ speed: Number(event.target.value) }) },
    [1, 10, 60, 600, 3600].map((times) => h("option", { value: times }, times === 1 ? "Real speed" : `${times} times as fast`)));
  const faults = h("ul", { class: "faults" });
  const list = h("div", { class: "switches" });
  parts = { time, date, freeze, speed, faults, list };
  adopt(state.view.switches);
  const advance = (label, by) => h("button", { type: "button", class: "button small", onclick: () => clock({ advance: by }) }, label);
  paintSwitches();
  return [
    h("section", { class: "block" }, h("h3", {}, "Clock"), time, date,
      h("div", { class: "buttons-row" }, freeze, advance("+1 min", 60), advance("+1 h", 3600), advance("+24 h", 86400)),
      h("label", { class: "field" }, "Speed", speed)),
    h("section", { class: "block" }, h("h3", {}, "Faults"), faults,
      h("div", { class: "buttons-row" }, PRESETS.map(([name, fault]) =>
        h("button", { type: "button", class: "button small", onclick: () => attempt(post("faults", fault)) }, name)),
      h("button", { type: "button", class: "button small", onclick: otherFault }, "Another…"))),
    h("section", { class: "block" }, h("h3", {}, "Switches"), h("p", { class: "hint" }, "For what the vendor's documentation leaves open. Choose one to see why it is there."),
      h("label", { class: "field" }, "Filter", h("input", { type: "search", value: filter, oninput: (event) => { filter = event.target.value; paintSwitches(); } })), list),
    h("section", { class: "block" }, h("h3", {}, "Start again"), h("p", { class: "hint" }, "Drops all chats, messages, subscriptions, faults and switches. The clock stays."),
      h("button", { type: "button", class: "button danger", onclick: reset }, "Reset the emulator")),
  ];
}

export function paint(view) {
  tick();
  const { frozen, speed } = view.clock;
  parts.freeze.textContent = frozen ? "Unfreeze" : "Freeze";
  if (![...parts.speed.options].some((option) => Number(option.value) === speed)) parts.speed.append(h("option", { value: speed }, `${speed} times as fast`));
  if (document.activeElement !== parts.speed) parts.speed.value = String(speed);
  reconcile(parts.faults, view.faults, (fault) => fault.id, JSON.stringify, faultRow);
  if (adopt(view.switches)) paintSwitches();
}

/** Take over the values of the switches, which others may have set; false if they are the same. */
function adopt(values) {
  const changed = switches.filter((one) => one.value !== values[one.name]);
  for (const one of changed) one.value = values[one.name];
  return changed.length > 0;
}

/** Show the time, every second. */
export function tick() {
  if (!parts) return;
  const at = new Date(now());
  parts.time.textContent = at.toISOString().slice(11, 19);
  parts.date.textContent = `${at.toISOString().slice(0, 10)} UTC${state.view.clock.frozen ? ", frozen" : ""}`;
}

function faultRow(fault) {
  const what = fault.kind === "status" ? `${fault.status}, code ${fault.code}` : fault.kind === "latency" ? `latency of ${fault.seconds} s` : `${fault.kind} ${fault.when}`;
  const which = [fault.method, fault.path || "every path", fault.count && `${fault.hits} of ${fault.count}`, !fault.count && `${fault.hits} hits`, fault.lasts && `for ${fault.lasts} s`].filter(Boolean);
  return h("li", {}, h("span", {}, h("b", {}, what), h("small", {}, which.join(", "))),
    iconButton("close", `Clear the fault: ${what}`, () => attempt(command("DELETE", `faults/${fault.id}`)), { class: "icon-button small" }));
}

function otherFault() {
  const field = (label, properties) => h("label", { class: "field" }, label, h("input", { autocomplete: "off", ...properties }));
  const body = h("div", { class: "grid" },
    h("label", { class: "field" }, "Kind", h("select", { name: "kind" }, KINDS.map((kind) => h("option", { value: kind }, kind)))),
    h("label", { class: "field" }, "When", h("select", { name: "when" }, ["", "before", "after"].map((when) => h("option", { value: when }, when || "as usual")))),
    field("Path (regular expression)", { name: "path", placeholder: "^/v3/chats$" }),
    field("Method", { name: "method", placeholder: "any" }),
    field("Status", { name: "status", type: "number", placeholder: "500" }),
    field("Code", { name: "code", type: "number", placeholder: "3006" }),
    field("Seconds", { name: "seconds", type: "number", step: "any", placeholder: "1" }),
    field("Hits at most", { name: "count", type: "number", placeholder: "no end" }));
  dialog("Set a fault", body, "Set", async (values) => {
    const numbers = new Set(["status", "code", "seconds", "count"]);
    const given = Object.entries(values).filter(([, value]) => value !== "");
    await post("faults", Object.fromEntries(given.map(([name, value]) => [name, numbers.has(name) ? Number(value) : value])));
    await refresh();
  });
}

function paintSwitches() {
  const shown = switches.filter((one) => `${one.name} ${one.reason}`.toLowerCase().includes(filter.toLowerCase()));
  fill(parts.list, shown.map((one) => {
    const id = `switch-${one.name}`;
    return h("div", { class: `switch${one.value === one.default ? "" : " changed"}`, title: one.reason },
      h("label", { htmlFor: id }, one.name), control(one, id), h("p", { class: "reason", id: `${id}-reason` }, one.reason));
  }));
}

function control(one, id) {
  const set = async (value) => {
    await attempt(command("PATCH", "switches", { [one.name]: value }));
    paintSwitches();
    document.getElementById(id)?.focus();
  };
  const allowed = one.allowed.split(", ");
  if (typeof one.value === "boolean" || (typeof one.value === "string") || allowed.length > 1) {
    const read = (text) => (typeof one.value === "boolean" ? text === "true" : typeof one.value === "number" ? Number(text) : text);
    return h("select", { id, "aria-describedby": `${id}-reason`, onchange: (event) => set(read(event.target.value)) }, allowed.map((value) => h("option", { value, selected: String(one.value) === value }, value)));
  }
  return h("input", { id, "aria-describedby": `${id}-reason`, type: "number", step: "any", value: one.value, onchange: ({ target }) => (target.value === "" ? paintSwitches() : set(Number(target.value))) });
}

function reset() {
  dialog("Reset the emulator?", h("p", {}, "All chats, messages, subscriptions, faults and switches return to the start."), "Reset", async () => {
    await post("reset");
    forgetSeen();
    Object.assign(state, { chatId: null, messageId: null, first: null, pane: "list" });
    location.hash = "";
    await refresh();
  });
}
