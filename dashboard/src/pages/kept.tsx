// Bytes of a job: its body, checkpoint and result, as text where they are, else as numbers; and what it prints, as it comes.

import { useEffect, useRef, useState } from "preact/hooks";
import { Away, bytes as ask, change, Refused, send } from "../api.ts";
import { whileAway } from "../connection.ts";
import { confirm, perform } from "../dialog.tsx";
import { bytes as size, count } from "../format.ts";
import { useLive } from "../live.ts";
import { Fault } from "../parts.tsx";
import type { Job } from "../types.ts";

/** What could not be had, or may be another at any time, is asked for again so much later. */
const EVERY_MS = 10_000;
/** So much is shown; all of it can be saved. */
const SHOWN_MAX = 20_000;
const NUMBERS_MAX = 512;
/** Nobody edits more than that in a form. */
const EDITED_MAX = 100_000;

interface BlobProps {
  job: number;
  name: "body" | "checkpoint" | "result";
  title: string;
  /** When this changes there may be others. */
  again: string;
  /** There may be others at any time, and nothing tells of it. */
  mayChange?: boolean;
  isEditable?: boolean;
}

export function Bytes({ job, name, title, again, mayChange, isEditable }: BlobProps) {
  const how = { everyMs: EVERY_MS, soonestMs: EVERY_MS, concerns: () => false, of: again, isEnough: () => !mayChange };
  const live = useLive((signal) => ask(`/jobs/${job}/${name}`, signal), how, [job, name]);
  const { data, error } = live;
  const shown = data && readable(data);
  const save = () => {
    const address = URL.createObjectURL(new Blob([data!]));
    const link = Object.assign(document.createElement("a"), { href: address, download: `job-${job}-${name}` });
    link.click();
    URL.revokeObjectURL(address);
  };
  const text = isEditable && data ? typeable(data) : undefined;
  const edit = async () => {
    const field = { name, label: title, value: text!, isLong: true, isOptional: true };
    const answer = await confirm({ title: `Another ${name} for job ${job}`, verb: `Set the ${name}`, fields: [field] });
    if (answer === null) return;
    await perform(async () => {
      await change("PUT", `/jobs/${job}/${name}`, answer[name]);
      live.again();
      return `Job ${job} has its new ${name}.`;
    });
  };
  return (
    <>
      <div class="head">
        <h3>{title}</h3>
        <span class="small">
          {data && data.length > 0 && <>{size(data.length)} <button type="button" class="small" aria-label={`Save the ${name}`} onClick={save}>Save</button></>}{" "}
          {text !== undefined && <button type="button" class="small" aria-label={`Edit the ${name}`} onClick={edit}>Edit…</button>}
        </span>
      </div>
      <Fault error={error} />
      {shown !== undefined && (shown.text === "" ? <p class="nothing">It is empty.</p> : <pre class="bytes" tabIndex={0} aria-label={title}>{shown.text}</pre>)}
      {shown?.isCut && <p class="hint">Only the beginning is shown.</p>}
    </>
  );
}

/** Bytes as text, if that is what they are. */
function asText(data: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    // biome-ignore lint: these are what makes bytes no text
    return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** The same, if a field of a form gives it back as it is. */
function typeable(data: Uint8Array): string | undefined {
  const text = data.length <= EDITED_MAX ? asText(data) : undefined;
  return text?.includes("\r") ? undefined : text;
}

function readable(data: Uint8Array): { text: string; isCut: boolean } {
  const text = asText(data);
  if (text !== undefined) {
    const pretty = laidOut(text);
    return { text: pretty.slice(0, SHOWN_MAX), isCut: pretty.length > SHOWN_MAX };
  }
  const lines = [];
  for (let at = 0; at < Math.min(data.length, NUMBERS_MAX); at += 16) {
    const part = [...data.slice(at, Math.min(at + 16, NUMBERS_MAX))];
    const numbers = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${numbers.padEnd(47)}  ${letters}`);
  }
  return { text: lines.join("\n"), isCut: data.length > NUMBERS_MAX };
}

/** JSON with indents; if no number in it would look otherwise than it is. */
function laidOut(text: string): string {
  if (!/^\s*[[{]/.test(text) || text.length > SHOWN_MAX || /\d{16}|\d[eE]|\.\d{15}/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** So many characters of output are on the page; older ones leave it. */
const OUTPUT_MAX = 200_000;
/** How far from there a line may begin that is the first one then. */
const LINE_MAX = 1_000;
/** The wait before output is asked for again whose stream broke off: from the first to the longest. */
const WAIT_MS = 500;
const WAIT_MAX_MS = 10_000;

/** Without escapes, which say how a terminal should show it. */
// biome-ignore lint: the escape is meant
const plain = (text: string): string => text.replace(/\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g, "").replace(/\r\n/g, "\n");

export function Output({ job }: { job: Job }) {
  const [output, setOutput] = useState<{ text: string; isCut: boolean; error?: Error }>({ text: "", isCut: false });
  const [isSeen, setSeen] = useState(!document.hidden);
  const frame = useRef<HTMLPreElement>(null);
  const hasBegun = job.started_at !== undefined;
  const runs = job.state === "leased";
  useEffect(() => {
    const look = () => setSeen(!document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  useEffect(() => {
    if (!hasBegun || !isSeen) return;
    const ending = new AbortController();
    void follow(job.id, runs, ending.signal, setOutput).catch((error) => {
      if (!ending.signal.aborted) setOutput((before) => ({ ...before, error }));
    });
    return () => ending.abort();
  }, [job.id, job.attempt, hasBegun, runs, isSeen]);
  // Who reads the end goes on to read the end; who has scrolled back stays there.
  const pre = frame.current;
  const isAtEnd = pre === null || pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
  useEffect(() => {
    if (isAtEnd && frame.current) frame.current.scrollTop = frame.current.scrollHeight;
  }, [output.text]);
  if (!hasBegun) return null;
  return (
    <section aria-labelledby="output">
      <h2 id="output">Output</h2>
      <Fault error={output.error} />
      {output.isCut && <p class="hint">Only the end is shown, {count(OUTPUT_MAX)} characters of it.</p>}
      {output.text === "" ? <p class="nothing">{runs ? "It has printed nothing yet." : "Nothing is kept of what it printed, if it did."}</p> : <pre class="bytes output" ref={frame} tabIndex={0} aria-label="Output">{output.text}</pre>}
    </section>
  );
}

type SetOutput = (to: { text: string; isCut: boolean }) => void;

/** Reads the output from its beginning to its end; if the stream breaks off while the job runs, or the daemon is away, again. */
async function follow(job: number, runs: boolean, signal: AbortSignal, set: SetOutput): Promise<void> {
  let wait = WAIT_MS;
  const came = () => void (wait = WAIT_MS);
  for (;;) {
    try {
      return await readThrough(job, runs, signal, set, came);
    } catch (error) {
      const isFinal = error instanceof Refused && [401, 404].includes(error.status);
      if (signal.aborted || isFinal || (!runs && !(error instanceof Away))) throw error;
    }
    await whileAway(signal);
    await new Promise((wake) => setTimeout(wake, wait));
    if (signal.aborted) return;
    wait = Math.min(wait * 2, WAIT_MAX_MS);
  }
}

async function readThrough(job: number, runs: boolean, signal: AbortSignal, set: SetOutput, came: () => void): Promise<void> {
  const response = await send(`/jobs/${job}/output${runs ? "?follow=true" : ""}`, { signal, isStream: true });
  const [reader, decoder] = [response.body!.getReader(), new TextDecoder()];
  let [text, isCut, isTold] = ["", false, true];
  const tell = () => {
    if (!isTold && !signal.aborted) set({ text, isCut });
    isTold = true;
  };
  // A job may print a lot: the page is changed a few times a second.
  const timer = setInterval(tell, 200);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      came();
      text += plain(decoder.decode(value, { stream: true }));
      if (text.length > OUTPUT_MAX) [text, isCut] = [text.slice(cutAt(text)), true];
      isTold = false;
    }
  } finally {
    clearInterval(timer);
    tell();
  }
}

/** Where the end of a text begins that is shown: at a line, if one begins near there. */
function cutAt(text: string): number {
  const most = text.length - OUTPUT_MAX;
  const line = text.indexOf("\n", most) + 1;
  return line > 0 && line - most < LINE_MAX ? line : most;
}
