// One queue: its numbers, its jobs by state, its settings, and what can be done with it.

import { change, get, part } from "../api.ts";
import { confirm, perform } from "../dialog.tsx";
import { milliseconds } from "../durations.ts";
import { bytes, count, jobs, rate, ticking } from "../format.ts";
import { rates } from "../rates.ts";
import { hint, useLive } from "../live.ts";
import { At, Facts, Fault, JobsTable, Loaded, Since, Until, Wide } from "../parts.tsx";
import { go, type Route, to, toJob, toQueue } from "../route.ts";
import { useHistory } from "../statistics.ts";
import { useStatus } from "../status.ts";
import { type Queue, type Setting, type Settings, STATES } from "../types.ts";
import { History, spanOf } from "./history.tsx";
import { Marks } from "./overview.tsx";

export function QueuePage({ name, route }: { name: string; route: Route }) {
  const status = useStatus();
  const queue = status.data?.queues.find((one) => one.queue === name);
  const state = route.query.get("state") ?? "";
  const path = ["queues", name];
  const history = useHistory(spanOf(route.query), name);
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>
          Queue {name} {queue && <Marks queue={queue} />}
        </h1>
        {queue && <Actions queue={queue} />}
      </div>
      <Fault error={status.error} />
      {status.data && !queue && <p class="nothing">There is no queue {name}, or you may not know of it.</p>}
      {queue && <Numbers queue={queue} />}
      {queue && <History queue={name} history={history} path={path} query={route.query} />}
      <section aria-labelledby="jobs">
        <h2 id="jobs">Jobs</h2>
        <nav class="choice states" aria-label="Jobs by state">
          <a href={toQueue(name)} aria-current={state === "" ? "true" : undefined}>all</a>
          {STATES.map((one) => (
            <a key={one} href={toQueue(name, one)} aria-current={one === state ? "true" : undefined}>
              {one} <b>{queue ? count(queue[one]) : "–"}</b>
            </a>
          ))}
        </nav>
        <JobsTable key={state} label={`${state === "" ? "all" : state} jobs of ${name}`} filter={{ queue: name, ...(state !== "" && { state }) }} path={path} query={route.query} nothing={state === "" ? "It has no jobs." : `None of its jobs is ${state}.`} without="queue" />
      </section>
      <SettingsTable queue={name} />
    </>
  );
}

function Numbers({ queue }: { queue: Queue }) {
  const flow = rates(queue.queue);
  const { circuit, totals } = queue;
  return (
    <Facts
      of={[
        ["Oldest ready", queue.oldest_ready_ms === undefined ? "–" : ticking(queue.oldest_ready_ms)],
        ["In", flow && rate(flow.in)],
        ["Out", flow && rate(flow.out)],
        ["Failed", flow && rate(flow.failed)],
        ["Workers of the daemon", count(queue.workers)],
        ["Claims that wait", count(queue.waiting_claims)],
        ["Held", queue.held && <span class="bad">{queue.held}</span>],
        ["Circuit", circuit && (circuit.open_since === undefined ? `${count(circuit.failed)} of ${count(circuit.failures)} failures in a row` : <Open circuit={circuit} />)],
        ["Waiting bodies", queue.waiting_bytes > 0 && bytes(queue.waiting_bytes)],
        ["Since its first job", `${count(totals.submitted)} submitted, ${count(totals.completed)} completed, ${count(totals.failed)} failed attempts, ${count(totals.died)} dead, ${count(totals.cancelled)} cancelled, ${count(totals.expired)} expired${totals.dropped > 0 ? `, ${count(totals.dropped)} dropped` : ""}`],
      ]}
    />
  );
}

function Open({ circuit }: { circuit: NonNullable<Queue["circuit"]> }) {
  return (
    <span class="bad">
      open for <Since at={circuit.open_since!} />, after {count(circuit.failed)} failures
      {circuit.probe !== undefined && <>; <a href={toJob(circuit.probe)}>job {circuit.probe}</a> runs as a probe</>}
      {circuit.next_probe_at !== undefined && <>; next probe <Until at={circuit.next_probe_at} /></>}
    </span>
  );
}

function Actions({ queue }: { queue: Queue }) {
  const name = queue.queue;
  const at = `/queues/${part(name)}`;
  const waits = queue.ready + queue.scheduled + queue.waiting;
  const all = waits + queue.leased + queue.done + queue.dead + queue.cancelled + queue.expired;
  const act = (method: string, path: string, done: string) =>
    perform(async () => {
      await change(method, path);
      hint();
      return done;
    });
  const pause = async () => {
    const text = `It gives out no jobs meanwhile: ${jobs(waits)} of it wait. Jobs that run go on.`;
    const field = { name: "for", label: "For", isOptional: true, hint: "As 30m, or 2h; empty: until it is resumed." };
    const answer = await confirm({ title: `Pause queue ${name}?`, text, verb: "Pause it", isDangerous: true, fields: [field] });
    if (answer === null) return;
    const typed = answer.for?.trim() ?? "";
    await perform(async () => {
      const for_ms = milliseconds(typed);
      if (typed !== "" && for_ms === undefined) throw new Error(`“${typed}” is no length of time: these are as 90s, 30m, 2h or 1d`);
      await change("POST", `${at}/pause`, { ...(for_ms !== undefined && { for_ms }) });
      hint();
      return typed === "" ? `Queue ${name} is paused.` : `Queue ${name} is paused for ${typed}.`;
    });
  };
  const purge = async () => {
    const text = `This deletes ${jobs(waits)} that wait: ${count(queue.ready)} ready, ${count(queue.scheduled)} scheduled, ${count(queue.waiting)} waiting; and those that come meanwhile. It cannot be undone.`;
    if ((await confirm({ title: `Delete ${jobs(waits)} of queue ${name}?`, text, verb: `Delete ${jobs(waits)}`, isDangerous: true })) === null) return;
    await perform(async () => {
      let deleted = 0;
      for (;;) {
        const part = await change<{ deleted: number; more: boolean }>("POST", `${at}/purge`);
        deleted += part?.deleted ?? 0;
        if (!part?.more) break;
      }
      hint();
      return `${jobs(deleted)} deleted.`;
    });
  };
  const forget = async () => {
    const text = "It has no jobs. What it has counted is forgotten; with its next job it is there again.";
    if ((await confirm({ title: `Forget queue ${name}?`, text, verb: "Forget it", isDangerous: true })) === null) return;
    const isDone = await perform(async () => {
      await change("DELETE", at);
      return `Queue ${name} is forgotten.`;
    });
    if (isDone) go(to([]));
  };
  return (
    <div class="buttons">
      {queue.paused ? (
        <button type="button" class="primary" onClick={() => act("DELETE", `${at}/pause`, `Queue ${name} gives out jobs again.`)}>Resume</button>
      ) : (
        <button type="button" onClick={pause}>Pause…</button>
      )}
      {queue.circuit && <button type="button" onClick={() => act("POST", `${at}/circuit/reset`, `The circuit of queue ${name} is closed.`)}>Reset the circuit</button>}
      {waits > 0 && <button type="button" class="danger" onClick={purge}>Purge…</button>}
      {all === 0 && <button type="button" class="danger" onClick={forget}>Forget…</button>}
    </div>
  );
}

function SettingsTable({ queue }: { queue: string }) {
  const at = `/queues/${part(queue)}/settings`;
  const live = useLive((signal) => get<Settings>(at, signal), { everyMs: 10_000, concerns: () => false }, [queue]);
  const set = (key: string, value: string | null) =>
    perform(async () => {
      await change("PATCH", at, { [key]: value });
      live.again();
      return value === null ? `${key} of queue ${queue} is as the configuration says.` : `${key} of queue ${queue} is ${value}.`;
    });
  const edit = async ({ key, value, configured }: Setting) => {
    const hint = `As in the configuration, without quotes. The configuration says ${configured}.`;
    const answer = await confirm({ title: `Set ${key} of queue ${queue}`, text: "It holds at once, over the configuration, until it is unset.", verb: "Set it", fields: [{ name: "value", label: key, value, hint }] });
    if (answer) await set(key, answer.value!.trim());
  };
  const unset = async ({ key, configured }: Setting) => {
    const text = `The configuration says ${configured}.`;
    if (await confirm({ title: `Unset ${key} of queue ${queue}?`, text, verb: "Unset it" })) await set(key, null);
  };
  return (
    <section aria-labelledby="settings">
      <h2 id="settings">Settings</h2>
      <Loaded live={live}>
        {({ settings }) => (
          <Wide label="Settings" isSnug>
            <table class="list">
              <caption class="unseen">Settings of {queue}</caption>
              <thead>
                <tr>
                  <th scope="col">Setting</th>
                  <th scope="col">Value</th>
                  <th scope="col">From</th>
                  <th scope="col"><span class="unseen">Change</span></th>
                </tr>
              </thead>
              <tbody>
                {settings.map((setting) => (
                  <tr key={setting.key}>
                    <th scope="row"><code>{setting.key}</code></th>
                    <td><code>{setting.value}</code></td>
                    <td class={setting.from === "default" ? "zero" : undefined}>
                      {setting.from}
                      {setting.from === "set" && <span class="small"> by user {setting.by}{setting.at !== undefined && <>, <At at={setting.at} /></>}; configured: {setting.configured}</span>}
                    </td>
                    <td class="buttons">
                      <button type="button" class="small" aria-label={`Set ${setting.key}`} onClick={() => edit(setting)}>Set…</button>
                      {setting.from === "set" && <button type="button" class="small" aria-label={`Unset ${setting.key}`} onClick={() => unset(setting)}>Unset…</button>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Wide>
        )}
      </Loaded>
    </section>
  );
}
