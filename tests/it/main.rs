//! The one integration binary. Each module says in its first line what a user may rely on.

mod api;
mod assets;
mod config;
mod credentials;
mod deps;
mod docs;
mod explain;
mod exposition;
mod faults;
mod fuzz;
mod lag;
mod peers;
mod scrape;
mod web;
