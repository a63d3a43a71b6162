// A value that parts of the page look at: who looks is told of each change.

import { useEffect, useState } from "preact/hooks";

export class Value<T> {
  private readonly lookers = new Set<(value: T) => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (value === this.value) return;
    this.value = value;
    for (const looker of [...this.lookers]) looker(value);
  }

  /** Tells `looker` of changes from now on, until what this answers is called. */
  look(looker: (value: T) => void): () => void {
    this.lookers.add(looker);
    return () => void this.lookers.delete(looker);
  }
}

export function useValue<T>(value: Value<T>): T {
  const [now, setNow] = useState(value.get());
  useEffect(() => {
    setNow(value.get());
    return value.look(setNow);
  }, [value]);
  return now;
}
