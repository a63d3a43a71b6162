//! The daemon end to end: the real binary as a child process, over its real socket.

mod access;
mod backup;
mod bench;
mod client_input;
mod client_streams;
mod client_waiting;
mod clocks;
mod crash;
mod drain;
mod edges;
mod ends;
mod export;
mod full_disk;
mod gone;
mod handover;
mod helper;
mod hostile;
mod life;
mod neighbours;
mod pauses;
mod processes;
mod serve;
mod shrink;
mod verify;
mod work;
mod worker;
