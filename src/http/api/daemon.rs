//! `/status`, `/drain`: the daemon as a whole.

use super::{Asker, Front, Reply};
use crate::protocol::admin::AdminRequest;
use axum::Router;
use axum::routing::{get, put};

pub(super) fn routes() -> Router<Front> {
    Router::new()
        .route("/status", get(async |asker: Asker| -> Reply { asker.ask(AdminRequest::Status {}).await }))
        .route("/drain", put(drain).delete(undrain))
}

async fn drain(asker: Asker) -> Reply {
    asker.ask(AdminRequest::Drain {}).await
}

async fn undrain(asker: Asker) -> Reply {
    asker.ask(AdminRequest::Undrain {}).await
}
