//! What other exporters of consumer lag are known to do wrong cannot happen here. `tests/PEERS.md` lists it.
//!
//! Each test is named for the wrong that it prevents, and its comment has the threads in which people met it. What
//! can be shown in process is: answers go into the fleet, and its page is read.

#![cfg(test)]

mod age;
mod names;
mod stand;
mod status;
mod table;
mod values;
