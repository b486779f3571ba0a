//! What users of the simulator rely on, over real sockets with a client written by hand.

mod actions;
mod auth;
mod client;
mod faults;
mod running;
