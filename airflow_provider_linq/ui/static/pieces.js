// What the parts of the page are made of: words, and elements of Airflow's own look.

const UI = globalThis.ChakraUI;
const { Link } = globalThis.ReactRouterDOM;
const h = globalThis.React.createElement;

export const OUTCOMES = [
  ["sent", "sent", "green.500"],
  ["opted_out", "opted out", "orange.400"],
  ["blocked", "blocked", "orange.600"],
  ["failed", "failed", "red.500"],
  ["unknown", "unknown", "purple.500"],
  ["under_way", "under way", "blue.400"],
  ["pending", "pending", "gray.400"],
];
const TONES = { success: "green", running: "cyan", failed: "red", deferred: "purple", up_for_retry: "yellow" };

export const count = (number) => Number(number || 0).toLocaleString();
export const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "");
export const time = (value) => (value ? new Date(value).toLocaleString() : "");
export const words = (name) => name.replaceAll("_", " ");
export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

export const Heading = (props) => h(UI.Heading, { as: "h2", size: "md", mt: 6, mb: 3 }, props.children);
export const Muted = (props) => h(UI.Text, { color: "fg.muted", fontSize: "sm", ...props }, props.children);
export const TextLink = (props) => h(Link, { ...props, style: { textDecoration: "underline" } }, props.children);
export const State = ({ state }) => h(UI.Badge, { colorPalette: TONES[state] || "gray" }, words(state || "not started"));

export function Meter({ label, name = label, value, most, tone, text, font = "mono" }) {
  const part = Math.min(100, (100 * value) / most);
  return h(UI.Box, { my: 2 },
    h(UI.HStack, { justify: "space-between", fontSize: "sm", gap: 4 }, h(UI.Text, { fontFamily: font }, label), h(UI.Text, { color: "fg.muted", textAlign: "right" }, text)),
    most && h(UI.Box, { role: "meter", "aria-label": name, "aria-valuenow": Math.round(part), "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuetext": text, bg: "bg.emphasized", borderRadius: "full", h: "10px", overflow: "hidden" },
      h(UI.Box, { bg: tone, h: "100%", w: `${part}%`, minW: value ? "3px" : 0, transition: "width .6s" })));
}

export function Bar({ counts, total }) {
  const shown = OUTCOMES.filter(([name]) => counts[name]);
  return h(UI.HStack, { gap: 0, h: "28px", borderRadius: "md", overflow: "hidden", bg: "bg.emphasized", role: "img", "aria-label": shown.map(([name, label]) => `${count(counts[name])} ${label}`).join(", ") },
    shown.map(([name, label, color]) => h(UI.Box, { key: name, title: `${count(counts[name])} ${label}`, bg: color, h: "100%", w: `${(100 * counts[name]) / total}%`, transition: "width .6s" })));
}

export function Legend({ counts, total }) {
  return h(UI.HStack, { wrap: "wrap", gap: 3, mt: 3 },
    OUTCOMES.filter(([name]) => counts[name] || name === "sent").map(([name, label, color]) =>
      h(UI.Box, { key: name, borderWidth: 1, borderRadius: "md", px: 4, py: 2, minW: "120px" },
        h(UI.HStack, { gap: 2 }, h(UI.Box, { w: "10px", h: "10px", borderRadius: "full", bg: color, flexShrink: 0 }), Muted({ children: label })),
        h(UI.Text, { fontSize: "2xl", fontWeight: "semibold" }, count(counts[name])),
        Muted({ fontSize: "xs", children: share(counts[name] || 0, total) }))));
}

export function Table({ label, columns, rows, empty }) {
  if (!rows.length) return h(Muted, null, empty);
  return h(UI.Box, { overflowX: "auto", tabIndex: 0, role: "region", "aria-label": `${label}, to scroll` }, h(UI.Table.Root, { size: "sm", "aria-label": label },
    h(UI.Table.Header, null, h(UI.Table.Row, null, columns.map((name) => h(UI.Table.ColumnHeader, { key: name, scope: "col" }, name)))),
    h(UI.Table.Body, null, rows.map(([key, cells]) => h(UI.Table.Row, { key }, cells.map((cell, index) => h(UI.Table.Cell, { key: index }, cell)))))));
}

export function Page({ live, children }) {
  return h(UI.Box, { px: 5, py: 3, maxW: "1100px" },
    live.error && h(UI.Text, { role: "alert", color: "red.500", mb: 3 }, live.error),
    live.data ? children(live.data) : !live.error && h(Muted, { role: "status" }, "Loading …"));
}

export function Facts({ facts, task }) {
  return h(UI.Box, { mt: 8 },
    facts.filter(([, value]) => value).map(([name, value]) => h(UI.HStack, { key: name, gap: 3, align: "start" }, h(Muted, { w: "150px", flexShrink: 0 }, name), h(UI.Text, { fontSize: "sm", overflowWrap: "anywhere" }, String(value)))),
    h(UI.Text, { mt: 3, fontSize: "sm" }, h(TextLink, { to: `/dags/${encodeURIComponent(task.dag_id)}/runs/${encodeURIComponent(task.run_id)}/tasks/${encodeURIComponent(task.task_id)}` }, "The task in its run")));
}

/** What is known of a code; nothing of one that the platform has added since. */
export const Meaning = ({ known, ...look }) => known && h(UI.Box, { whiteSpace: "normal", ...look }, sentence(known.meaning), h(Muted, look, sentence(known.remedy)));
