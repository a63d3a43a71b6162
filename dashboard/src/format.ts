// Numbers, times and texts as people read them. Durations look like those of the command line: `3 min 20 s`.

const grouped = new Intl.NumberFormat("en-US");

export const count = (n: number): string => grouped.format(n);

/** `1 job`, `1,200 jobs`. */
export const jobs = (n: number): string => (n === 1 ? "1 job" : `${count(n)} jobs`);

/** `1 claim waits`, `3 claims wait`. */
export const counted = (n: number, one: string, many: string): string => `${count(n)} ${n === 1 ? one : many}`;

/** A number in few characters: `950`, `12.3k`, `4.1M`. */
export function short(n: number): string {
  if (n < 10) return String(Math.round(n * 100) / 100);
  if (n < 1_000) return String(Math.round(n * 10) / 10);
  const [by, unit] = n < 1e6 ? [1e3, "k"] : n < 1e9 ? [1e6, "M"] : [1e9, "G"];
  const scaled = n / by;
  return `${scaled < 100 ? Math.round(scaled * 10) / 10 : Math.round(scaled)}${unit}`;
}

/** So many a second. What is less than one in a hundred seconds is told by the minute. */
export const rate = (n: number): string => (n === 0 ? "0" : n < 0.1 ? `${short(n * 60)}/m` : `${short(n)}/s`);

export function bytes(n: number): string {
  if (n < 1_024) return `${n} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let scaled = n / 1_024;
  let at = 0;
  while (scaled >= 1_024 && at < units.length - 1) {
    scaled /= 1_024;
    at += 1;
  }
  return `${scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${units[at]}`;
}

const UNITS: [number, (n: number) => string][] = [
  [86_400_000, (n) => (n === 1 ? "1 day" : `${n} days`)],
  [3_600_000, (n) => `${n} h`],
  [60_000, (n) => `${n} min`],
  [1_000, (n) => `${n} s`],
];

/** The two largest units: `3 min 20 s`, `2 days 5 h`; below ten seconds with a tenth, below one in milliseconds. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${Math.floor(ms / 100) / 10} s`;
  return ticking(ms);
}

/** In one unit and few characters, for a scale: `200 s`. */
export function tick(ms: number): string {
  const [by, unit] = ms < 1_000 ? [1, "ms"] : ms < 300_000 ? [1_000, "s"] : ms < 18_000_000 ? [60_000, "min"] : [3_600_000, "h"];
  return `${Math.round((ms / by) * 10) / 10} ${unit}`;
}

/** The same in whole seconds, for what grows or shrinks while one looks at it. */
export function ticking(ms: number): string {
  const at = UNITS.findIndex(([unit]) => ms >= unit);
  const [unit, named] = UNITS[at] ?? [1_000, () => "0 s"];
  const next = UNITS[at + 1];
  const rest = at === -1 || !next ? 0 : Math.floor((ms % unit) / next[0]);
  return `${named(Math.floor(ms / unit))}${rest > 0 ? ` ${next![1](rest)}` : ""}`;
}

const two = (n: number): string => String(n).padStart(2, "0");

/** The time of day here, with the day where it is not today. */
export function time(at: number, now: number): string {
  const own = new Date(at);
  const clock = `${two(own.getHours())}:${two(own.getMinutes())}:${two(own.getSeconds())}`;
  return own.toDateString() === new Date(now).toDateString() ? clock : `${day(at)} ${clock}`;
}

export function day(at: number): string {
  const own = new Date(at);
  return `${own.getFullYear()}-${two(own.getMonth() + 1)}-${two(own.getDate())}`;
}

/** The moment, exactly, for a title. */
export const exact = (at: number): string => new Date(at).toISOString().replace("T", " ").replace("Z", " UTC");

/** What an attempt's process ended with. */
export function exit(of: { exit_status?: number; exit_signal?: number }): string | null {
  if (of.exit_status !== undefined) return `exit status ${of.exit_status}`;
  if (of.exit_signal !== undefined) return `signal ${of.exit_signal}`;
  return null;
}

export const worker = (of: { uid: number; pid?: number }): string =>
  of.pid === undefined ? `user ${of.uid}` : `process ${of.pid} of user ${of.uid}`;

/** A text in at most so many characters. */
export const cut = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);
