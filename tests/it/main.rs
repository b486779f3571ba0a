//! Integration tests, in one binary. The first line of each module states what users may rely on.

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
mod language;
mod peers;
mod scrape;
mod web;
