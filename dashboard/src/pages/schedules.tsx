// Jobs that are submitted by the clock: all of them, and one with its next times.

import { change, get, part } from "../api.ts";
import { type Answer, confirm, type Field, perform } from "../dialog.tsx";
import { milliseconds } from "../durations.ts";
import { bytes, count, duration } from "../format.ts";
import { useLive } from "../live.ts";
import { At, Facts, Loaded, StateMark, Until, Wide } from "../parts.tsx";
import { go, to, toJob, toQueue } from "../route.ts";
import type { Schedule } from "../types.ts";

const EVERY_MS = 5_000;

const when = ({ cron, zone, every_ms }: Schedule): string => (cron !== undefined ? `${cron}${zone ? ` ${zone}` : ""}` : every_ms !== undefined ? `every ${duration(every_ms)}` : "");

/** What `every 1h 30m` means, in milliseconds; none of what else there is, which is then cron's. */
const every = (when: string): number | undefined => (when.startsWith("every") ? milliseconds(when.slice("every".length)) : undefined);

/** Asks for a schedule and adds it; what is wrong with it is said, and asked for again. */
async function add(again: () => void): Promise<void> {
  let typed: Answer = {};
  for (;;) {
    const field = (name: string, label: string, more: Partial<Field> = {}): Field => ({ name, label, value: typed[name] ?? "", ...more });
    const answer = await confirm({
      title: "Add a schedule",
      verb: "Add it",
      fields: [
        field("name", "Name"),
        field("when", "When", { hint: "The five fields of cron, as 0 3 * * *, or “every 15m”: with s, m, h and d." }),
        field("zone", "Time zone", { isOptional: true, hint: "Of cron's fields, as Europe/Berlin; else that of the daemon's system." }),
        field("queue", "Queue"),
        field("body", "Body", { isLong: true, isOptional: true }),
      ],
    });
    if (answer === null) return;
    typed = answer;
    const [name, when, zone, queue] = [answer.name, answer.when, answer.zone, answer.queue].map((text) => text!.trim());
    const every_ms = every(when!);
    const isDone = await perform(async () => {
      await change("POST", "/schedules", { name, queue, body: answer.body, ...(every_ms === undefined ? { cron: when } : { every_ms }), ...(zone !== "" && { zone }) });
      again();
      return `Schedule ${name} is added.`;
    });
    if (isDone) return;
  }
}

export function SchedulesPage() {
  const live = useLive((signal) => get<Schedule[]>("/schedules", signal), { everyMs: EVERY_MS }, []);
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>Schedules</h1>
        <div class="buttons"><button type="button" onClick={() => add(live.again)}>Add…</button></div>
      </div>
      <Loaded live={live}>
        {(schedules) =>
          schedules.length === 0 ? (
            <p class="nothing">There are none. musher schedule add nightly --cron '0 3 * * *' backups all</p>
          ) : (
            <Wide label="Schedules">
              <table class="list">
                <caption class="unseen">Schedules</caption>
                <thead>
                  <tr>
                    <th scope="col">Schedule</th>
                    <th scope="col">When</th>
                    <th scope="col">Next</th>
                    <th scope="col" class="wide">Queue</th>
                    <th scope="col" class="number wide">Submitted</th>
                    <th scope="col" class="number wide">Skipped</th>
                    <th scope="col" class="wide">Newest jobs</th>
                    <th scope="col" class="wide rest"><span class="unseen">Change</span></th>
                  </tr>
                </thead>
                <tbody>
                  {schedules.map((schedule) => (
                    <tr key={schedule.name}>
                      <th scope="row">
                        <a class="row" href={to(["schedules", schedule.name])}>{schedule.name}</a>
                        {schedule.paused && <span class="mark">paused</span>}
                        {schedule.waits && <span class="mark" title="for the end of the last one, or for room in the queue">a job waits</span>}
                      </th>
                      <td><code>{when(schedule)}</code></td>
                      <td><Next schedule={schedule} /></td>
                      <td class="wide"><a href={toQueue(schedule.queue)}>{schedule.queue}</a></td>
                      <td class="number wide">{count(schedule.fired)}</td>
                      <td class="number wide">{schedule.skipped === 0 ? <span class="zero">0</span> : count(schedule.skipped)}</td>
                      <td class="wide"><Runs schedule={schedule} most={3} /></td>
                      <td class="wide rest"><Actions schedule={schedule} again={live.again} isSmall /></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Wide>
          )
        }
      </Loaded>
    </>
  );
}

function Next({ schedule }: { schedule: Schedule }) {
  return schedule.next_at === null ? <span class="zero">{schedule.paused ? "paused" : "never"}</span> : <Until at={schedule.next_at} />;
}

function Runs({ schedule, most }: { schedule: Schedule; most: number }) {
  if (schedule.runs.length === 0) return <span class="zero">–</span>;
  return (
    <>
      {schedule.runs.slice(0, most).map((run) => (
        <span class="bit" key={run.job}>
          {run.state === null ? run.job : <a href={toJob(run.job)}>{run.job}</a>} {run.state === null ? <span class="zero">not kept</span> : <StateMark state={run.state} />}
        </span>
      ))}
    </>
  );
}

function Actions({ schedule, again, isSmall }: { schedule: Schedule; again: () => void; isSmall?: boolean }) {
  const { name } = schedule;
  const at = `/schedules/${part(name)}`;
  const act = async (method: string, path: string, done: (answer: { id?: number } | null) => string) => {
    const isDone = await perform(async () => done(await change<{ id?: number }>(method, at + path)));
    // The page of one that is removed has nothing left to ask for.
    if (isDone && method === "DELETE" && path === "" && !isSmall) go(to(["schedules"]));
    else again();
  };
  const trigger = async () => {
    const text = `This submits 1 job to queue ${schedule.queue} now. Its next times stay as they are.`;
    if (await confirm({ title: `Trigger schedule ${name}?`, text, verb: "Submit 1 job" })) await act("POST", "/trigger", (answer) => `Job ${answer?.id} of schedule ${name} is submitted.`);
  };
  const remove = async () => {
    const text = `Nothing is submitted by it any more. Its jobs stay.${schedule.configured ? " It is in the configuration, and is there again after a reload." : ""}`;
    if ((await confirm({ title: `Remove 1 schedule, ${name}?`, text, verb: "Remove it", isDangerous: true })) === null) return;
    await act("DELETE", "", () => `Schedule ${name} is removed.`);
  };
  const size = isSmall ? "small" : "";
  return (
    <div class="buttons">
      <button type="button" class={size} aria-label={`Trigger ${name}`} onClick={trigger}>Trigger…</button>
      {schedule.paused ? (
        <button type="button" class={size} aria-label={`Resume ${name}`} onClick={() => act("DELETE", "/pause", () => `Schedule ${name} goes on.`)}>Resume</button>
      ) : (
        <button type="button" class={size} aria-label={`Pause ${name}`} onClick={() => act("POST", "/pause", () => `Schedule ${name} is paused.`)}>Pause</button>
      )}
      <button type="button" class={`${size} danger`} aria-label={`Remove ${name}`} onClick={remove}>Remove…</button>
    </div>
  );
}

export function SchedulePage({ name }: { name: string }) {
  const at = `/schedules/${part(name)}`;
  const ask = async (signal: AbortSignal) => {
    const schedule = await get<Schedule>(at, signal);
    const next = schedule.paused ? [] : await get<number[]>(`${at}/next?count=10`, signal);
    return { schedule, next };
  };
  const live = useLive(ask, { everyMs: EVERY_MS }, [name]);
  const known = live.data?.schedule;
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>
          Schedule {name} {known?.paused && <span class="mark">paused</span>}
        </h1>
        {known && <Actions schedule={known} again={live.again} />}
      </div>
      <Loaded live={live}>
        {({ schedule, next }) => (
          <>
            <Facts
              of={[
                ["When", <code>{when(schedule)}</code>],
                ["Next", <Next schedule={schedule} />],
                ["Queue", <a href={toQueue(schedule.queue)}>{schedule.queue}</a>],
                ["Submitted", `${count(schedule.fired)} jobs`],
                ["Skipped", count(schedule.skipped)],
                ["After downtime", schedule.catch_up],
                ["If the last one runs still", schedule.overlap],
                ["Put off by chance", schedule.jitter_ms > 0 && `up to ${duration(schedule.jitter_ms)}`],
                ["Waits", schedule.waits && "a job, for the end of the last one or for room in the queue"],
                ["Priority", schedule.priority],
                ["Attempts", schedule.attempts],
                ["Key", schedule.key],
                ["Tags", schedule.tags?.map(([key, value]) => `${key}=${value}`).join(", ")],
                ["Body", bytes(schedule.body_bytes)],
                ["Owner", `user ${schedule.owner}${schedule.configured ? ", by the configuration" : ""}`],
              ]}
            />
            <div class="columns">
              <section aria-labelledby="next">
                <h2 id="next">Next times</h2>
                {next.length === 0 ? (
                  <p class="nothing">None.</p>
                ) : (
                  <ol class="times">
                    {next.map((at) => (
                      <li key={at}>
                        <At at={at} /> <span class="small"><Until at={at} /></span>
                      </li>
                    ))}
                  </ol>
                )}
              </section>
              <section aria-labelledby="runs">
                <h2 id="runs">Newest jobs</h2>
                {schedule.runs.length === 0 ? (
                  <p class="nothing">None yet.</p>
                ) : (
                  <ol class="times">
                    {schedule.runs.map((run) => (
                      <li key={run.job}>
                        <At at={run.at} /> {run.state === null ? <>{run.job} <span class="zero">not kept</span></> : <><a class="row" href={toJob(run.job)}>{run.job}</a> <StateMark state={run.state} /></>}
                      </li>
                    ))}
                  </ol>
                )}
              </section>
            </div>
          </>
        )}
      </Loaded>
    </>
  );
}
