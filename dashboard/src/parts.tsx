// What several pages show: states, moments, and tables of jobs page by page. A table never has more than a page of rows, however many
// jobs there are: the daemon finds the next page from the ids at the ends of this one.

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { get, query } from "./api.ts";
import { now, useNow } from "./clock.ts";
import { count, cut, duration, exact, exit, ticking, time } from "./format.ts";
import { type Live, useLive } from "./live.ts";
import { to, toGroup, toJob, toQueue } from "./route.ts";
import { typed } from "./searching.ts";
import type { Job, Jobs, State } from "./types.ts";

export function StateMark({ state, cancelling }: { state: State | string; cancelling?: boolean | undefined }) {
  return <span class={`state ${state}`}>{cancelling ? `${state}, cancelling` : state}</span>;
}

/** `3 min 20 s ago`. */
export function Ago({ at }: { at: number }) {
  const current = useNow();
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)}>
      {ticking(Math.max(0, current - at))} ago
    </time>
  );
}

/** `in 3 min 20 s`, or `now` when that is over. */
export function Until({ at }: { at: number }) {
  const current = useNow();
  const left = at - current;
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)}>
      {left < 1_000 ? "now" : `in ${ticking(left)}`}
    </time>
  );
}

/** How long it has been so. */
export function Since({ at }: { at: number }) {
  const current = useNow();
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)}>
      {ticking(Math.max(0, current - at))}
    </time>
  );
}

/** The time of day. */
export function At({ at }: { at: number }) {
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)}>
      {time(at, now())}
    </time>
  );
}

export function Progress({ of }: { of: { percent: number; text?: string } }) {
  return (
    <span class="progress">
      <progress max={100} value={of.percent} aria-label="Progress" />
      <span>
        {of.percent} %{of.text ? ` ${of.text}` : ""}
      </span>
    </span>
  );
}

/** What the daemon said instead of an answer. */
export function Fault({ error }: { error: Error | undefined }) {
  return error ? (
    <p class="fault" role="alert">
      {error.message}
    </p>
  ) : null;
}

/** Says that something is on its way, or shows it. */
export function Loaded<T>({ live, children }: { live: Live<T>; children: (data: T) => ComponentChildren }) {
  if (live.data === undefined) return live.error ? <Fault error={live.error} /> : <p class="waits">Asking the daemon…</p>;
  return (
    <>
      <Fault error={live.error} />
      {children(live.data)}
    </>
  );
}

/** Names and values, those that are there. */
export function Facts({ of }: { of: [string, ComponentChildren][] }) {
  const there = of.filter(([, value]) => value !== undefined && value !== null && value !== false && value !== "");
  return (
    <dl class="facts">
      {there.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A table that may be wider than a small screen: then it moves by itself, and the page does not. `isSnug`: no wider than it needs. */
export function Wide({ label, isSnug, children }: { label: string; isSnug?: boolean; children: ComponentChildren }) {
  return (
    <div class={isSnug ? "scrolls snug" : "scrolls"} role="group" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}

export interface Filter {
  queue?: string;
  state?: string;
  tag?: string;
  key?: string;
  group?: string;
  error?: string;
}

const PAGE = 50;
/** So many pages without a match are looked through before somebody is asked whether to go on. */
const EMPTY_PAGES = 5;

interface Page {
  /** The newest first. */
  jobs: Job[];
  /** Whether there may be newer and older ones. */
  newer: boolean;
  older: boolean;
  /** The last id that was looked at, if nothing was found up to there. */
  lookedTo?: number;
}

/** One page of jobs, the newest first: those `before` an id, those `after` one, or the first. */
async function page(filter: Filter, place: { before?: string | undefined; after?: string | undefined }, signal: AbortSignal): Promise<Page> {
  const newest = place.after === undefined;
  let cursor = newest ? place.before : place.after;
  for (let nth = 1; ; nth += 1) {
    const asked = query({ ...filter, limit: PAGE, commands: true, newest: newest || undefined, [newest ? "before" : "after"]: cursor });
    const { jobs, next } = await get<Jobs>(`/jobs${asked}`, signal);
    const isLast = next === undefined;
    if (jobs.length > 0 || isLast || nth === EMPTY_PAGES) {
      if (!newest) jobs.reverse();
      const [newer, older] = newest ? [place.before !== undefined, !isLast] : [!isLast, true];
      return { jobs, newer, older, ...(jobs.length === 0 && !isLast && { lookedTo: next }) };
    }
    cursor = String(next);
  }
}

interface JobsProps {
  /** Of the table, for those who do not see it. */
  label: string;
  filter: Filter;
  /** Where this is shown, and which part. */
  path: (string | number)[];
  query: URLSearchParams;
  /** Said if there are none. */
  nothing: string;
  without?: "queue" | "group";
  /** It is asked for once if nothing is found: that may have meant to look through very many jobs. */
  isSearch?: boolean;
}

export function JobsTable({ label, filter, path, query: asked, nothing, without, isSearch }: JobsProps) {
  const place = { before: asked.get("before") ?? undefined, after: asked.get("after") ?? undefined };
  const inputs = [JSON.stringify(filter), place.before, place.after];
  const shown = useRef(new Set<number>());
  // Of a group changes do not tell; those of jobs that are shown are known.
  const concerns = (queue?: string, job?: number) => (filter.group === undefined ? filter.queue === undefined || queue === filter.queue : shown.current.has(job!));
  const ask = async (signal: AbortSignal) => {
    const found = await page(filter, place, signal);
    shown.current = new Set(found.jobs.map(({ id }) => id));
    return found;
  };
  const live = useLive(ask, { everyMs: 4_000, concerns, keepsOld: true, isEnough: ({ jobs }) => isSearch === true && jobs.length === 0 }, inputs);
  const at = (more: Record<string, string | number | undefined>) => {
    const kept = Object.fromEntries([...asked].filter(([key]) => key !== "before" && key !== "after"));
    return to(path, { ...kept, ...more });
  };
  return (
    <Loaded live={live}>
      {({ jobs, newer, older, lookedTo }) => (
        <>
          {jobs.length > 0 ? (
            <Rows label={label} jobs={jobs} without={without} />
          ) : (
            <p class="nothing">
              {lookedTo === undefined ? nothing : `Nothing found among the jobs looked at so far, ${place.after === undefined ? "down" : "up"} to job ${lookedTo}.`}
              {isSearch && <> <button type="button" class="small" onClick={live.again}>Look again</button></>}
            </p>
          )}
          {(newer || older) && (
            <nav class="pages" aria-label={`Pages of ${label}`}>
              {newer && <a href={at({})}>Newest</a>}
              {newer && jobs[0] && <a href={at({ after: jobs[0].id })}>Newer</a>}
              {lookedTo !== undefined && place.after !== undefined && <a href={at({ after: lookedTo })}>Look further</a>}
              {older && <a href={at({ before: jobs.at(-1)?.id ?? lookedTo ?? place.before })}>{lookedTo === undefined || place.after !== undefined ? "Older" : "Look further"}</a>}
            </nav>
          )}
        </>
      )}
    </Loaded>
  );
}

export function Rows({ label, jobs, without }: { label: string; jobs: Job[]; without?: "queue" | "group" | undefined }) {
  return (
    <Wide label={label}>
      <table class="list">
        <caption class="unseen">{label}</caption>
        <thead>
          <tr>
            <th scope="col" class="number">Job</th>
            {without !== "queue" && <th scope="col">Queue</th>}
            <th scope="col">State</th>
            <th scope="col" class="number wide">Attempts</th>
            <th scope="col" class="number">Age</th>
            <th scope="col">What is known</th>
          </tr>
        </thead>
        <tbody>
          {jobs.map((job) => (
            <tr key={job.id}>
              <th scope="row" class="number">
                <a class="row" href={toJob(job.id)}>
                  {job.id}
                </a>
              </th>
              {without !== "queue" && (
                <td>
                  <a href={toQueue(job.queue)}>{job.queue}</a>
                </td>
              )}
              <td>
                <StateMark state={job.state} cancelling={job.cancelling} />
              </td>
              <td class="number wide">
                {job.failed} of {job.attempts}
              </td>
              <td class="number">
                <Since at={job.submitted_at} />
              </td>
              <td class="what">
                <div class="brief">
                  <Known job={job} withGroup={without !== "group"} />
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

/** What matters of a job in its state, in one line. */
function Known({ job, withGroup }: { job: Job; withGroup: boolean }) {
  const error = job.state === "done" ? undefined : job.failures?.at(-1)?.error;
  return (
    <>
      {job.state === "scheduled" && job.due_at !== undefined && !job.until_signal && (
        <span class="bit">
          due <Until at={job.due_at} />
        </span>
      )}
      {job.until_signal && <span class="bit">waits for signal {job.until_signal}</span>}
      {job.waits_for && <span class="bit">waits for {cut(job.waits_for.map((wait) => (wait.job ? `job ${wait.job}` : `group ${wait.group}`)).join(", "), 60)}</span>}
      {job.state === "leased" && job.leased_at !== undefined && (
        <span class="bit">
          for <Since at={job.leased_at} />
        </span>
      )}
      {job.state === "leased" && job.progress && <Progress of={job.progress} />}
      {job.ended_at !== undefined && (
        <span class={error === undefined ? "bit" : "bit wide"}>
          ended <Ago at={job.ended_at} />
          {job.started_at !== undefined && job.state === "done" && <> after {duration(job.ended_at - job.started_at)}</>}
        </span>
      )}
      {error !== undefined && <span class="bit error" title={error}>{cut(error, 160)}</span>}
      {error === undefined && job.state === "dead" && exit(job)}
      {job.command && <code class="bit">{cut(job.command, 100)}</code>}
      {withGroup && job.group && (
        <a class="bit" href={toGroup(job.group)}>
          {job.group}
        </a>
      )}
      <Tags job={job} />
    </>
  );
}

export function Tags({ job }: { job: Job }) {
  const found = (q: string) => to(["search"], { q });
  return (
    <>
      {job.key && (
        <a class="tag" href={found(`key:${typed(job.key)}`)} title="its key">
          key {cut(job.key, 40)}
        </a>
      )}
      {job.tags?.map(([name, value]) => (
        <a class="tag" key={name} href={found(`${name}=${typed(value)}`)}>
          {cut(`${name}=${value}`, 48)}
        </a>
      ))}
    </>
  );
}

/** A number that is nothing to look at if it is 0. */
export function Num({ of, bad }: { of: number; bad?: boolean }) {
  return <span class={of === 0 ? "zero" : bad ? "bad" : undefined}>{count(of)}</span>;
}
