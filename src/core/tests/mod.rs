//! The core's tests: the table of states walked cell by cell, long random sequences against a naive model, and
//! small tests of what is easy to get wrong, by subject.

mod beside;
mod cancel;
mod circuits;
mod ends;
mod events;
mod fair;
mod flow;
mod follow;
mod key_rates;
mod leases;
mod limits;
mod locality;
mod model;
mod moves;
mod once;
mod order;
mod overrides;
mod pauses;
mod queues;
mod room;
mod schedules;
mod sequences;
mod signals;
mod table;
mod topics;
mod turns;
mod unique;
mod world;
