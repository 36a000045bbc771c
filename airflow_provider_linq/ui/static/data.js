// What the page shows, from Airflow's public REST API and from the plugin.

const React = globalThis.React;

const CAMPAIGN = "LinqSendCampaignOperator";
const REFRESH_MS = 5000; // as often as a campaign records its progress
export const UNFINISHED = new Set([null, "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry", "up_for_reschedule"]);

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

export const pageOf = (task) => `/plugin/linq?${new URLSearchParams({ dag_id: task.dag_id, run_id: task.run_id, task_id: task.task_id, map_index: task.map_index })}`;

export async function loadTask(task) {
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
export const outcomesUrl = (task, query) =>
  new URL(`linq-ui/outcomes?${new URLSearchParams({ dag_id: task.dag_id, run_id: task.run_id, task_id: task.task_id, map_index: task.map_index, ...query })}`, document.baseURI);

export async function loadOutcomes(task, query) {
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

export function useCodes() {
  const [codes, setCodes] = React.useState({});
  React.useEffect(() => { loadCodes().then(setCodes); }, []);
  return codes;
}

async function loadTasks(operator) {
  const found = await get(`dags/~/dagRuns/~/taskInstances?operator=${operator}&order_by=-start_date&limit=25`);
  return found.task_instances.map((each) => ({ ...each, run_id: each.dag_run_id }));
}

export async function loadOverview() {
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
export function useLive(load, key) {
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
