// How the daemon is: asked for once for all parts of the page.

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { get } from "./api.ts";
import { now } from "./clock.ts";
import { remember } from "./rates.ts";
import { type Live, useLive } from "./live.ts";
import type { Status } from "./types.ts";

const EVERY_MS = 2_000;

export function useAskedStatus(): Live<Status> {
  return useLive(
    async (signal) => {
      const status = await get<Status>("/status", signal);
      remember(status, now());
      return status;
    },
    { everyMs: EVERY_MS },
    [],
  );
}

export const StatusContext = createContext<Live<Status>>({ data: undefined, error: undefined, again: () => {} });

export const useStatus = (): Live<Status> => useContext(StatusContext);

/** All queues, by name. */
export const useQueues = () => useStatus().data?.queues ?? [];
