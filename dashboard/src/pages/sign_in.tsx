// Asks for the token, once for all tabs.

import { useState } from "preact/hooks";
import { refused, signIn } from "../token.ts";
import { useValue } from "../value.ts";

export function SignIn() {
  const why = useValue(refused);
  const [text, setText] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    if (text.trim() !== "") signIn(text.trim());
  };
  return (
    <main class="sign-in">
      <h1 tabIndex={-1}>Musher</h1>
      {why !== null && (
        <p class="fault" role="alert">
          The daemon does not know this token. It was mistyped, or is not in the file any more that <code>daemon.http_tokens</code> names.
        </p>
      )}
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <input id="token" type="password" autocomplete="off" spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} aria-describedby="token-hint" />
        <p class="hint" id="token-hint">
          A line of the file that <code>daemon.http_tokens</code> of the configuration names has it. It says who you are, and what you may do. It is kept until this tab is closed.
        </p>
        <button type="submit" class="primary">Sign in</button>
      </form>
    </main>
  );
}
