// Dead jobs, grouped by error: what failed most, and what to do with all of a kind at once.

import { useState } from "preact/hooks";
import { editMany, type Many } from "../changes.ts";
import { now } from "../clock.ts";
import { confirm, perform } from "../dialog.tsx";
import { type Dead, deadByError, type Kind } from "../errors.ts";
import { count, cut, jobs } from "../format.ts";
import { useLive } from "../live.ts";
import { Ago, Loaded, Wide } from "../parts.tsx";
import { toJob, toQueue } from "../route.ts";
import { useStatus } from "../status.ts";
import type { Queue } from "../types.ts";

/** Asked for again when the numbers of dead jobs are others, and not more often than this. */
const EVERY_MS = 10_000;
/** So many kinds are shown until more are asked for. */
const SHOWN = 100;

export function DeadPage() {
  const status = useStatus();
  return (
    <>
      <h1 tabIndex={-1}>Dead jobs</h1>
      <Loaded live={status}>{({ queues }) => <Kinds queues={queues} />}</Loaded>
    </>
  );
}

function Kinds({ queues }: { queues: Queue[] }) {
  const dead = queues.filter((queue) => queue.dead > 0);
  const all = dead.reduce((sum, queue) => sum + queue.dead, 0);
  const isMany = all > 5_000;
  const numbers = isMany ? "" : dead.map((queue) => `${queue.queue} ${queue.dead}`).join("\n");
  const live = useLive((signal) => deadByError(queues, now(), signal), { everyMs: isMany ? 60_000 : EVERY_MS, soonestMs: EVERY_MS, concerns: () => false, of: numbers }, []);
  const [most, setMost] = useState(SHOWN);
  const [busy, setBusy] = useState<string | null>(null);
  const act = async (edit: "retry" | "delete", kinds: Kind[], of: string) => {
    const many: Many[] = kinds.map(({ queue, ids }) => ({ queue, state: "dead", ids }));
    const n = many.reduce((sum, { ids }) => sum + ids.length, 0);
    const text = edit === "retry" ? `${jobs(n)} ${of} run again, with all of their attempts.` : `${jobs(n)} ${of} are deleted, with bodies, history and output. It cannot be undone.`;
    const which = kinds.length === 1 ? ` Error: ${cut(kinds[0]!.error, 160)}` : ` ${count(kinds.length)} kinds of error.`;
    const title = edit === "retry" ? `Retry ${jobs(n)}?` : `Delete ${jobs(n)}?`;
    if ((await confirm({ title, text: text + which, verb: edit === "retry" ? `Retry ${jobs(n)}` : `Delete ${jobs(n)}`, isDangerous: edit === "delete" })) === null) return;
    setBusy(`0 of ${count(n)}`);
    await perform(() => editMany(edit, many, (done) => setBusy(`${count(done)} of ${count(n)}`)));
    setBusy(null);
    live.again();
  };
  return (
    <Loaded live={live}>
      {(found) => (
        <>
          <div class="head">
            <p>{summary(found, all)}</p>
            {found.kinds.length > 0 && (
              <div class="buttons">
                {busy && <span role="status">{busy}</span>}
                <button type="button" disabled={busy !== null} onClick={() => act("retry", found.kinds, "of all queues")}>Retry all…</button>
                <button type="button" class="danger" disabled={busy !== null} onClick={() => act("delete", found.kinds, "of all queues")}>Delete all…</button>
              </div>
            )}
          </div>
          {found.kinds.length > 0 && (
            <Wide label="Dead jobs by error">
              <table class="list kinds">
                <caption class="unseen">Dead jobs by error</caption>
                <thead>
                  <tr>
                    <th scope="col">Queue</th>
                    <th scope="col">Error</th>
                    <th scope="col" class="number">Jobs</th>
                    <th scope="col" class="number wide">In the last hour</th>
                    <th scope="col" class="number wide">Newest</th>
                    <th scope="col"><span class="unseen">Change</span></th>
                  </tr>
                </thead>
                <tbody>
                  {found.kinds.slice(0, most).map((kind) => (
                    <tr key={`${kind.queue} ${kind.error}`}>
                      <td><a href={toQueue(kind.queue, "dead")}>{kind.queue}</a></td>
                      <th scope="row" class="what">
                        <a class="row error" href={toJob(kind.ids[0]!)} title={`job ${kind.ids[0]}: ${kind.example}`}>{cut(kind.error, 200)}</a>
                      </th>
                      <td class="number"><b>{count(kind.ids.length)}</b></td>
                      <td class="number wide">{kind.lately === 0 ? <span class="zero">0</span> : count(kind.lately)}</td>
                      <td class="number wide">{kind.newest > 0 && <Ago at={kind.newest} />}</td>
                      <td class="buttons">
                        <button type="button" class="small" disabled={busy !== null} aria-label={`Retry ${jobs(kind.ids.length)}: ${cut(kind.error, 80)}`} onClick={() => act("retry", [kind], `of queue ${kind.queue}`)}>Retry…</button>
                        <button type="button" class="small danger" disabled={busy !== null} aria-label={`Delete ${jobs(kind.ids.length)}: ${cut(kind.error, 80)}`} onClick={() => act("delete", [kind], `of queue ${kind.queue}`)}>Delete…</button>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Wide>
          )}
          {found.kinds.length > most && <button type="button" onClick={() => setMost(most + SHOWN)}>Show more of {count(found.kinds.length)} kinds</button>}
        </>
      )}
    </Loaded>
  );
}

function summary({ kinds, seen, isPart }: Dead, all: number): string {
  if (kinds.length === 0) return "There are no dead jobs.";
  const of = isPart ? `${count(seen)} of ${jobs(all)}, counted queue by queue, the newest of each first` : jobs(seen);
  return `${of}${isPart ? ":" : ","} ${count(kinds.length)} ${kinds.length === 1 ? "kind" : "kinds"} of error. Errors that differ in numbers alone are one kind.`;
}
