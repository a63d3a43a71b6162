// Where the jobs of a group stand in its picture: each in the layer behind the last one that it waits for. It is read from the tags
// that a flow gives its jobs (`step`, `needs`), as `musher flow show` reads them, and from what they wait for still. A large flow is
// drawn as a summary: the jobs of a layer that are of one queue are one box.

import type { Job, State } from "./types.ts";

export interface Box {
  name: string;
  /** The job, if it is one. */
  job?: number;
  queue: string;
  /** How many jobs are in which state. */
  states: Map<State, number>;
  x: number;
  y: number;
}

export interface Picture {
  boxes: Box[];
  /** The path of each, from one box to another. */
  arrows: string[];
  width: number;
  height: number;
  isSummary: boolean;
}

export const BOX = { width: 172, height: 44 };
const GAP = { x: 56, y: 14 };
const MARGIN = 6;
/** More jobs than that are a summary. */
const DRAWN_MAX = 120;

const tag = (job: Job, name: string): string | undefined => job.tags?.find(([key]) => key === name)?.[1];

/** Which jobs of the group each of them comes after. */
export function parents(jobs: Job[]): Map<number, number[]> {
  const steps = new Map(jobs.flatMap((job) => (tag(job, "step") === undefined ? [] : [[tag(job, "step")!, job.id] as const])));
  const there = new Set(jobs.map((job) => job.id));
  const of = (job: Job) => {
    const named = tag(job, "needs")?.split(",").map((name) => steps.get(name)) ?? [];
    const all = [...named, ...(job.waits_for ?? []).map((wait) => wait.job)];
    // Ids rise along each wait, so whatever the tags say, there is no circle.
    return [...new Set(all)].filter((id) => id !== undefined).filter((id) => id < job.id && there.has(id));
  };
  return new Map(jobs.map((job) => [job.id, of(job)]));
}

export function picture(jobs: Job[]): Picture {
  const before = parents(jobs);
  const layers = new Map<number, number>();
  for (const job of [...jobs].sort((one, other) => one.id - other.id)) {
    layers.set(job.id, Math.max(-1, ...before.get(job.id)!.map((id) => layers.get(id)!)) + 1);
  }
  const isSummary = jobs.length > DRAWN_MAX;
  const nameOf = (job: Job) => (isSummary ? `${layers.get(job.id)} ${job.queue}` : String(job.id));
  const places = new Map<string, number>();
  const boxes: (Box & { layer: number })[] = [];
  for (const job of jobs) {
    const name = nameOf(job);
    if (!places.has(name)) {
      places.set(name, boxes.length);
      const own = isSummary ? {} : { job: job.id };
      boxes.push({ name: isSummary ? job.queue : (tag(job, "step") ?? job.queue), ...own, queue: job.queue, states: new Map(), x: 0, y: 0, layer: layers.get(job.id)! });
    }
    const { states } = boxes[places.get(name)!]!;
    states.set(job.state, (states.get(job.state) ?? 0) + 1);
  }
  const byId = new Map(jobs.map((job) => [job.id, places.get(nameOf(job))!]));
  const arrows = new Map<string, [number, number]>();
  for (const [id, all] of before) for (const from of all) arrows.set(`${byId.get(from)} ${byId.get(id)}`, [byId.get(from)!, byId.get(id)!]);
  return { ...placed(boxes, [...arrows.values()]), isSummary };
}

interface Place {
  layer: number;
  height: number;
  /** From the top of its column; then of the picture. */
  y: number;
}

/** Gives each box its place: in a layer, near to those that it comes after. An arrow that passes layers has a place in each of them. */
function placed(boxes: (Box & { layer: number })[], arrows: [number, number][]): Omit<Picture, "isSummary"> {
  const places: Place[] = boxes.map(({ layer }) => ({ layer, height: BOX.height, y: 0 }));
  const sources = new Map<number, number[]>();
  const leads = (from: number, to: number) => sources.set(to, [...(sources.get(to) ?? []), from]);
  const ways = arrows.map(([from, to]) => {
    const way = [from];
    for (let layer = boxes[from]!.layer + 1; layer < boxes[to]!.layer; layer += 1) {
      leads(way.at(-1)!, places.length);
      way.push(places.length);
      places.push({ layer, height: 0, y: 0 });
    }
    leads(way.at(-1)!, to);
    return [...way, to];
  });
  const columns: number[][] = [];
  places.forEach(({ layer }, nth) => (columns[layer] ??= []).push(nth));
  const middle = (nth: number) => places[nth]!.y + places[nth]!.height / 2;
  const wanted = (nth: number) => {
    const from = sources.get(nth) ?? [];
    return from.length === 0 ? 0 : from.reduce((sum, one) => sum + middle(one), 0) / from.length;
  };
  for (const column of columns) {
    const all = column.map((nth) => [wanted(nth), nth] as const).sort(([one], [other]) => one - other);
    const height = all.reduce((sum, [, nth]) => sum + places[nth]!.height + GAP.y, -GAP.y);
    let y = -height / 2;
    for (const [, nth] of all) {
      places[nth]!.y = y;
      y += places[nth]!.height + GAP.y;
    }
  }
  const top = Math.min(0, ...places.map(({ y }) => y));
  const bottom = Math.max(0, ...places.map(({ y, height }) => y + height));
  const left = (nth: number) => MARGIN + places[nth]!.layer * (BOX.width + GAP.x);
  for (const place of places) place.y += MARGIN - top;
  boxes.forEach((box, nth) => Object.assign(box, { x: left(nth), y: places[nth]!.y }));
  const drawn = ways.map((way) => {
    let path = "";
    way.slice(1).forEach((to, nth) => {
      const from = way[nth]!;
      const [x1, x2] = [left(from) + BOX.width, left(to) - (to < boxes.length ? 1 : 0)];
      const bend = (x2 - x1) / 2;
      path += `${path === "" ? "M" : "L"}${x1} ${middle(from)}C${x1 + bend} ${middle(from)} ${x2 - bend} ${middle(to)} ${x2} ${middle(to)}`;
    });
    return path;
  });
  const width = MARGIN * 2 + columns.length * BOX.width + Math.max(0, columns.length - 1) * GAP.x;
  return { boxes, arrows: drawn, width, height: bottom - top + MARGIN * 2 };
}
