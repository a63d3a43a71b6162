// One job: why it does not run, what was tried, what it has, what it prints, and what can be done with it.

import type { ComponentChildren } from "preact";
import { get, isGone } from "../api.ts";
import { canEdit, type Edit, editJob, edits, signal } from "../changes.ts";
import { duration, exit, worker } from "../format.ts";
import { useLive } from "../live.ts";
import { Ago, At, Facts, Loaded, Progress, Since, StateMark, Tags, Until } from "../parts.tsx";
import { go, toGroup, toJob, toQueue } from "../route.ts";
import type { Explained, Failure, Job, Wait } from "../types.ts";
import { Bytes, Output } from "./kept.tsx";

const EVERY_MS = 2_000;

const hasEnded = (job: Job) => ["done", "dead", "cancelled", "expired"].includes(job.state);

export function JobPage({ id }: { id: number }) {
  const ask = async (signal: AbortSignal) => {
    const job = await get<Job>(`/jobs/${id}`, signal);
    const { reasons } = await get<Explained>(`/jobs/${id}/explain`, signal);
    return { job, reasons };
  };
  const live = useLive(ask, { everyMs: EVERY_MS, concerns: (_, job) => job === undefined || job === id }, [id]);
  const known = live.data?.job;
  const gone = isGone(live.error);
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>
          Job {id} {gone ? <StateMark state="gone" /> : known && <StateMark state={known.state} cancelling={known.cancelling} />}
        </h1>
        {known && !gone && <Actions job={known} again={live.again} />}
      </div>
      <Loaded live={live}>
        {({ job, reasons }) => (
          <>
            <Explanation job={job} reasons={reasons} />
            <What job={job} />
            <div class="columns">
              <Timeline job={job} />
              <Kept job={job} />
            </div>
            <Output job={job} />
          </>
        )}
      </Loaded>
    </>
  );
}

const LABELS: Record<Edit, string> = {
  retry: "Retry",
  kick: "Kick",
  cancel: "Cancel…",
  bury: "Bury…",
  move: "Move…",
  prioritize: "Priority…",
  delete: "Delete…",
};
const DANGEROUS: Edit[] = ["cancel", "bury", "delete"];

function Actions({ job, again }: { job: Job; again: () => void }) {
  const act = async (edit: Edit) => {
    if (!(await editJob(edit, job))) return;
    if (edit === "delete") go(toQueue(job.queue));
    else again();
  };
  return (
    <div class="buttons">
      {edits(job).map((edit) => (
        <button key={edit} type="button" class={DANGEROUS.includes(edit) ? "danger" : edit === "retry" ? "primary" : undefined} onClick={() => act(edit)}>
          {LABELS[edit]}
        </button>
      ))}
      {!hasEnded(job) && <button type="button" class={job.until_signal ? "primary" : undefined} onClick={() => signal(job)}>Signal…</button>}
    </div>
  );
}

function Explanation({ job, reasons }: { job: Job; reasons: string[] }) {
  if (reasons.length === 0) return null;
  return (
    <section aria-labelledby="why" class="why">
      <h2 id="why">{hasEnded(job) ? "How it ended" : job.state === "leased" ? "What it does" : "Why it is not running"}</h2>
      <ul>
        {reasons.map((reason) => (
          <li key={reason}>{reason}</li>
        ))}
      </ul>
      {job.state === "leased" && job.progress && <Progress of={job.progress} />}
    </section>
  );
}

function What({ job }: { job: Job }) {
  return (
    <Facts
      of={[
        ["Queue", <a href={toQueue(job.queue)}>{job.queue}</a>],
        ["Command", job.command && <code>{job.command}</code>],
        ["Submitted", <><Ago at={job.submitted_at} /> by user {job.owner}</>],
        ["Attempts", `${job.attempt} begun, ${job.failed} of ${job.attempts} failed`],
        ["Again later", job.later],
        ["Vanished workers", job.crashes],
        ["Due", job.due_at !== undefined && !hasEnded(job) && <><Until at={job.due_at} /> (<At at={job.due_at} />)</>],
        ["Lease", job.leased_at !== undefined && job.leased_until !== undefined && <>for <Since at={job.leased_at} />, ends <Until at={job.leased_until} /></>],
        ["Runs until", job.runs_until !== undefined && <At at={job.runs_until} />],
        ["Worker", job.worker && worker(job.worker)],
        ["Ended", job.ended_at !== undefined && <Ago at={job.ended_at} />],
        ["Exit", exit(job)],
        ["Kept until", job.kept_until !== undefined && <At at={job.kept_until} />],
        ["Begins by", job.expires_at !== undefined && <At at={job.expires_at} />],
        ["Ends by", job.deadline !== undefined && <At at={job.deadline} />],
        ["Timeout", job.timeout_ms !== null && job.timeout_ms > 0 && duration(job.timeout_ms)],
        ["Backoff", job.backoff && `${job.backoff.kind}, ${duration(job.backoff.base_ms)} to ${duration(job.backoff.max_ms)}`],
        ["Priority", job.priority],
        ["Group", job.group && <a href={toGroup(job.group)}>{job.group}</a>],
        ["Waits for", job.waits_for && <Waits of={job.waits_for} />],
        ["If that ends otherwise", job.on_unmet],
        ["Waits for signal", job.until_signal],
        ["Goes on with signal", job.signal],
        ["Signals kept", job.signals_kept?.join(", ")],
        ["Unique", job.unique && `${job.unique}, while ${job.unique_while ?? "it lasts"}${job.unique_for_ms ? ` and for ${duration(job.unique_for_ms)} after its end` : ""}`],
        ["Key and tags", (job.key || job.tags) && <Tags job={job} />],
        ["Tags", job.tags_unread && <span class="bad">cannot be read: the daemon's log says why</span>],
      ]}
    />
  );
}

function Waits({ of }: { of: Wait[] }) {
  return (
    <>
      {of.map((wait) => (
        <span class="bit" key={`${wait.job} ${wait.group}`}>
          {wait.job !== undefined ? <a href={toJob(wait.job)}>job {wait.job}</a> : wait.group !== undefined ? <a href={toGroup(wait.group)}>group {wait.group}</a> : "a group that is gone"} ({wait.when}
          {wait.held ? ", which cannot be any more" : ""})
        </span>
      ))}
    </>
  );
}

/** What happened to the job, the newest last. */
function Timeline({ job }: { job: Job }) {
  const failures = job.failures ?? [];
  const told = failures.length > 0 ? failures[0]!.attempt - 1 : 0;
  const ownAttempt = job.started_at !== undefined && failures.at(-1)?.attempt !== job.attempt;
  return (
    <section aria-labelledby="timeline">
      <h2 id="timeline">Timeline</h2>
      <ol class="timeline">
        <Moment at={job.submitted_at} what="submitted" state="ready" />
        {told > 0 && <li class="gap">{told === 1 ? "attempt 1 is" : `attempts 1 to ${told} are`} not kept, or did not fail</li>}
        {failures.map((failure) => (
          <Failed key={failure.attempt} failure={failure} />
        ))}
        {ownAttempt && job.started_at !== undefined && (
          <Moment at={job.started_at} what={`attempt ${job.attempt} began`} state="leased">
            {job.worker && <span class="small">{worker(job.worker)}</span>}
          </Moment>
        )}
        {job.ended_at !== undefined && (
          <Moment at={job.ended_at} what={job.state} state={job.state}>
            {ownAttempt && job.started_at !== undefined && <span class="small">after {duration(job.ended_at - job.started_at)}{exit(job) ? `, ${exit(job)}` : ""}</span>}
          </Moment>
        )}
        {job.state === "scheduled" && job.due_at !== undefined && <Moment at={job.due_at} what={job.until_signal ? `goes on without signal ${job.until_signal}` : `attempt ${job.attempt + 1} may begin`} state="scheduled" />}
      </ol>
    </section>
  );
}

function Moment({ at, what, state, children }: { at: number; what: string; state: string; children?: ComponentChildren }) {
  return (
    <li class={state}>
      <At at={at} /> <b>{what}</b> {children}
    </li>
  );
}

function Failed({ failure }: { failure: Failure }) {
  const status = exit(failure);
  return (
    <li class="dead">
      <At at={failure.at} /> <b>attempt {failure.attempt} failed</b>{" "}
      <span class="small">
        {failure.since !== undefined && `after ${duration(failure.at - failure.since)}`}
        {status && `, ${status}`}
        {failure.worker && `, ${worker(failure.worker)}`}
      </span>
      <pre class="error" tabIndex={0}>{failure.error}</pre>
    </li>
  );
}

/** Body, checkpoint, result. */
function Kept({ job }: { job: Job }) {
  return (
    <section aria-labelledby="kept">
      <h2 id="kept">What is kept of it</h2>
      <Bytes job={job.id} name="body" title="Body" again={job.state} isEditable={canEdit(job)} />
      {job.has_checkpoint && <Bytes job={job.id} name="checkpoint" title="Checkpoint" again={`${job.attempt} ${job.state}`} mayChange={job.state === "leased"} />}
      {job.has_result && <Bytes job={job.id} name="result" title="Result" again={String(job.ended_at)} />}
      {job.stderr_tail && (
        <>
          <h3>Last lines on standard error</h3>
          <pre class="bytes" tabIndex={0}>{job.stderr_tail}</pre>
        </>
      )}
    </section>
  );
}
