//! Scenarios: what a ledger does with commands (`rules`, `repeats`, `ending`, `recovering`, `random`), and what a leader makes of what it hears
//! (`leading`, `losses`, `joining`, `electing`, `comparing`, `choosing`, `placing`, `explaining`, `spares`, `shortage`,
//! `attached`, `batches`, `queue`, `turns`, `sharing`, `retries`, `cancelling`).

mod attached;
mod batches;
mod book;
mod cancels;
mod choosing;
mod comparing;
mod draining;
mod electing;
mod ending;
mod explaining;
mod faults;
mod joining;
mod leading;
mod losses;
mod placing;
mod queue;
mod random;
mod recodex;
mod recovering;
mod repeats;
mod retries;
mod rules;
mod scene;
mod sharing;
mod shortage;
mod snapshots;
mod spares;
mod turns;
