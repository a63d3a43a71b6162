// The keyboard: `/` goes to the search, `j` and `k` through the rows of a list, `?` tells of both. The arrows move in a list that one
// is in already, so that the page can be scrolled with them.

import { Value } from "./value.ts";

export const helpIsOpen = new Value(false);

export function listenToKeys(): void {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const target = event.target as HTMLElement;
    if (document.querySelector("dialog[open]")) return;
    const isTyping = target.matches("input, textarea, select, [contenteditable]");
    if (isTyping) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const isInList = target.matches("a.row");
    if (event.key === "/") {
      document.querySelector<HTMLInputElement>("#search")?.focus();
    } else if (event.key === "?") {
      helpIsOpen.set(true);
    } else if (event.key === "j" || (isInList && event.key === "ArrowDown")) {
      step(1);
    } else if (event.key === "k" || (isInList && event.key === "ArrowUp")) {
      step(-1);
    } else {
      return;
    }
    event.preventDefault();
  });
}

function step(by: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main a.row")].filter((row) => row.offsetParent !== null);
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = rows[at === -1 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
