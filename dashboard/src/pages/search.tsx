// What was looked for: jobs by tag, key, queue, state, group or error. An id goes to its job at once.

import { useEffect, useState } from "preact/hooks";
import { type Filter, JobsTable } from "../parts.tsx";
import { go, type Route, to, toJob } from "../route.ts";
import { typed, understand } from "../searching.ts";
import { useQueues } from "../status.ts";
import { STATES } from "../types.ts";

export function SearchPage({ route }: { route: Route }) {
  const queues = useQueues().map(({ queue }) => queue);
  const text = route.query.get("q") ?? "";
  const found = understand(text, queues);
  const isId = "id" in found;
  useEffect(() => {
    if (isId) location.replace(toJob(found.id));
  }, [isId, text]);
  if ("id" in found) return null;
  const { filter, wrong } = found;
  return (
    <>
      <h1 tabIndex={-1}>Search</h1>
      <Form key={text} filter={filter} queues={queues} />
      {wrong ? (
        <p class="fault" role="alert">{wrong}</p>
      ) : (
        <JobsTable key={JSON.stringify(filter)} label="jobs found" filter={filter} path={["search"]} query={route.query} nothing="No job that is kept fits." isSearch />
      )}
    </>
  );
}

const TEXTS = [
  ["tag", "Tag, as order=42"],
  ["key", "Key"],
  ["group", "Group"],
  ["error", "Error has"],
] as const;

function Form({ filter, queues }: { filter: Filter; queues: string[] }) {
  const [values, setValues] = useState<Filter>(filter);
  const [wrong, setWrong] = useState<string | null>(null);
  const set = (name: string) => (event: Event) => {
    const { value } = event.currentTarget as HTMLInputElement;
    setValues((before) => ({ ...before, [name]: value }));
  };
  const search = (event: Event) => {
    event.preventDefault();
    const { tag, ...others } = values;
    const words = Object.entries(others).filter(([, value]) => value?.trim());
    const tags = tag?.split(",").map((one) => one.trim()).filter((one) => one !== "") ?? [];
    const noTag = tags.find((one) => !/^[^=]+=/.test(one));
    setWrong(noTag === undefined ? null : `“${noTag}” is no tag: a tag is a name and a value, as order=42`);
    if (noTag !== undefined) return;
    go(to(["search"], { q: [...words.map(([name, value]) => `${name}:${typed(value!.trim())}`), ...tags.map(typed)].join(" ") }));
  };
  return (
    <form class="filter" onSubmit={search} aria-label="Filter">
      <div>
        <label for="of-queue">Queue</label>
        <input id="of-queue" list="queues" type="text" value={values.queue ?? ""} onInput={set("queue")} autocomplete="off" />
      </div>
      <datalist id="queues">
        {queues.slice(0, 500).map((queue) => (
          <option key={queue} value={queue} />
        ))}
      </datalist>
      <div>
        <label for="of-state">State</label>
        <select id="of-state" value={values.state ?? ""} onChange={set("state")}>
          <option value="">any</option>
          {STATES.map((state) => (
            <option key={state}>{state}</option>
          ))}
        </select>
      </div>
      {TEXTS.map(([name, label]) => (
        <div key={name}>
          <label for={`of-${name}`}>{label}</label>
          <input id={`of-${name}`} type="text" value={values[name] ?? ""} onInput={set(name)} autocomplete="off" spellcheck={false} />
        </div>
      ))}
      <button type="submit" class="primary">Search</button>
      {wrong !== null && <p class="fault" role="alert">{wrong}</p>}
    </form>
  );
}
