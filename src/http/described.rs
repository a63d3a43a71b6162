//! Routes that say what they are: what a handler takes and answers is read off its signature, so the document (OpenAPI 3.1) is made of
//! the code that serves, and no route can be added without. It knows no single request.

use super::answer::{ApiError, ErrorView};
use super::serving::Front;
use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use serde_json::{Map, Value, json};
use std::future::Future;
use utoipa::ToSchema;
use utoipa::openapi::schema::Components;
use utoipa::openapi::{Ref, RefOr, Schema};

/// With what any request may be refused, and one with a body besides.
const ALWAYS: [u16; 3] = [400, 421, 500];
const WITH_TOKEN: [u16; 3] = [401, 403, 503];
const WITH_BODY: [u16; 2] = [408, 413];

pub(super) const JSON: &str = "application/json";
pub(super) const OCTETS: &str = "application/octet-stream";

/// A route by its method, and what it does. `errors` are the statuses with which it may be refused, beside those of any request.
macro_rules! methods {
    ($($name:ident $filter:ident)*) => {
        impl Routes { $(
            pub(super) fn $name<T: 'static>(
                self,
                path: &str,
                does: &str,
                errors: &[u16],
                handler: impl Described<T>,
            ) -> Routes {
                self.add((stringify!($name), MethodFilter::$filter), path, (does, errors), handler)
            }
        )* }
    };
}

methods! { get GET post POST put PUT patch PATCH delete DELETE }

/// Routes, and what the document says of them.
pub(super) struct Routes {
    router: Router<Front>,
    /// By address and method.
    paths: Map<String, Value>,
    components: Components,
    needs_token: bool,
}

impl Routes {
    /// Of requests that need a token.
    pub(super) fn new() -> Routes {
        let (router, paths, components) = Default::default();
        Routes { router, paths, components, needs_token: true }
    }

    /// Of requests that anybody may send.
    pub(super) fn open() -> Routes {
        Routes { needs_token: false, ..Routes::new() }
    }

    fn add<T: 'static, H: Described<T>>(
        mut self,
        (method, filter): (&str, MethodFilter),
        path: &str,
        (does, errors): (&str, &[u16]),
        handler: H,
    ) -> Routes {
        let mut signature = Signature::default();
        H::describe(&mut signature);
        self.components.schemas.extend(std::mem::take(&mut signature.schemas));
        let (module, name) = place_of::<H>();
        let mut operation = signature.operation(path, self.needs_token, errors);
        operation["operationId"] = format!("{module}_{name}").into();
        operation["tags"] = json!([module]);
        operation["summary"] = does.into();
        self.paths.entry(path).or_insert_with(|| json!({}))[method] = operation;
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    /// Those of another part as well.
    pub(super) fn and(mut self, more: Routes) -> Routes {
        self.router = self.router.merge(more.router);
        self.paths.extend(more.paths);
        self.components.schemas.extend(more.components.schemas);
        self
    }

    /// The same, with addresses that begin so.
    pub(super) fn under(self, prefix: &str) -> Routes {
        let paths = self.paths.into_iter().map(|(path, item)| (format!("{prefix}{path}"), item)).collect();
        Routes { router: Router::new().nest(prefix, self.router), paths, ..self }
    }

    /// To be served.
    pub(super) fn into_router(self) -> Router<Front> {
        self.router
    }

    /// To be read.
    pub(super) fn into_document(mut self) -> Value {
        let mut more = vec![(ErrorView::name().into(), schema_of::<ErrorView>())];
        ErrorView::schemas(&mut more);
        self.components.schemas.extend(more);
        let mut components = plain(&self.components);
        components["securitySchemes"] = json!({ "token": {
            "type": "http", "scheme": "bearer",
            "description": "A token of the file daemon.http_tokens. What it allows is what [[access]] says of its user.",
        } });
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Musher",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "JSON over HTTP of the job queue daemon Musher: see docs/http.md. Times are in milliseconds, points \
                                in time since 1970 (UTC).",
            },
            "paths": self.paths,
            "components": components,
        })
    }
}

/// A document as [`Routes::into_document`] makes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is made of values")]
pub(super) struct Document {
    openapi: String,
    info: Value,
    paths: Value,
    components: Value,
}

/// What a handler takes and answers.
#[derive(Default)]
pub(super) struct Signature {
    /// What the parts of the address are, in their order.
    at: Vec<Value>,
    /// What stands behind the `?`, and in the head.
    parameters: Vec<Value>,
    body: Option<Value>,
    /// How it answers, with what.
    answer: (u16, Option<(&'static str, Value)>),
    /// How else, and what that means.
    also: Option<(u16, Value)>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Signature {
    /// The schema of a type, which goes into the document by its name.
    pub(super) fn schema<T: ToSchema>(&mut self) -> Value {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into(), schema_of::<T>()));
        plain(&Ref::from_schema_name(T::name()))
    }

    /// A part of the address.
    pub(super) fn at(&mut self, schema: Value) {
        self.at.push(schema);
    }

    pub(super) fn parameter(&mut self, parameter: Value) {
        self.parameters.push(parameter);
    }

    /// What may be sent; whether it must be.
    pub(super) fn body(&mut self, kind: &'static str, schema: Value, required: bool) {
        self.body = Some(json!({ "required": required, "content": { kind: { "schema": schema } } }));
    }

    pub(super) fn answers(&mut self, status: u16, content: Option<(&'static str, Value)>) {
        self.answer = (status, content);
    }

    /// Another status than the one that is hoped for, which is no refusal.
    pub(super) fn answers_also(&mut self, status: u16, means: &str, (kind, schema): (&'static str, Value)) {
        self.also =
            Some((status, json!({ "description": means, "content": { kind: { "schema": schema } } })));
    }

    fn operation(self, path: &str, needs_token: bool, errors: &[u16]) -> Value {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let at = names
            .zip(self.at)
            .map(|(name, schema)| json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        let parameters: Vec<Value> = at.chain(self.parameters).collect();
        let (status, content) = self.answer;
        let mut answer = json!({ "description": "As asked for." });
        if let Some((kind, schema)) = content {
            answer["content"] = json!({ kind: { "schema": schema } });
        }
        let mut responses = json!({ status.to_string(): answer });
        let if_any = |list: &'static [u16], any| if any { list } else { &[] };
        let refused =
            [&ALWAYS, if_any(&WITH_TOKEN, needs_token), if_any(&WITH_BODY, self.body.is_some()), errors];
        for status in refused.into_iter().flatten().filter(|status| **status != self.answer.0) {
            responses[status.to_string()] = refusal(*status);
        }
        if let Some((status, answer)) = self.also {
            responses[status.to_string()] = answer;
        }
        let mut operation = json!({ "parameters": parameters, "responses": responses });
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        if needs_token {
            operation["security"] = json!([{ "token": [] }]);
        }
        operation
    }
}

/// What it means that a request is answered with this status.
fn refusal(status: u16) -> Value {
    let means = match status {
        400 => "It cannot be read (malformed), or a value is not allowed (invalid).",
        401 => "There is no token, or a wrong one.",
        403 => "The user may not do this, or a page of another site has asked.",
        404 => "There is no such thing, or the user may not know of it.",
        408 => "The body has not come in time.",
        409 => {
            "What is there does not allow it: its state, another one with the same key, a lease that is lost."
        }
        413 => "It is larger than a limit.",
        421 => "The host is none of this daemon's.",
        429 => "The queue is full: try again later.",
        500 => "The daemon has failed; its log says more.",
        503 => "The daemon drains, ends, or is busy: try again later.",
        507 => "The disk is nearly full: try again later.",
        _ => unreachable!("status {status} has a meaning here, which a test of the document sees"),
    };
    let mut response = json!({ "description": means, "content": { JSON: { "schema": plain(&Ref::from_schema_name(ErrorView::name())) } } });
    let about = |text: &str| json!({ "description": text, "schema": { "type": "string" } });
    match status {
        401 => response["headers"] = json!({ "WWW-Authenticate": about("Bearer") }),
        429 | 503 | 507 => response["headers"] = json!({ "Retry-After": about("In how many seconds.") }),
        _ => {}
    }
    response
}

fn schema_of<T: ToSchema>() -> RefOr<Schema> {
    T::schema()
}

/// A part of the document as it is written. Numbers have the bounds that their types have.
pub(super) fn plain(part: &impl serde::Serialize) -> Value {
    let mut part = serde_json::to_value(part).expect("a part of a document is plain data");
    bound(&mut part);
    part
}

fn bound(part: &mut Value) {
    match part {
        Value::Object(object) => {
            let most = match object.get("format").and_then(Value::as_str) {
                Some("uint8") => u64::from(u8::MAX),
                Some("uint16") => u64::from(u16::MAX),
                Some("uint32") => u64::from(u32::MAX),
                Some("uint64") => u64::MAX,
                _ => return object.values_mut().for_each(bound),
            };
            object.entry("maximum").or_insert_with(|| most.into());
        }
        Value::Array(list) => list.iter_mut().for_each(bound),
        _ => {}
    }
}

/// The module and the name of a handler.
fn place_of<H>() -> (&'static str, &'static str) {
    let mut parts = std::any::type_name::<H>().rsplit("::");
    let name = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), name)
}

/// Something that a handler takes.
pub(super) trait Taken {
    fn describe(signature: &mut Signature);
}

/// Something that a handler answers.
pub(super) trait Answered {
    fn describe(signature: &mut Signature);
}

/// A handler whose signature says what it takes and answers.
pub(super) trait Described<T>: Handler<T, Front> {
    fn describe(signature: &mut Signature);
}

macro_rules! describe_functions {
    ($(($($taken:ident),*))*) => { $(
        impl<F, Fut, A, M, $($taken),*> Described<(M, $($taken,)*)> for F
        where
            F: Handler<(M, $($taken,)*), Front> + FnOnce($($taken),*) -> Fut,
            Fut: Future<Output = Result<A, ApiError>>,
            A: Answered,
            $($taken: Taken,)*
        {
            fn describe(signature: &mut Signature) {
                $($taken::describe(signature);)*
                A::describe(signature);
            }
        }
    )* };
}

describe_functions! { (T1) (T1, T2) (T1, T2, T3) (T1, T2, T3, T4) }
