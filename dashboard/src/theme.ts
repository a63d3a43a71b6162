// Dark or light: as the system says, or as somebody has chosen here.

import { Value } from "./value.ts";

export type Theme = "auto" | "light" | "dark";

const PLACE = "musher.theme";
const ORDER: Theme[] = ["auto", "light", "dark"];

function stored(): Theme {
  try {
    const text = localStorage.getItem(PLACE);
    return ORDER.find((theme) => theme === text) ?? "auto";
  } catch {
    return "auto";
  }
}

export const theme = new Value<Theme>(stored());

const show = (now: Theme) => {
  document.documentElement.dataset.theme = now;
};

show(theme.get());
theme.look(show);
addEventListener("storage", (event) => event.key === PLACE && theme.set(stored()));

export function nextTheme(): void {
  const next = ORDER[(ORDER.indexOf(theme.get()) + 1) % ORDER.length]!;
  theme.set(next);
  try {
    localStorage.setItem(PLACE, next);
  } catch {
    // Then it holds for this page.
  }
}
