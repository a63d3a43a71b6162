// The first page: what needs somebody's attention, what went through over time, and all queues.

import { useState } from "preact/hooks";
import { change } from "../api.ts";
import { now } from "../clock.ts";
import { confirm, perform } from "../dialog.tsx";
import { useLimits } from "../details.ts";
import { bytes, count, counted, duration, jobs, rate, ticking, time } from "../format.ts";
import { rates } from "../rates.ts";
import { Fault, Loaded, Num, Since, Until, Wide } from "../parts.tsx";
import { type Route, to, toJob, toQueue } from "../route.ts";
import { mostFailed, useHistory } from "../statistics.ts";
import { useStatus } from "../status.ts";
import type { Queue, Stats, Status } from "../types.ts";
import { History, spanInWords, spanOf } from "./history.tsx";

/** So many queues are shown until more are asked for. */
const SHOWN = 50;
/** And so many notices. */
const NOTICES = 8;

export function Overview({ route }: { route: Route }) {
  const status = useStatus();
  const span = spanOf(route.query);
  const history = useHistory(span);
  return (
    <>
      <h1 tabIndex={-1}>Overview</h1>
      <Loaded live={status}>
        {(status) => (
          <>
            <Sums status={status} />
            <Attention status={status} history={history.data} span={span} />
            <History history={history} path={[]} query={route.query} />
            <Queues status={status} />
            <Daemon status={status} />
          </>
        )}
      </Loaded>
    </>
  );
}

function Sums({ status: { queues } }: { status: Status }) {
  const sum = (of: (queue: Queue) => number) => queues.reduce((all, queue) => all + of(queue), 0);
  const known = queues.map(({ queue }) => rates(queue)).filter((one) => one !== null);
  const flow = (of: "in" | "out" | "failed") => (known.length === 0 ? "–" : rate(known.reduce((all, one) => all + one[of], 0)));
  const boxes: [string, string, string, string?][] = [
    ["Ready", count(sum((queue) => queue.ready)), "ready", to(["search"], { q: "state:ready" })],
    ["Leased", count(sum((queue) => queue.leased)), "leased", to(["workers"])],
    ["Scheduled", count(sum((queue) => queue.scheduled)), "scheduled", to(["search"], { q: "state:scheduled" })],
    ["Waiting", count(sum((queue) => queue.waiting)), "waiting", to(["search"], { q: "state:waiting" })],
    ["Dead", count(sum((queue) => queue.dead)), "dead", to(["dead"])],
    ["Submitted", flow("in"), ""],
    ["Completed", flow("out"), ""],
    ["Failed", flow("failed"), ""],
  ];
  return (
    <ul class="sums" aria-label="All queues together">
      {boxes.map(([name, value, state, address]) => (
        <li key={name} class={state}>
          <span>{address ? <a href={address}>{name}</a> : name}</span>
          <b>{value}</b>
        </li>
      ))}
    </ul>
  );
}

interface Notice {
  queue?: Queue;
  text: preact.ComponentChildren;
  isBad: boolean;
}

/** What is wrong, or may be, the worst first. */
function notices({ queues, mode, refusing }: Status): Notice[] {
  const found: Notice[] = [];
  if (refusing) found.push({ text: `No jobs are taken: ${refusing}`, isBad: true });
  if (mode !== "running") found.push({ text: `The daemon is ${mode}: it takes no jobs and gives none out.`, isBad: true });
  for (const queue of queues) {
    const waits = queue.ready > 0;
    const { circuit } = queue;
    if (circuit?.open_since !== undefined) {
      const probe = circuit.probe ? <a href={toJob(circuit.probe)}>job {circuit.probe} runs as a probe</a> : circuit.next_probe_at ? <>next probe <Until at={circuit.next_probe_at} /></> : null;
      const text = (
        <>
          circuit open for <Since at={circuit.open_since} />, after {count(circuit.failed)} failures in a row{probe && <>; {probe}</>}
        </>
      );
      found.push({ queue, isBad: true, text });
    }
    if (queue.held) found.push({ queue, text: queue.held, isBad: true });
    if (queue.paused) found.push({ queue, text: `${paused(queue)}, with ${jobs(queue.ready)} ready`, isBad: waits });
    else if (waits && isLeft(queue)) {
      found.push({ queue, text: `nothing takes from it: ${jobs(queue.ready)} ready, no workers, no waiting claims`, isBad: true });
    }
  }
  return found.sort((one, other) => Number(other.isBad) - Number(one.isBad));
}

/** Nobody takes from it, nor has just now. */
export function isLeft(queue: Queue): boolean {
  const flow = rates(queue.queue);
  const isWorked = flow !== null && flow.out + flow.failed > 0;
  return queue.workers + queue.waiting_claims + queue.leased === 0 && !isWorked;
}

function Attention({ status, history, span }: { status: Status; history: Stats | undefined; span: number }) {
  const all = notices(status);
  const [most, setMost] = useState(NOTICES);
  const failed = history ? mostFailed(history).slice(0, 3) : [];
  return (
    <div class="columns">
      <section aria-labelledby="attention">
        <h2 id="attention">Needs a look</h2>
        {all.length === 0 && <p class="nothing">Nothing: no queue is paused, held, broken or without workers.</p>}
        <ul class="notices">
          {all.slice(0, most).map(({ queue, text, isBad }) => (
            <li key={`${queue?.queue} ${typeof text}`} class={isBad ? "bad" : undefined}>
              {queue && <a href={toQueue(queue.queue)}>{queue.queue}</a>} <span>{text}</span>
            </li>
          ))}
        </ul>
        {all.length > most && <div class="buttons"><button type="button" class="small" onClick={() => setMost(Infinity)}>and {count(all.length - most)} more</button></div>}
      </section>
      <section aria-labelledby="failed-most">
        <h2 id="failed-most">Failed most in the last {spanInWords(span)}</h2>
        {failed.length === 0 && <p class="nothing">{history === undefined ? "…" : "Nothing."}</p>}
        <ol class="notices">
          {failed.map(({ queue, failed, dead }) => (
            <li key={queue}>
              <a href={toQueue(queue, "dead")}>{queue}</a> <span>{counted(failed, "failed attempt", "failed attempts")}, {count(dead)} dead</span>
            </li>
          ))}
        </ol>
        <p class="hint">
          Dead jobs by what was said of them: <a href={to(["dead"])}>dead jobs</a>
        </p>
      </section>
    </div>
  );
}

type Order = "queue" | "ready" | "leased" | "dead" | "oldest";

function Queues({ status: { queues } }: { status: Status }) {
  const [order, setOrder] = useState<Order>("queue");
  const [text, setText] = useState("");
  const [most, setMost] = useState(SHOWN);
  const fitting = queues.filter(({ queue }) => queue.includes(text));
  const shown = sorted(fitting, order).slice(0, most);
  const limits = useLimits(shown);
  const head = (name: Order, label: string, title?: string) => (
    <th scope="col" class={name === "queue" ? undefined : "number"} aria-sort={order === name ? (name === "queue" ? "ascending" : "descending") : undefined}>
      <button type="button" class="sort" title={title} onClick={() => setOrder(name)}>
        {label}
      </button>
    </th>
  );
  return (
    <section aria-labelledby="queues">
      <div class="head">
        <h2 id="queues">Queues</h2>
        {queues.length > 8 && (
          <label class="inline">
            Name has <input type="text" value={text} onInput={(event) => setText(event.currentTarget.value)} />
          </label>
        )}
      </div>
      <Fault error={limits.error} />
      {queues.length === 0 && <p class="nothing">There are no queues yet. A queue comes into being with its first job: musher submit mails 'hello'</p>}
      {queues.length > 0 && (
        <Wide label="Queues">
          <table class="list">
            <caption class="unseen">Queues</caption>
            <thead>
              <tr>
                {head("queue", "Queue")}
                {head("ready", "Ready")}
                <th scope="col" class="number wide">Scheduled</th>
                <th scope="col" class="number wide">Waiting</th>
                {head("leased", "Leased")}
                {head("dead", "Dead")}
                {head("oldest", "Oldest", "How long the job is ready that has waited longest")}
                <th scope="col" class="number wide">In</th>
                <th scope="col" class="number wide">Out</th>
                <th scope="col" class="number wide">Failed</th>
                <th scope="col" class="number wide">Workers</th>
                <th scope="col" class="wide rest">Limits</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((queue) => (
                <QueueRow key={queue.queue} queue={queue} limits={limits.data?.get(queue.queue) ?? []} />
              ))}
            </tbody>
          </table>
        </Wide>
      )}
      {fitting.length > most && (
        <button type="button" onClick={() => setMost(most + SHOWN)}>
          Show more of {count(fitting.length)} queues
        </button>
      )}
    </section>
  );
}

function sorted(queues: Queue[], order: Order): Queue[] {
  if (order === "queue") return queues;
  const of = (queue: Queue) => (order === "oldest" ? (queue.oldest_ready_ms ?? -1) : queue[order]);
  return [...queues].sort((one, other) => of(other) - of(one));
}

/** Until when, if that has an end. */
const paused = ({ paused_until: until }: Queue): string => (until === undefined ? "paused" : `paused until ${time(until, now())}`);

export function Marks({ queue }: { queue: Queue }) {
  return (
    <>
      {queue.paused && <span class="mark">{paused(queue)}</span>}
      {queue.circuit?.open_since !== undefined && <span class="mark bad">circuit open</span>}
      {queue.held && <span class="mark bad" title={queue.held}>held</span>}
    </>
  );
}

function QueueRow({ queue, limits }: { queue: Queue; limits: string[] }) {
  const flow = rates(queue.queue);
  const shown = (n: number | undefined) => (n === undefined ? "–" : n === 0 ? <span class="zero">0</span> : rate(n));
  return (
    <tr>
      <th scope="row">
        <a class="row" href={toQueue(queue.queue)}>
          {queue.queue}
        </a>{" "}
        <Marks queue={queue} />
      </th>
      <td class="number"><Num of={queue.ready} /></td>
      <td class="number wide"><Num of={queue.scheduled} /></td>
      <td class="number wide"><Num of={queue.waiting} /></td>
      <td class="number"><Num of={queue.leased} /></td>
      <td class="number"><Num of={queue.dead} bad /></td>
      <td class="number">{queue.oldest_ready_ms === undefined ? <span class="zero">–</span> : ticking(queue.oldest_ready_ms)}</td>
      <td class="number wide">{shown(flow?.in)}</td>
      <td class="number wide">{shown(flow?.out)}</td>
      <td class="number wide">{shown(flow?.failed)}</td>
      <td class="number wide">{queue.workers > 0 ? count(queue.workers) : <span class="zero">{queue.waiting_claims > 0 ? "outside" : "–"}</span>}</td>
      <td class="wide small rest">{limits.length > 0 ? limits.join(", ") : <span class="zero">–</span>}</td>
    </tr>
  );
}

function Daemon({ status }: { status: Status }) {
  const isRunning = status.mode === "running";
  const drain = async () => {
    const text = "It takes no more jobs and gives none out, until this is ended or it is started again. Jobs that run go on.";
    if ((await confirm({ title: "Drain the daemon?", text, verb: "Drain it", isDangerous: true })) === null) return;
    await perform(async () => {
      await change("PUT", "/drain");
      return "The daemon drains.";
    });
  };
  const undrain = () =>
    perform(async () => {
      await change("DELETE", "/drain");
      return "The daemon takes jobs and gives them out again.";
    });
  return (
    <section aria-labelledby="daemon" class="daemon">
      <div class="head">
        <h2 id="daemon">Daemon</h2>
        {isRunning ? <button type="button" class="danger" onClick={drain}>Drain…</button> : status.mode === "draining" && <button type="button" onClick={undrain}>End the drain</button>}
      </div>
      <p class="small">
        Musher {status.version}, process {status.pid}, {status.mode} for {duration(status.draining_ms ?? status.uptime_ms)}; {bytes(status.memory)} of memory;{" "}
        {counted(status.connections, "connection", "connections")}, {counted(status.waiting_claims, "claim waits", "claims wait")}
        {status.waiting_submits > 0 && `, ${counted(status.waiting_submits, "submit waits", "submits wait")} for room`}; data in <code>{status.data}</code>
      </p>
    </section>
  );
}
