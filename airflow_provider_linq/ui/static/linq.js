// The Linq page of Airflow's UI: all campaigns and extractions, or one task (?dag_id=…&run_id=…&task_id=…).
//
// Airflow shares the libraries of its own UI as globals. All data comes from its public REST API, and outcomes from the
// plugin, under the rights of whoever looks, and is only ever shown as text. What error codes mean comes from the plugin.

const React = globalThis.React;
const UI = globalThis.ChakraUI;
const { Link, useSearchParams } = globalThis.ReactRouterDOM;
const h = React.createElement;

const CAMPAIGN = "LinqSendCampaignOperator";
const REFRESH_MS = 5000; // as often as a campaign records its progress
const DAYS_SHOWN = 2;
const OUTCOMES = [
  ["sent", "sent", "green.500"],
  ["opted_out", "opted out", "orange.400"],
  ["blocked", "blocked", "orange.600"],
  ["failed", "failed", "red.500"],
  ["unknown", "unknown", "purple.500"],
  ["under_way", "under way", "blue.400"],
  ["pending", "pending", "gray.400"],
];
const STATUSES = ["sent", "skipped", "failed", "unknown", "pending"];
const COLUMNS = [["row", "Row"], ["to", "To"], ["status", "Status"], ["reason", "Reason"], ["code", "Code"], ["detail", "Detail"], ["line", "Line"], ["message_id", "Message"]];
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
const TONES = { success: "green", running: "cyan", failed: "red", deferred: "purple", up_for_retry: "yellow" };
const UNFINISHED = new Set([null, "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry", "up_for_reschedule"]);

// ---------------------------------------------------------------------------------------------------- data

class NotFound extends Error {}

async function get(path) {
  const response = await fetch(new URL(`api/v2/${path}`, document.baseURI));
  if (response.status === 404) throw new NotFound(path);
  if (response.status === 403) throw new Error("You may not see the task instances of this DAG.");
  if (!response.ok) throw new Error(`Airflow answered with HTTP ${response.status}.`);
  return response.json();
}

const orNull = (promise) => promise.catch((error) => { if (error instanceof NotFound) return null; throw error; });

const pathOf = (task) =>
  `dags/${encodeURIComponent(task.dag_id)}/dagRuns/${encodeURIComponent(task.run_id)}/taskInstances/${encodeURIComponent(task.task_id)}`;

const stored = (task, key) => orNull(get(`${pathOf(task)}/state-store/${key}?map_index=${task.map_index}`)).then((found) => found && found.value);

const result = (task) =>
  orNull(get(`${pathOf(task)}/xcomEntries/return_value?map_index=${task.map_index}&stringify=false`)).then((found) => found && found.value);

const pageOf = (task) => `/plugin/linq?${new URLSearchParams({ dag_id: task.dag_id, run_id: task.run_id, task_id: task.task_id, map_index: task.map_index })}`;

async function loadTask(task) {
  const instance = task.map_index >= 0 ? `${pathOf(task)}/${task.map_index}` : pathOf(task);
  const [found, progress, header, ended] = await Promise.all([get(instance), stored(task, "linq_campaign_progress"), stored(task, "linq_campaign"), result(task)]);
  const isCampaign = found.operator === CAMPAIGN || Boolean(progress || header);
  const record = isCampaign ? null : await messageRecord(task);
  return { state: found.state, operator: found.operator, tries: found.try_number, began: found.start_date, isCampaign, progress, header, record, result: ended, isDone: !UNFINISHED.has(found.state) };
}

/** What a task has on record of the message that it sends. In a mapped task, its key ends in a fingerprint. */
async function messageRecord(task) {
  const found = await orNull(get(`${pathOf(task)}/state-store?map_index=${task.map_index}`));
  const entry = ((found && found.task_state_store) || []).find(({ key }) => key.startsWith("linq_message"));
  return entry ? entry.value : null;
}

/** Where outcomes are, as the plugin gives them: in pages, or all of them as CSV. */
const outcomesUrl = (task, query) =>
  new URL(`linq-ui/outcomes?${new URLSearchParams({ dag_id: task.dag_id, run_id: task.run_id, task_id: task.task_id, map_index: task.map_index, ...query })}`, document.baseURI);

async function loadOutcomes(task, query) {
  const response = await fetch(outcomesUrl(task, query));
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(found.detail || `Airflow answered with HTTP ${response.status}.`);
  return found;
}

/** What the error codes of the platform mean, and what to do: nothing where the plugin does not say. */
async function loadCodes() {
  const response = await fetch(new URL("linq-ui/codes", document.baseURI)).catch(() => null);
  return response && response.ok ? response.json() : {};
}

function useCodes() {
  const [codes, setCodes] = React.useState({});
  React.useEffect(() => { loadCodes().then(setCodes); }, []);
  return codes;
}

async function loadTasks(operator) {
  const found = await get(`dags/~/dagRuns/~/taskInstances?operator=${operator}&order_by=-start_date&limit=25`);
  return found.task_instances.map((each) => ({ ...each, run_id: each.dag_run_id }));
}

async function loadOverview() {
  const [campaigns, extractions] = await Promise.all([loadTasks(CAMPAIGN), loadTasks("LinqExtractOperator")]);
  await Promise.all(campaigns.map(async (each) => { [each.progress, each.result] = await Promise.all([stored(each, "linq_campaign_progress"), result(each)]); }));
  await Promise.all(extractions.map(async (each) => { each.result = await result(each); }));
  return { campaigns, lines: latestLines(extractions), isDone: false };
}

/** The latest that is known of each line, over all tasks that extract it; the newest extraction comes first. */
function latestLines(extractions) {
  const latest = new Map();
  for (const task of extractions)
    for (const line of (task.result && task.result.lines) || [])
      if (!latest.has(line.line)) latest.set(line.line, { ...line, task });
  return [...latest.values()].sort((a, b) => a.line.localeCompare(b.line));
}

/** What is loaded again and again, until it says that it is done; nothing is asked for while the page is hidden. */
function useLive(load, key) {
  const [data, setData] = React.useState(null);
  const [error, setError] = React.useState(null);
  React.useEffect(() => {
    let timer = null;
    let isOn = true;
    setData(null);
    const tick = async () => {
      let isDone = false;
      if (!document.hidden) {
        try {
          const loaded = await load();
          if (!isOn) return;
          setData(loaded);
          setError(null);
          isDone = loaded.isDone;
        } catch (problem) {
          if (!isOn) return;
          setError(problem instanceof NotFound ? "There is no such task instance." : problem.message);
        }
      }
      if (isOn && !isDone) timer = setTimeout(tick, REFRESH_MS);
    };
    tick();
    return () => { isOn = false; clearTimeout(timer); };
  }, [key]);
  return { data, error };
}

// --------------------------------------------------------------------------------------------------- pieces

const count = (number) => Number(number || 0).toLocaleString();
const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "");
const time = (value) => (value ? new Date(value).toLocaleString() : "");
const words = (name) => name.replaceAll("_", " ");
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

const Heading = (props) => h(UI.Heading, { as: "h2", size: "md", mt: 6, mb: 3 }, props.children);
const Muted = (props) => h(UI.Text, { color: "fg.muted", fontSize: "sm", ...props }, props.children);
const TextLink = (props) => h(Link, { ...props, style: { textDecoration: "underline" } }, props.children);
const State = ({ state }) => h(UI.Badge, { colorPalette: TONES[state] || "gray" }, words(state || "not started"));

function Meter({ label, name = label, value, most, tone, text, font = "mono" }) {
  const part = Math.min(100, (100 * value) / most);
  return h(UI.Box, { my: 2 },
    h(UI.HStack, { justify: "space-between", fontSize: "sm", gap: 4 }, h(UI.Text, { fontFamily: font }, label), h(UI.Text, { color: "fg.muted", textAlign: "right" }, text)),
    most && h(UI.Box, { role: "meter", "aria-label": name, "aria-valuenow": Math.round(part), "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuetext": text, bg: "bg.emphasized", borderRadius: "full", h: "10px", overflow: "hidden" },
      h(UI.Box, { bg: tone, h: "100%", w: `${part}%`, minW: value ? "3px" : 0, transition: "width .6s" })));
}

function Bar({ counts, total }) {
  const shown = OUTCOMES.filter(([name]) => counts[name]);
  return h(UI.HStack, { gap: 0, h: "28px", borderRadius: "md", overflow: "hidden", bg: "bg.emphasized", role: "img", "aria-label": shown.map(([name, label]) => `${count(counts[name])} ${label}`).join(", ") },
    shown.map(([name, label, color]) => h(UI.Box, { key: name, title: `${count(counts[name])} ${label}`, bg: color, h: "100%", w: `${(100 * counts[name]) / total}%`, transition: "width .6s" })));
}

function Legend({ counts, total }) {
  return h(UI.HStack, { wrap: "wrap", gap: 3, mt: 3 },
    OUTCOMES.filter(([name]) => counts[name] || name === "sent").map(([name, label, color]) =>
      h(UI.Box, { key: name, borderWidth: 1, borderRadius: "md", px: 4, py: 2, minW: "120px" },
        h(UI.HStack, { gap: 2 }, h(UI.Box, { w: "10px", h: "10px", borderRadius: "full", bg: color, flexShrink: 0 }), Muted({ children: label })),
        h(UI.Text, { fontSize: "2xl", fontWeight: "semibold" }, count(counts[name])),
        Muted({ fontSize: "xs", children: share(counts[name] || 0, total) }))));
}

function Table({ label, columns, rows, empty }) {
  if (!rows.length) return h(Muted, null, empty);
  return h(UI.Box, { overflowX: "auto", tabIndex: 0, role: "region", "aria-label": `${label}, to scroll` }, h(UI.Table.Root, { size: "sm", "aria-label": label },
    h(UI.Table.Header, null, h(UI.Table.Row, null, columns.map((name) => h(UI.Table.ColumnHeader, { key: name, scope: "col" }, name)))),
    h(UI.Table.Body, null, rows.map(([key, cells]) => h(UI.Table.Row, { key }, cells.map((cell, index) => h(UI.Table.Cell, { key: index }, cell)))))));
}

function Page({ live, children }) {
  return h(UI.Box, { px: 5, py: 3, maxW: "1100px" },
    live.error && h(UI.Text, { role: "alert", color: "red.500", mb: 3 }, live.error),
    live.data ? children(live.data) : !live.error && h(Muted, { role: "status" }, "Loading …"));
}

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

/** What is known of a code; nothing of one that the platform has added since. */
const Meaning = ({ known, ...look }) => known && h(UI.Box, { whiteSpace: "normal", ...look }, sentence(known.meaning), h(Muted, look, sentence(known.remedy)));

/** The lines today, as healthy as they are and as full; and what they sent on the day before. */
function Lines({ progress }) {
  if (!progress) return null;
  const today = progress.at.slice(0, 10);
  const earlier = Object.keys(progress.days).filter((day) => day !== today).sort().reverse();
  return [today, ...earlier].slice(0, DAYS_SHOWN).map((day) => {
    const sent = progress.days[day] || {};
    const health = (day === today && progress.lines) || {};
    const lines = [...new Set([...Object.keys(health), ...Object.keys(sent)])].sort().filter((line) => sent[line] || health[line].share !== null || health[line].excluded);
    const most = Math.max(...lines.map((line) => (sent[line] || [0])[0]));
    return lines.length > 0 && h(UI.Box, { key: day }, h(Heading, null, `Lines on ${day} (UTC)`),
      lines.map((line) => h(LineOfDay, { key: line, name: line || "the platform's choice", sent: sent[line] || [0, 0], health: health[line], most, progress })));
  });
}

function LineOfDay({ name, sent: [messages, newChats], health, most, progress: { messages_per_day: messageLimit, new_chats_per_day: chatLimit } }) {
  const { reputation, share: part, excluded } = health || {};
  const used = excluded ? `not used: ${excluded}` : part === null || part === undefined ? "" : `${Math.round(100 * part)} % of new recipients`;
  return h(UI.Box, { borderWidth: 1, borderRadius: "md", px: 4, py: 2, my: 2 },
    h(UI.HStack, { gap: 3, wrap: "wrap", justify: "space-between" },
      h(UI.HStack, { gap: 3 }, h(UI.Text, { fontFamily: "mono", fontSize: "sm" }, name), reputation && h(UI.Badge, { colorPalette: REPUTATIONS[reputation] || "gray" }, words(reputation).toLowerCase())),
      h(Muted, null, used)),
    h(DayMeter, { name, what: "messages", value: messages, limit: messageLimit, most }), h(DayMeter, { name, what: "new chats", value: newChats, limit: chatLimit, most }));
}

/** What a line has sent of its limit for the day; without one, beside the line that has sent most. */
function DayMeter({ name, what, value, limit, most }) {
  const tone = limit && value >= limit ? "orange.400" : "blue.400";
  return h(Meter, { label: sentence(what).slice(0, -1), name: `${name}: ${what}`, font: "body", value, most: limit || most || 1, tone, text: limit ? `${count(value)} of ${count(limit)}` : count(value) });
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

function Facts({ facts, task }) {
  return h(UI.Box, { mt: 8 },
    facts.filter(([, value]) => value).map(([name, value]) => h(UI.HStack, { key: name, gap: 3, align: "start" }, h(Muted, { w: "150px", flexShrink: 0 }, name), h(UI.Text, { fontSize: "sm", overflowWrap: "anywhere" }, String(value)))),
    h(UI.Text, { mt: 3, fontSize: "sm" }, h(TextLink, { to: `/dags/${encodeURIComponent(task.dag_id)}/runs/${encodeURIComponent(task.run_id)}/tasks/${encodeURIComponent(task.task_id)}` }, "The task in its run")));
}

function campaignFacts(data) {
  const ended = data.result || {};
  const left = Object.entries(ended.skipped || {}).filter(([name, number]) => number && !["opted_out", "blocked", "late"].includes(name));
  return [
    ["Campaign key", ended.campaign_key || (data.header && data.header.campaign_key)],
    ["Began", time(data.header && data.header.started_at)],
    ["Rows left out", left.map(([name, number]) => `${count(number)} ${words(name)}`).join(", ")],
    ["Outcomes", ended.outcomes_path],
    ["Try", data.tries],
    ["Progress as of", !data.isDone && data.progress ? time(data.progress.at) : null],
  ];
}

/** The rows of the outcomes file, as far as they are asked for. */
function Outcomes({ task }) {
  const codes = useCodes();
  const [query, setQuery] = React.useState({ status: "", q: "" });
  const [shown, setShown] = React.useState({ rows: [], next: 0, isBusy: true, error: null });
  const latest = React.useRef(0);

  const load = async (before, after) => {
    const turn = ++latest.current;
    setShown({ rows: before, next: null, isBusy: true, error: null });
    let next = { rows: before, next: null, isBusy: false, error: null };
    try {
      const found = await loadOutcomes(task, { ...query, after });
      next = { ...next, rows: [...before, ...found.rows], next: found.next };
    } catch (problem) {
      next.error = problem.message;
    }
    if (turn === latest.current) setShown(next);
  };
  React.useEffect(() => { load([], 0); }, [query.status, query.q]);

  const search = (event) => {
    event.preventDefault();
    setQuery({ ...query, q: new FormData(event.currentTarget).get("q").trim() });
  };
  const { rows, next, isBusy, error } = shown;
  const isNew = !query.status && !query.q;
  return h(UI.Box, null, h(Heading, null, "Outcomes"),
    error && isNew ? h(Muted, { role: "status" }, error) : h(UI.Box, null,
      h("form", { onSubmit: search, role: "search", "aria-label": "Outcomes" }, h(UI.HStack, { gap: 3, wrap: "wrap", mb: 3 },
        h(UI.Input, { name: "q", size: "sm", w: "260px", type: "search", placeholder: "Handle, code, id …", "aria-label": "Search outcomes" }),
        h(UI.NativeSelect.Root, { size: "sm", w: "140px" },
          h(UI.NativeSelect.Field, { "aria-label": "Status", value: query.status, onChange: (event) => setQuery({ ...query, status: event.target.value }) },
            h("option", { value: "" }, "All statuses"), STATUSES.map((name) => h("option", { key: name, value: name }, name))),
          h(UI.NativeSelect.Indicator)),
        h(UI.Button, { size: "sm", type: "submit", variant: "outline" }, "Search"),
        h("a", { href: outcomesUrl(task, { ...query, format: "csv" }).href, download: "outcomes.csv", style: { textDecoration: "underline", fontSize: "0.875rem" } }, "Download as CSV"))),
      error && h(UI.Text, { role: "alert", mb: 3 }, error),
      h(Table, { label: "Outcomes", columns: COLUMNS.map(([, name]) => name), empty: isBusy ? "Loading …" : next === null ? "There are none." : "None so far.", rows: rows.map((row) => [row.row, COLUMNS.map(([name]) => (name === "code" ? h(Code, { code: row.code, known: codes[row.code] }) : outcomeCell(row[name])))]) }),
      next !== null && !isBusy && h(UI.Button, { size: "sm", variant: "outline", mt: 3, onClick: () => load(rows, next) }, "More")));
}

const Code = ({ code, known }) => h(UI.Box, { minW: known && "220px" }, outcomeCell(code), h(Meaning, { known, fontSize: "xs" }));

const outcomeCell = (value) => (value === null || value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value));

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
