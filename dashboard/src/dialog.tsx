// Asks before something is changed that cannot be undone, and for what a change needs. And says afterwards what became of it. The
// button that has the focus first is the one that does nothing.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { token } from "./token.ts";
import { useValue, Value } from "./value.ts";

export interface Field {
  name: string;
  label: string;
  value?: string;
  hint?: string;
  isLong?: boolean;
  isOptional?: boolean;
}

export interface Question {
  title: string;
  /** What will be, with the count of all that it concerns. */
  text?: string;
  /** On the button. */
  verb: string;
  isDangerous?: boolean;
  fields?: Field[];
}

export type Answer = Record<string, string>;

interface Asked extends Question {
  answer: (answer: Answer | null) => void;
}

const asked = new Value<Asked | null>(null);

export interface Said {
  text: string;
  isError: boolean;
}

export const said = new Value<Said | null>(null);

// What one user was asked or told is nothing for the next one.
token.look((own) => {
  if (own !== null) return;
  asked.get()?.answer(null);
  said.set(null);
});

/** Asks; null is no. */
export function confirm(question: Question): Promise<Answer | null> {
  if (token.get() === null) return Promise.resolve(null);
  asked.get()?.answer(null);
  return new Promise((resolve) => {
    const answer = (given: Answer | null) => {
      asked.set(null);
      resolve(given);
    };
    asked.set({ ...question, answer });
  });
}

function say(text: string, isError: boolean): void {
  if (token.get() !== null) said.set({ text, isError });
}

/** Does something and says what became of it. */
export async function perform(what: () => Promise<string>): Promise<boolean> {
  try {
    say(await what(), false);
    return true;
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return false;
  }
}

export function Dialog() {
  const question = useValue(asked);
  return question && <Open key={question.title} question={question} />;
}

function Open({ question }: { question: Asked }) {
  const own = useRef<HTMLDialogElement>(null);
  const [values, setValues] = useState<Answer>(() => Object.fromEntries((question.fields ?? []).map(({ name, value }) => [name, value ?? ""])));
  // Before anything else can be pressed.
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = own.current!;
    dialog.showModal();
    dialog.querySelector<HTMLElement>("input, textarea, [data-first]")?.focus();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const fields = question.fields ?? [];
  const isReady = fields.every(({ name, isOptional }) => isOptional || values[name]?.trim() !== "");
  const submit = (event: Event) => {
    event.preventDefault();
    if (isReady) question.answer(values);
  };
  const field = ({ name, label, hint, isLong }: Field) => {
    const common = {
      id: `field-${name}`,
      name,
      value: values[name] ?? "",
      autocomplete: "off",
      spellcheck: false,
      "aria-describedby": hint ? `hint-${name}` : undefined,
      onInput: (event: Event) => {
        const { value } = event.currentTarget as HTMLInputElement;
        setValues((before) => ({ ...before, [name]: value }));
      },
    };
    return (
      <div class="field" key={name}>
        <label for={common.id}>{label}</label>
        {isLong ? <textarea rows={4} {...common} /> : <input type="text" {...common} />}
        {hint && <p class="hint" id={`hint-${name}`}>{hint}</p>}
      </div>
    );
  };
  return (
    <dialog ref={own} aria-labelledby="dialog-title" aria-describedby={question.text ? "dialog-text" : undefined} onCancel={() => question.answer(null)}>
      <form onSubmit={submit}>
        <h2 id="dialog-title">{question.title}</h2>
        {question.text && <p id="dialog-text">{question.text}</p>}
        {fields.map(field)}
        <div class="buttons">
          <button type="button" data-first onClick={() => question.answer(null)}>
            Leave it
          </button>
          <button type="submit" class={question.isDangerous ? "danger" : "primary"} disabled={!isReady}>
            {question.verb}
          </button>
        </div>
      </form>
    </dialog>
  );
}

/** How long something that went well is said. */
const SAID_MS = 8_000;

export function Says() {
  const now = useValue(said);
  useEffect(() => {
    if (now === null || now.isError) return;
    const timer = setTimeout(() => said.set(null), SAID_MS);
    return () => clearTimeout(timer);
  }, [now]);
  // Both regions are there from the start, so that a screen reader notices what comes into them.
  const box = (said_: Said) => (
    <div class={said_.isError ? "said bad" : "said"}>
      <span>{said_.text}</span>
      <button type="button" class="plain" aria-label="Dismiss" onClick={() => said.set(null)}>
        ✕
      </button>
    </div>
  );
  return (
    <div class="says">
      <div role="status">{now && !now.isError && box(now)}</div>
      <div role="alert">{now?.isError && box(now)}</div>
    </div>
  );
}
