//! The one integration binary. Each module says in its first line what a user may rely on.

mod api;
mod assets;
mod config;
mod credentials;
mod deps;
mod docs;
mod exposition;
mod faults;
mod fuzz;
mod peers;
mod lag;
mod scrape;
mod soak;
mod web;
