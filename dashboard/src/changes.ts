// Changes of jobs: one, or many in parts that are no more than a request may have, each only where a job still is what it was when
// it was counted.

import { change, part } from "./api.ts";
import { type Answer, confirm, perform, type Question } from "./dialog.tsx";
import { count, jobs } from "./format.ts";
import { hint } from "./live.ts";
import type { Edited, Job, State } from "./types.ts";

export type Edit = "cancel" | "retry" | "kick" | "bury" | "delete" | "move" | "prioritize";

const WAITS: State[] = ["scheduled", "ready", "waiting"];
const ENDED: State[] = ["done", "dead", "cancelled", "expired"];

/** In which states the daemon does what, as the table of its core says. */
const ALLOWED: Record<Edit, State[]> = {
  retry: ENDED,
  kick: ["scheduled", "waiting", "dead"],
  cancel: [...WAITS, "leased"],
  bury: [...WAITS, "leased"],
  move: [...WAITS, ...ENDED],
  prioritize: [...WAITS, "leased"],
  delete: [...WAITS, ...ENDED],
};

/** Whether it may get another body. */
export const canEdit = (job: Job): boolean => ALLOWED.move.includes(job.state);

export const edits = (job: Job): Edit[] => (Object.keys(ALLOWED) as Edit[]).filter((edit) => ALLOWED[edit].includes(job.state) && !(edit === "kick" && job.state === "dead"));

const DONE: Record<Edit, string> = {
  retry: "runs again",
  kick: "is ready to run",
  cancel: "is cancelled",
  bury: "is dead",
  move: "is moved",
  prioritize: "has its new priority",
  delete: "is deleted",
};

function question(edit: Edit, job: Job): Question | null {
  const it = `job ${job.id} of queue ${job.queue}, which is ${job.state}`;
  switch (edit) {
    case "cancel":
      return { title: `Cancel 1 job?`, text: `This cancels ${it}.${job.state === "leased" ? " Its worker is told to stop it." : ""}`, verb: "Cancel the job", isDangerous: true };
    case "bury":
      return { title: "Bury 1 job?", text: `This makes ${it}, dead: it does not run until somebody retries it.`, verb: "Bury the job", isDangerous: true };
    case "delete":
      return { title: "Delete 1 job?", text: `This deletes ${it}, with its body, history and output. It cannot be undone.`, verb: "Delete the job", isDangerous: true };
    case "move":
      return { title: `Move job ${job.id}`, verb: "Move the job", fields: [{ name: "to", label: "To queue", hint: "Limits, retention and workers are then that queue's." }] };
    case "prioritize":
      return { title: `Priority of job ${job.id}`, verb: "Set the priority", fields: [{ name: "priority", label: "Priority", value: String(job.priority), hint: "0 goes first; usual is 1024." }] };
    default:
      return null;
  }
}

/** Changes a job, after a question where it needs one. Answers whether it is done. */
export async function editJob(edit: Edit, job: Job): Promise<boolean> {
  const asked = question(edit, job);
  const answer: Answer | null = asked ? await confirm(asked) : {};
  if (answer === null) return false;
  const more = edit === "move" ? { to: answer.to!.trim() } : edit === "prioritize" ? { priority: Number(answer.priority) } : {};
  return perform(async () => {
    const [became] = (await change<Edited[]>("POST", "/jobs/edit", { edit, ids: [job.id], state: job.state, queue: job.queue, ...more })) ?? [];
    if (became?.moved_on) {
      hint(job.queue, job.id);
      throw new Error(`Job ${job.id} is not ${job.state} in queue ${job.queue} any more: it had moved on, and was left alone.`);
    }
    if (became?.error) throw new Error(became.error);
    // Of a job that is deleted there is nothing to ask any more.
    if (edit !== "delete") hint();
    return became?.when_stopped ? `Job ${job.id} is cancelled when its worker has stopped.` : `Job ${job.id} ${DONE[edit]}.`;
  });
}

/** So many jobs are changed by one request. */
const PART = 500;

export interface Many {
  queue: string;
  state: State;
  ids: number[];
}

/** Changes many jobs, and says how many were. `tell` hears how far it is. */
export async function editMany(edit: "retry" | "delete", many: Many[], tell: (done: number) => void): Promise<string> {
  const [became, refusals] = [{ done: 0, movedOn: 0, asked: 0 }, new Map<string, number>()];
  for (const { queue, state, ids } of many) {
    for (let at = 0; at < ids.length; at += PART) {
      const some = ids.slice(at, at + PART);
      const results = (await change<Edited[]>("POST", "/jobs/edit", { edit, ids: some, state, queue })) ?? [];
      for (const { error, moved_on } of results) {
        if (moved_on) became.movedOn += 1;
        else if (error) refusals.set(error, (refusals.get(error) ?? 0) + 1);
        else became.done += 1;
      }
      became.asked += some.length;
      tell(became.asked);
    }
  }
  hint();
  const done = edit === "retry" ? (became.done === 1 ? "1 job runs again." : `${jobs(became.done)} run again.`) : `${jobs(became.done)} deleted.`;
  const movedOn = became.movedOn > 0 ? ` ${count(became.movedOn)} had moved on and ${became.movedOn === 1 ? "was" : "were"} left alone.` : "";
  const refused = [...refusals.values()].reduce((sum, n) => sum + n, 0);
  if (refused > 0) throw new Error(`${done}${movedOn} ${count(refused)} refused: ${[...refusals.keys()][0]}`);
  return done + movedOn;
}

export async function signal(job: Job): Promise<void> {
  const answer = await confirm({
    title: `Signal for job ${job.id}`,
    verb: "Send the signal",
    fields: [
      { name: "name", label: "Name", value: job.until_signal ?? "" },
      { name: "body", label: "Body", isLong: true, isOptional: true, hint: "What the job is given with it; it may be empty." },
    ],
  });
  if (answer === null) return;
  const name = answer.name!.trim();
  await perform(async () => {
    await change("POST", `/jobs/${job.id}/signals/${part(name)}`, answer.body ?? "");
    hint();
    return `Signal ${name} is sent to job ${job.id}.`;
  });
}
