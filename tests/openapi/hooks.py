"""What schemathesis sends is as it made it, but for waits: none may take long here, and nothing is followed."""

import schemathesis

LONGEST_MS = 20


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.query, dict) and case.query.get("follow") is True:
        case.query["follow"] = False
    body = case.body
    if isinstance(body, dict):
        for key in ("wait_ms", "timeout_ms"):
            value = body.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > LONGEST_MS:
                body[key] = LONGEST_MS
        if case.operation.label.endswith("/wait"):
            body.setdefault("timeout_ms", LONGEST_MS)
