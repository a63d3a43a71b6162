// Groups, and one of them: its jobs as a picture of what waits for what, and as a list.

import { useRef } from "preact/hooks";
import { change, get, part, query } from "../api.ts";
import { confirm, perform } from "../dialog.tsx";
import { BOX, type Picture, picture } from "../flow.ts";
import { count, cut, jobs } from "../format.ts";
import { useLive } from "../live.ts";
import { Ago, At, Facts, JobsTable, Loaded, Num, Wide } from "../parts.tsx";
import { go, type Route, to, toGroup, toJob, toQueue } from "../route.ts";
import { type Group, type Job, type Jobs, STATES } from "../types.ts";

const EVERY_MS = 5_000;
/** A group of more jobs has no picture. */
const PICTURE_MAX = 5_000;

function stage(group: Group): string {
  if (group.live > 0 || !group.sealed) return group.sealed ? "sealed" : "open";
  if (group.dead + group.expired > 0) return "failed";
  if (group.cancelled > 0) return "cancelled";
  return group.gone > 0 ? "gone" : "done";
}

function Stage({ group }: { group: Group }) {
  const name = stage(group);
  const colour = { failed: "dead", sealed: "leased", open: "ready", gone: "cancelled" }[name] ?? name;
  return <span class={`state ${colour}`}>{name}</span>;
}

export function GroupsPage() {
  const live = useLive((signal) => get<Group[]>("/groups", signal), { everyMs: EVERY_MS }, []);
  return (
    <>
      <h1 tabIndex={-1}>Groups</h1>
      <Loaded live={live}>
        {(groups) =>
          groups.length === 0 ? (
            <p class="nothing">There are none. A group comes into being with its first job: musher submit thumbnails cat.jpg --group album-7</p>
          ) : (
            <List groups={groups.toReversed()} />
          )
        }
      </Loaded>
    </>
  );
}

/** So many of the newest are shown. */
const SHOWN = 200;

function List({ groups }: { groups: Group[] }) {
  return (
    <>
      <Wide label="Groups" isSnug>
        <table class="list">
          <caption class="unseen">Groups, the newest first</caption>
          <thead>
            <tr>
              <th scope="col">Group</th>
              <th scope="col">State</th>
              <th scope="col" class="number">Jobs</th>
              <th scope="col" class="number">Left</th>
              <th scope="col" class="number wide">Done</th>
              <th scope="col" class="number">Dead</th>
              <th scope="col" class="number wide">Cancelled</th>
              <th scope="col" class="number wide">Expired</th>
              <th scope="col" class="number wide">Gone</th>
              <th scope="col" class="number wide">Made</th>
            </tr>
          </thead>
          <tbody>
            {groups.slice(0, SHOWN).map((group) => (
              <tr key={group.group}>
                <th scope="row"><a class="row" href={toGroup(group.group)}>{group.group}</a></th>
                <td><Stage group={group} /></td>
                <td class="number">{count(group.total)}</td>
                <td class="number"><Num of={group.live} /></td>
                <td class="number wide"><Num of={group.done} /></td>
                <td class="number"><Num of={group.dead} bad /></td>
                <td class="number wide"><Num of={group.cancelled} /></td>
                <td class="number wide"><Num of={group.expired} /></td>
                <td class="number wide"><Num of={group.gone} /></td>
                <td class="number wide"><Ago at={group.made_at} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
      {groups.length > SHOWN && <p class="hint">These are the newest {count(SHOWN)} of {count(groups.length)}; another one is found as group:NAME in the search.</p>}
    </>
  );
}

/** A group, with its jobs if they are not too many. */
async function ask(name: string, signal: AbortSignal): Promise<{ group: Group; jobs: Job[] | null }> {
  const group = await get<Group>(`/groups/${part(name)}`, signal);
  if (group.total > PICTURE_MAX) return { group, jobs: null };
  const all: Job[] = [];
  let after: number | undefined;
  do {
    const page: Jobs = await get(`/jobs${query({ group: name, after, limit: 1_000 })}`, signal);
    all.push(...page.jobs);
    after = page.next;
  } while (after !== undefined && all.length < PICTURE_MAX);
  return { group, jobs: all };
}

export function GroupPage({ name, route }: { name: string; route: Route }) {
  const ids = useRef(new Set<number>());
  const asked = async (signal: AbortSignal) => {
    const found = await ask(name, signal);
    ids.current = new Set(found.jobs?.map(({ id }) => id));
    return found;
  };
  // Those that are new in it are found in time; of others all that is known is that they are none of its jobs.
  const live = useLive(asked, { everyMs: EVERY_MS, concerns: (_, job) => ids.current.has(job!) }, [name]);
  const known = live.data?.group;
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>
          Group {name} {known && <Stage group={known} />}
        </h1>
        {known && <Actions group={known} again={live.again} />}
      </div>
      <Loaded live={live}>
        {({ group, jobs: all }) => (
          <>
            <Facts
              of={[
                ["Jobs", `${count(group.total)}: ${count(group.live)} left, ${count(group.done)} done, ${count(group.dead)} dead, ${count(group.cancelled)} cancelled, ${count(group.expired)} expired, ${count(group.gone)} gone`],
                ["Takes more jobs", group.sealed ? "no, it is sealed" : "yes, until it is sealed"],
                ["Made", <><Ago at={group.made_at} /> by user {group.owner}</>],
                ["Ended", group.ended_at !== undefined && <Ago at={group.ended_at} />],
                ["Remembered until", group.kept_until !== undefined && <At at={group.kept_until} />],
              ]}
            />
            <section aria-labelledby="flow">
              <h2 id="flow">What waits for what</h2>
              {all === null ? <p class="nothing">It has too many jobs for a picture.</p> : all.length === 0 ? <p class="nothing">None of its jobs is kept.</p> : <Flow of={picture(all)} jobs={all} group={group} />}
            </section>
          </>
        )}
      </Loaded>
      <section aria-labelledby="jobs">
        <h2 id="jobs">Jobs</h2>
        <JobsTable label={`jobs of group ${name}`} filter={{ group: name }} without="group" path={["groups", name]} query={route.query} nothing="None of its jobs is kept." />
      </section>
    </>
  );
}

function Flow({ of, jobs: all, group }: { of: Picture; jobs: Job[]; group: Group }) {
  const forgotten = group.total - all.length;
  const layers = new Set(of.boxes.map(({ x }) => x)).size;
  return (
    <>
      {of.isSummary && <p class="hint">{jobs(all.length)} in {count(layers)} layers: a box is the jobs of a layer that are of one queue.</p>}
      {forgotten > 0 && <p class="hint">{forgotten === 1 ? "1 job is" : `${count(forgotten)} jobs are`} not kept any more (the queues' keep says how long).</p>}
      <Wide label="Picture of the flow">
        <svg class="flow" role="group" aria-label={`${jobs(all.length)} in ${layers} layers`} width={of.width} height={of.height} viewBox={`0 0 ${of.width} ${of.height}`}>
          <defs>
            <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
              <path d="M0 0 8 4 0 8z" />
            </marker>
          </defs>
          {of.arrows.map((path) => (
            <path key={path} class="arrow" d={path} marker-end="url(#arrow)" />
          ))}
          {of.boxes.map((box) => (
            <BoxMark key={`${box.x} ${box.name} ${box.job}`} box={box} />
          ))}
        </svg>
      </Wide>
    </>
  );
}

/** The state that is shown of a box: the worst, then the one that goes on. */
const WORST = ["dead", "expired", "leased", "ready", "scheduled", "waiting", "cancelled", "done"] as const;

function BoxMark({ box }: { box: Picture["boxes"][number] }) {
  const state = WORST.find((one) => box.states.has(one)) ?? "waiting";
  const counts = STATES.filter((one) => box.states.has(one)).map((one) => `${count(box.states.get(one)!)} ${one}`);
  const below = box.job === undefined ? counts.join(", ") : `${box.job} ${state}`;
  const [name, shown] = [cut(box.name, 22), cut(below, 25)];
  const address = box.job === undefined ? toQueue(box.queue) : toJob(box.job);
  return (
    <a href={address}>
      <g class={`box ${state}`} transform={`translate(${box.x} ${box.y})`}>
        <rect width={BOX.width} height={BOX.height} rx="4" />
        <rect class="edge" width="5" height={BOX.height} rx="2" />
        <text x="14" y="18" class="name">{name}</text>{" "}
        <text x="14" y="35">{shown}</text>
      </g>
    </a>
  );
}

function Actions({ group, again }: { group: Group; again: () => void }) {
  const at = `/groups/${part(group.group)}`;
  const seal = async () => {
    const text = `It takes no more jobs, and ends when the ${jobs(group.live)} that are left have.`;
    if ((await confirm({ title: `Seal group ${group.group}?`, text, verb: "Seal it" })) === null) return;
    await perform(async () => {
      await change("POST", `${at}/seal`);
      again();
      return `Group ${group.group} is sealed.`;
    });
  };
  const forget = async () => {
    const text = `This forgets 1 group. Its ${jobs(group.total - group.gone)} stay as they are.`;
    if ((await confirm({ title: `Forget group ${group.group}?`, text, verb: "Forget it", isDangerous: true })) === null) return;
    const isDone = await perform(async () => {
      await change("DELETE", at);
      return `Group ${group.group} is forgotten.`;
    });
    if (isDone) go(to(["groups"]));
  };
  return (
    <div class="buttons">
      {!group.sealed && <button type="button" onClick={seal}>Seal…</button>}
      {group.live === 0 && <button type="button" class="danger" onClick={forget}>Forget…</button>}
    </div>
  );
}
