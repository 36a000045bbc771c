// The outcomes of a campaign, in pages, searched and filtered.

import { loadOutcomes, outcomesUrl, useCodes } from "./data.js";
import { Heading, Meaning, Muted, Table } from "./pieces.js";

const React = globalThis.React;
const UI = globalThis.ChakraUI;
const h = React.createElement;

const STATUSES = ["sent", "skipped", "failed", "unknown", "pending"];
const COLUMNS = [["row", "Row"], ["to", "To"], ["status", "Status"], ["reason", "Reason"], ["code", "Code"], ["detail", "Detail"], ["line", "Line"], ["message_id", "Message"]];

/** The rows of the outcomes file, as far as they are asked for. */
export function Outcomes({ task }) {
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
