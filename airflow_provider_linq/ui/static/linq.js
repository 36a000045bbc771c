// The Linq page of Airflow's UI: all campaigns and extractions, or one task (?dag_id=…&run_id=…&task_id=…).
//
// Airflow shares the libraries of its own UI as globals. All data comes from its public REST API, and outcomes from the
// plugin, under the rights of whoever looks, and is only ever shown as text. What error codes mean comes from the plugin.

import { loadOverview, loadTask, pageOf, UNFINISHED, useCodes, useLive } from "./data.js";
import { Outcomes } from "./outcomes.js";
import { Bar, count, Facts, Heading, Legend, Meaning, Meter, Muted, OUTCOMES, Page, sentence, share, State, Table, TextLink, time, words } from "./pieces.js";

const UI = globalThis.ChakraUI;
const { useSearchParams } = globalThis.ReactRouterDOM;
const h = globalThis.React.createElement;

const DAYS_SHOWN = 2;
// What the page shows of a result. Others may hold the text of a message, or a handle.
const RESULT_FACTS = [
  ["chat_id", "Chat"], ["message_id", "Message"], ["delivery_status", "Delivery"], ["service", "Service"], ["created_at", "Created", true], ["sent_at", "Sent", true], ["delivered_at", "Delivered", true],
  ["read_at", "Read", true], ["refused", "Refused"], ["answer", "Answer"], ["answered_at", "Answered", true], ["answer_message_id", "Message of the answer"], ["idempotency_key", "Idempotency key"], ["trace_id", "Trace"],
];
const RECORDED = {
  not_sent: "Nothing has been sent.",
  in_progress: "A request was begun, and its answer is not on record. The next try finds out what became of it.",
  completed: "The platform has accepted the message.",
};
const FUNNEL = ["sent", "delivered", "read", "replied", "opted_out", "failed"];
const REPUTATIONS = { HEALTHY: "green", AT_RISK: "orange", CRITICAL: "red" };

// ------------------------------------------------------------------------------------------------- campaign

/** The counts of recipients: while it runs those of its progress, and then those of the result. */
function countsOf({ progress, result: ended }) {
  if (ended) {
    const { opted_out, blocked, late } = ended.skipped || {};
    return { sent: ended.sent, opted_out, blocked, failed: ended.failed, unknown: ended.unknown, pending: (ended.pending || 0) + (late || 0) };
  }
  if (!progress) return null;
  const counts = Object.fromEntries(OUTCOMES.map(([name]) => [name, progress[name] || 0]));
  const known = Object.values(counts).reduce((sum, each) => sum + each, 0);
  return { ...counts, pending: Math.max(0, progress.recipients - known) };
}

const totalOf = (counts) => OUTCOMES.reduce((sum, [name]) => sum + (counts[name] || 0), 0);
const settledOf = (counts) => totalOf(counts) - (counts.pending || 0) - (counts.under_way || 0);

function pace({ state, progress, result: ended }) {
  if (ended) return "ended";
  if (!progress) return "";
  if (progress.state === "waiting") return `waiting until ${time(progress.waits_until)}: ${progress.waits_for}`;
  if (state !== "running" || progress.per_second === null) return "";
  return `${progress.per_second.toFixed(1)} a second` + (progress.done_at ? `, done about ${time(progress.done_at)}` : "");
}

/** Who has failed, by the platform's code; without one, the outcomes say why. */
function Failures({ failed, progress }) {
  const codes = useCodes();
  const byCode = Object.entries((progress && progress.failed_by_code) || {}).sort(([, a], [, b]) => b - a);
  if (!failed || !byCode.length) return null;
  const others = failed - byCode.reduce((sum, [, number]) => sum + number, 0);
  const rows = byCode.map(([code, number]) => [code, [code, count(number), h(Meaning, { known: codes[code] })]]);
  if (others > 0) rows.push(["none", ["none", count(others), "No code is on record: see the details in the outcomes."]]);
  return h(UI.Box, null, h(Heading, null, "Failed"), h(Table, { label: "Failed", columns: ["Code", "Recipients", "What it means, and what to do"], rows }));
}

/** The lines today, as healthy as they are and as full; and what they sent on the day before. */
function Lines({ progress }) {
  if (!progress) return null;
  const today = progress.at.slice(0, 10);
  const earlier = Object.keys(progress.days).filter((day) => day !== today).sort().reverse();
  return [today, ...earlier].slice(0, DAYS_SHOWN).map((day) => {
    const sent = progress.days[day] || {};
    const health = (day === today && progress.lines) || {};
    const lines = [...new Set([...Object.keys(health), ...Object.keys(sent)])].sort().filter((line) => sent[line] || health[line].share !== null || health[line].excluded);
    return lines.length > 0 && h(UI.Box, { key: day }, h(Heading, null, `Lines on ${day} (UTC)`),
      lines.map((line) => h(LineOfDay, { key: line, name: line || "the platform's choice", sent: sent[line] || [0, 0], health: health[line], progress })));
  });
}

function LineOfDay({ name, sent: [messages, newChats], health, progress: { messages_per_day: messageLimit, new_chats_per_day: chatLimit } }) {
  const { reputation, share: part, excluded } = health || {};
  const used = excluded ? `not used: ${excluded}` : part === null || part === undefined ? "" : `${Math.round(100 * part)} % of new recipients`;
  return h(UI.Box, { borderWidth: 1, borderRadius: "md", px: 4, py: 2, my: 2 },
    h(UI.HStack, { gap: 3, wrap: "wrap", justify: "space-between" },
      h(UI.HStack, { gap: 3 }, h(UI.Text, { fontFamily: "mono", fontSize: "sm" }, name), reputation && h(UI.Badge, { colorPalette: REPUTATIONS[reputation] || "gray" }, words(reputation).toLowerCase())),
      h(Muted, null, used)),
    h(DayMeter, { name, what: "messages", value: messages, limit: messageLimit }), h(DayMeter, { name, what: "new chats", value: newChats, limit: chatLimit }));
}

/** What a line has sent of its limit for the day; without one, the number alone: a full bar would say that it is full. */
function DayMeter({ name, what, value, limit }) {
  const tone = limit && value >= limit ? "orange.400" : "blue.400";
  return h(Meter, { label: sentence(what).slice(0, -1), name: `${name}: ${what}`, font: "body", value, most: limit, tone, text: limit ? `${count(value)} of ${count(limit)}` : count(value) });
}

function Report({ report }) {
  if (!report) return null;
  const others = Object.entries(report).filter(([name, number]) => number && !FUNNEL.includes(name));
  return h(UI.Box, null, h(Heading, null, "What became of the messages"),
    FUNNEL.filter((name) => name in report).map((name) => h(Meter, {
      key: name, label: words(name), font: "body", value: report[name], most: report.sent || 1, tone: name === "failed" || name === "opted_out" ? "orange.400" : "green.500",
      text: `${count(report[name])} (${share(report[name], report.sent)})`,
    })),
    others.length > 0 && h(Muted, null, others.map(([name, number]) => `${count(number)} ${words(name)}`).join(", ")));
}

function campaignFacts(data) {
  const ended = data.result || {};
  const left = Object.entries(ended.skipped || {}).filter(([name, number]) => number && !["opted_out", "blocked", "late"].includes(name));
  return [
    ["Campaign key", ended.campaign_key || (data.header && data.header.campaign_key)],
    ["Shard", data.progress && data.progress.shard],
    ["Began", time(data.header && data.header.started_at)],
    ["Rows left out", left.map(([name, number]) => `${count(number)} ${words(name)}`).join(", ")],
    ["Outcomes", ended.outcomes_path],
    ["Try", data.tries],
    ["Progress as of", !data.isDone && data.progress ? time(data.progress.at) : null],
  ];
}

function Campaign({ data, task }) {
  const counts = countsOf(data);
  if (!counts) return h(UI.Box, null, h(State, { state: data.state }), h(Muted, { mt: 3 }, "Nothing is on record of this campaign: it has not begun to send, or Airflow has removed its state."));
  const total = totalOf(counts);
  return h(UI.Box, null,
    h(UI.HStack, { justify: "space-between", wrap: "wrap", mb: 3 },
      h(UI.HStack, { gap: 3 }, h(UI.Text, { fontSize: "lg", fontWeight: "semibold" }, `${count(settledOf(counts))} of ${count(total)} recipients settled`), h(State, { state: data.state })),
      h(Muted, null, pace(data))),
    h(Bar, { counts, total }), h(Legend, { counts, total }), h(Failures, { failed: counts.failed, progress: data.progress }), h(Report, { report: data.result && data.result.report }), h(Lines, data), h(Facts, { facts: campaignFacts(data), task }),
    data.result && data.result.outcomes_path && h(Outcomes, { task }));
}

// ----------------------------------------------------------------------------------------------------- task

/** What a task has sent or waited for, in a sentence. */
function deed({ state, record, result: ended }) {
  const known = ended || (record && record.result) || {};
  if (known.refused) return `Nothing was sent: the recipient ${known.refused === "opted_out" ? "has opted out" : "is blocked"}.`;
  if ("answer" in known) return known.answer === null ? "The question was sent, and no answer that fits came in time." : "The question was sent and answered.";
  if (record) return RECORDED[record.status] || "";
  if (ended) return "It has found what it waited for, or sent what it had to.";
  if (UNFINISHED.has(state)) return "Nothing has come of it yet.";
  return "Nothing is on record of it.";
}

function Task({ data, task }) {
  const known = { ...((data.record && data.record.result) || {}), ...(data.result || {}) };
  const facts = RESULT_FACTS.map(([name, label, isTime]) => [label, isTime ? time(known[name]) : known[name]]);
  const record = data.record || {};
  return h(UI.Box, null,
    h(UI.HStack, { gap: 3, wrap: "wrap" }, h(UI.Text, { fontSize: "lg", fontWeight: "semibold" }, deed(data)), h(State, { state: data.state })),
    h(Facts, { task, facts: [["Operator", data.operator], ["Began", time(data.began)], ["Line", record.line], ["First requested", time(record.started_at)], ["Takes the place of", record.replaces], ...facts, ["Key", known.idempotency_key ? null : record.key], ["Try", data.tries]] }));
}

function TaskPage({ task }) {
  const live = useLive(() => loadTask(task), JSON.stringify(task));
  return h(UI.Box, null,
    h(UI.Box, { px: 5, pt: 5 }, h(TextLink, { to: "/plugin/linq" }, "← All campaigns"), h(UI.Heading, { as: "h1", size: "xl", mt: 2 }, `${task.dag_id} · ${task.task_id}`), h(Muted, null, task.map_index >= 0 ? `${task.run_id} [${task.map_index}]` : task.run_id)),
    h(Page, { live }, (data) => h(data.isCampaign ? Campaign : Task, { data, task })));
}

// ------------------------------------------------------------------------------------------------- overview

/** How much of the window is left, of what arrived right after the last complete pass. */
function leftOf(line) {
  if (!line.window_hours || !line.read_until) return null;
  const hours = line.window_hours - (Date.now() - new Date(line.read_until)) / 3600000;
  return { hours, part: Math.max(0, hours) / line.window_hours };
}

function Line({ line }) {
  const left = leftOf(line);
  const gap = line.gap ? "; a gap: messages may have expired unread" : "";
  if (!left) return h(Meter, { label: line.line, text: (line.window_hours ? "no complete pass yet" : `messages don't expire; read until ${time(line.read_until)}`) + gap });
  const tone = line.gap || left.part < 0.25 ? "red.500" : left.part < 0.5 ? "orange.400" : "green.500";
  const text = left.hours > 0 ? `${left.hours.toFixed(1)} h of ${line.window_hours} h left before a message expires unread` : "messages expire unread";
  return h(Meter, { label: line.line, value: left.part, most: 1, tone, text: `${text}; read until ${time(line.read_until)}${gap}` });
}

function Overview() {
  const live = useLive(loadOverview, "overview");
  return h(UI.Box, null, h(UI.Heading, { as: "h1", size: "xl", px: 5, pt: 5 }, "Linq"), h(Page, { live }, ({ campaigns, lines }) => h(UI.Box, null,
    h(Heading, null, "Campaigns"),
    h(Table, {
      label: "Campaigns", columns: ["DAG", "Run", "State", "Settled", "Sent", "Started"], empty: "No task of LinqSendCampaignOperator has run yet.",
      rows: campaigns.map((each) => {
        const counts = countsOf(each);
        return [each.id, [each.dag_id, h(TextLink, { to: pageOf(each) }, each.map_index >= 0 ? `${each.run_id} [${each.map_index}]` : each.run_id), h(State, { state: each.state }), counts ? `${count(settledOf(counts))} of ${count(totalOf(counts))}` : "", counts ? count(counts.sent) : "", time(each.start_date)]];
      }),
    }),
    h(Heading, null, "Extraction"),
    lines.length ? lines.map((line) => h(Line, { key: line.line, line })) : h(Muted, null, "No task of LinqExtractOperator has ended yet."))));
}

function Linq() {
  const [query] = useSearchParams();
  const task = { dag_id: query.get("dag_id"), run_id: query.get("run_id"), task_id: query.get("task_id"), map_index: Number(query.get("map_index") ?? -1) };
  return h(UI.Box, { id: "linq-page" }, task.dag_id && task.run_id && task.task_id ? h(TaskPage, { task }) : h(Overview));
}

globalThis.Linq = Linq;
globalThis.AirflowPlugin = Linq;
export default Linq;
