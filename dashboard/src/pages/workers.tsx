// Who works: processes with the jobs that they have, and queues with those who wait for jobs.

import { get, query } from "../api.ts";
import { count, jobs, worker as named } from "../format.ts";
import { useLive } from "../live.ts";
import { Loaded, Num, Progress, Since, StateMark, Until, Wide } from "../parts.tsx";
import { toJob, toQueue } from "../route.ts";
import { useStatus } from "../status.ts";
import type { Job, Jobs, Queue, Worker } from "../types.ts";
import { isLeft } from "./overview.tsx";

const EVERY_MS = 3_000;
/** So many leased jobs are looked at in all, and so many of each worker are shown. */
const MOST = 5_000;
const SHOWN = 20;

interface Working {
  worker: Worker | undefined;
  jobs: Job[];
}

async function leased(queues: Queue[], signal: AbortSignal): Promise<{ workers: Working[]; isPart: boolean }> {
  const workers = new Map<string, Working>();
  let seen = 0;
  for (const { queue } of queues.filter((queue) => queue.leased > 0)) {
    let after: number | undefined;
    do {
      const page: Jobs = await get(`/jobs${query({ queue, state: "leased", after, limit: 1_000 })}`, signal);
      for (const job of page.jobs) {
        const name = `${job.worker?.uid}:${job.worker?.pid}`;
        const working = workers.get(name) ?? { worker: job.worker, jobs: [] };
        working.jobs.push(job);
        workers.set(name, working);
      }
      seen += page.jobs.length;
      after = page.next;
    } while (after !== undefined && seen < MOST);
  }
  return { workers: [...workers.values()].sort((one, other) => other.jobs.length - one.jobs.length), isPart: seen >= MOST };
}

export function WorkersPage() {
  const status = useStatus();
  return (
    <>
      <h1 tabIndex={-1}>Workers</h1>
      <Loaded live={status}>
        {({ queues, pid }) => (
          <>
            <Leased queues={queues} pid={pid} />
            <Waiting queues={queues} />
          </>
        )}
      </Loaded>
    </>
  );
}

function Leased({ queues, pid }: { queues: Queue[]; pid: number }) {
  const live = useLive((signal) => leased(queues, signal), { everyMs: EVERY_MS, of: queues.filter((queue) => queue.leased > 0).map((queue) => queue.queue).join("\n") }, []);
  return (
    <Loaded live={live}>
      {({ workers, isPart }) => (
        <>
          {workers.length === 0 && <p class="nothing">No job is leased.</p>}
          {isPart && <p class="hint">These are the first {count(MOST)} leased jobs.</p>}
          {workers.map(({ worker, jobs: all }) => (
            <section key={`${worker?.uid} ${worker?.pid}`} aria-label={worker ? named(worker) : "Unknown worker"}>
              <h2>
                {worker ? named(worker) : "Unknown"} <span class="small">{worker?.pid === pid ? "by HTTP, " : ""}{jobs(all.length)}</span>
              </h2>
              <Wide label={`Jobs of ${worker ? named(worker) : "an unknown worker"}`}>
                <table class="list">
                  <caption class="unseen">Jobs of {worker ? named(worker) : "an unknown worker"}</caption>
                  <thead>
                    <tr>
                      <th scope="col" class="number">Job</th>
                      <th scope="col">Queue</th>
                      <th scope="col" class="number">For</th>
                      <th scope="col" class="wide">Lease ends</th>
                      <th scope="col" class="number wide">Attempt</th>
                      <th scope="col" class="rest">Progress</th>
                    </tr>
                  </thead>
                  <tbody>
                    {all.slice(0, SHOWN).map((job) => (
                      <tr key={job.id}>
                        <th scope="row" class="number"><a class="row" href={toJob(job.id)}>{job.id}</a></th>
                        <td><a href={toQueue(job.queue, "leased")}>{job.queue}</a></td>
                        <td class="number">{job.leased_at !== undefined && <Since at={job.leased_at} />}</td>
                        <td class="wide">{job.leased_until !== undefined && <Until at={job.leased_until} />}</td>
                        <td class="number wide">{job.attempt}</td>
                        <td class="rest">{job.cancelling && <StateMark state="leased" cancelling />} {job.progress ? <Progress of={job.progress} /> : <span class="zero">–</span>}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Wide>
              {all.length > SHOWN && <p class="hint">and {count(all.length - SHOWN)} more</p>}
            </section>
          ))}
        </>
      )}
    </Loaded>
  );
}

function Waiting({ queues }: { queues: Queue[] }) {
  return (
    <section aria-labelledby="taken">
      <h2 id="taken">Who takes from which queue</h2>
      <Wide label="Who takes from which queue" isSnug>
        <table class="list">
          <caption class="unseen">Queues with those who take from them</caption>
          <thead>
            <tr>
              <th scope="col">Queue</th>
              <th scope="col" class="number">Workers of the daemon</th>
              <th scope="col" class="number">Claims that wait</th>
              <th scope="col" class="number">Leased</th>
              <th scope="col" class="number">Ready</th>
            </tr>
          </thead>
          <tbody>
            {queues.slice(0, 200).map((queue) => (
              <tr key={queue.queue}>
                <th scope="row">
                  <a class="row" href={toQueue(queue.queue)}>{queue.queue}</a>
                  {queue.ready > 0 && isLeft(queue) && <span class="mark bad">nobody</span>}
                </th>
                <td class="number"><Num of={queue.workers} /></td>
                <td class="number"><Num of={queue.waiting_claims} /></td>
                <td class="number"><Num of={queue.leased} /></td>
                <td class="number"><Num of={queue.ready} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
    </section>
  );
}
