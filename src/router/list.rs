//! Lists of the jobs of all shards.

use super::connection::Connection;
use super::merge::{json, unexpected};
use crate::protocol::admin::{AdminRequest, JobsView, ListQuery};
use crate::protocol::{Request, Response};
use crate::shards::first_id;
use std::rc::Rc;

/// A page of the jobs of all shards, one shard after the other: so ids go on as they do in one.
pub(super) async fn list(connection: &Rc<Connection>, client: u32, query: ListQuery) -> Option<Response> {
    let shards = connection.router.shards;
    let mut page = JobsView { jobs: Vec::new(), next: None };
    let mut order: Vec<usize> = (0..shards.count()).collect();
    if query.newest {
        order.reverse();
    }
    let last = order[order.len() - 1];
    for shard in order {
        // What lies outside has been shown, or is not asked for.
        let (from, end) = (first_id(shard).max(query.after), query.before.unwrap_or(u64::MAX));
        let is_behind = !query.newest && shards.of_job(query.after).is_some_and(|first| first > shard);
        if from >= end || is_behind {
            continue;
        }
        let limit = query.limit.saturating_sub(page.jobs.len() as u32);
        let part = ListQuery { limit, ..query.clone() };
        let answer =
            connection.begin(client, shard, &Request::Admin(AdminRequest::List(part))).await.await.ok()?;
        let Response::Json(found) = answer else { return Some(answer) };
        let Ok(found) = serde_json::from_slice::<JobsView>(&found) else {
            return Some(Response::Error(unexpected()));
        };
        page.jobs.extend(found.jobs);
        page.next = found.next;
        if page.next.is_some() {
            break;
        }
        if page.jobs.len() >= query.limit as usize && shard != last {
            page.next = Some(if query.newest { first_id(shard) } else { first_id(shard + 1) - 1 });
            break;
        }
    }
    Some(json(&page).unwrap_or_else(Response::Error))
}
