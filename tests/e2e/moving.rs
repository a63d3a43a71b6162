//! `musher import --from`: moving in from other queues, with the real program.

mod beanstalkd;
mod commands;
mod server;

use musher::client::Client;
use musher::protocol::admin::{AdminRequest, JobView, JobsView, ListQuery};
use std::process::Output;

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn jobs(client: &Client) -> Vec<JobView> {
    let all = AdminRequest::List(ListQuery { limit: 1000, ..ListQuery::default() });
    client.ask::<JobsView>(all).await.unwrap().jobs
}
